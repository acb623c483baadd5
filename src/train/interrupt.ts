/** What signals ask of a running stage. A second interrupt quits at once; everything else waits for a step to end. */
import { GroundError } from '../errors.ts';

/** Signals that end a run, and the exit code that shells give to each. */
const EXIT_CODES = { SIGINT: 130, SIGTERM: 143 } as const;

export type StopSignal = keyof typeof EXIT_CODES;

/** What has been asked for and not been done yet. */
export class Requests {
  #stop: StopSignal | null = null;
  #save = false;

  /** The signal that asks to end; null where none does. */
  get stop(): StopSignal | null {
    return this.#stop;
  }

  /** Asks to end after the step that is being computed. */
  requestStop(signal: StopSignal): void {
    this.#stop ??= signal;
  }

  /** Asks for a checkpoint. */
  requestSave(): void {
    this.#save = true;
  }

  /** Whether a checkpoint was asked for since the last call. */
  takeSave(): boolean {
    const asked = this.#save;
    this.#save = false;
    return asked;
  }

  /**
   * Throws `Interrupted` when the run was asked to end.
   *
   * @param state what has been saved, as a clause
   */
  throwIfStopped(state: string): void {
    if (this.#stop !== null) throw new Interrupted(this.#stop, state);
  }
}

/** The run ended because a signal asked for it. */
export class Interrupted extends GroundError {
  constructor(signal: StopSignal, state: string) {
    super('interrupted', `stopped by ${signal}: ${state}`, {
      hint: 'the same command goes on from there',
      exitCode: EXIT_CODES[signal],
    });
  }
}

/** What the process does on signals; what is needed of `process`. */
export interface SignalSource {
  on(signal: NodeJS.Signals, listener: () => void): unknown;
  removeListener(signal: NodeJS.Signals, listener: () => void): unknown;
  exit(code: number): void;
}

/**
 * Listens to SIGINT and SIGTERM (end after this step; when one comes again, exit at once) and to SIGUSR1 (save) until the
 * returned function is called.
 *
 * @param say tells the person what will happen
 */
export function listenToSignals(
  requests: Requests,
  say: (message: string) => void,
  source: SignalSource = process,
): () => void {
  const stopOn = (signal: StopSignal) => () => {
    if (requests.stop !== null) source.exit(EXIT_CODES[signal]);
    requests.requestStop(signal);
    say(`${signal}: ending after this step, once it is saved; again to quit at once`);
  };
  const handlers: [NodeJS.Signals, () => void][] = [
    ['SIGINT', stopOn('SIGINT')],
    ['SIGTERM', stopOn('SIGTERM')],
  ];
  // Windows has no such signal.
  if (process.platform !== 'win32') {
    handlers.push([
      'SIGUSR1',
      () => {
        requests.requestSave();
        say('SIGUSR1: saving after this step');
      },
    ]);
  }
  for (const [signal, handler] of handlers) source.on(signal, handler);
  return () => {
    for (const [signal, handler] of handlers) source.removeListener(signal, handler);
  };
}
