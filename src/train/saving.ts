/** Saves of a running stage: what happens when, and what a failed one means. */
import { setTimeout } from 'node:timers/promises';
import { GroundError, messageOf } from '../errors.ts';
import { reach } from '../fault.ts';
import type { RunListener } from '../telemetry/events.ts';
import type { CheckpointContent, Metric } from './checkpoint.ts';
import { pruneCheckpoints, type RetentionPolicy } from './retention.ts';
import type { CheckpointWriter } from './writer.ts';

export interface SavingOptions {
  readonly stageDir: string;
  readonly writer: CheckpointWriter;
  readonly listener: RunListener;
  readonly policy: RetentionPolicy;
  readonly metric: Metric | undefined;
  /** Pauses before a save without which the run cannot end is tried again, milliseconds. */
  readonly retryAfter?: readonly number[];
}

/** Whoever empties a disk needs a moment. */
const RETRY_AFTER = [1000, 4000, 15_000];

/**
 * The background saves of a stage, one at a time. Training waits for the copy of what is saved, and for the previous save
 * where that is still being written. A save that the disk refuses is reported, and training goes on: the older checkpoints
 * are untouched, and the next save tries again. Only the last one of a run must succeed.
 */
export class Saving {
  readonly #options: SavingOptions;
  #running: Promise<void> = Promise.resolve();
  #failure: unknown;
  #last = '';
  #paused = false;

  constructor(options: SavingOptions, last: string) {
    this.#options = options;
    this.#last = last;
  }

  /** The newest checkpoint that is known to be whole; '' before the first. */
  get last(): string {
    return this.#last;
  }

  /** After the newer ones were deleted: what is the newest now, '' for none. */
  goBack(last: string): void {
    this.#last = last;
  }

  /** While true no checkpoint is deleted: the run's numbers are not finite. */
  set retentionPaused(paused: boolean) {
    this.#paused = paused;
  }

  /**
   * Copies what `take` gives and returns; the copy is written while training goes on.
   *
   * @param take reads weights and moments out of the engine, into memory of their own
   */
  async begin(step: number, take: () => Promise<CheckpointContent>): Promise<void> {
    const began = performance.now();
    await this.#running;
    this.#throwMistakes();
    const waited = performance.now();
    reach('snapshot');
    try {
      const content = await take();
      this.#running = this.#write(step, content, { began, waited });
    } catch (thrown) {
      this.#fail(step, thrown);
      this.#throwMistakes();
    }
  }

  /** Saves and waits for it; tries again some times before it gives up. Throws what the last attempt threw. */
  async complete(step: number, take: () => Promise<CheckpointContent>): Promise<string> {
    for (const pause of [...(this.#options.retryAfter ?? RETRY_AFTER), null]) {
      await this.begin(step, take);
      await this.#running;
      this.#throwMistakes();
      if (this.#failure === undefined) return this.#last;
      if (pause !== null) await setTimeout(pause);
    }
    throw this.#failure;
  }

  /** Waits for what is being written. Never throws: what failed has been reported. */
  async settle(): Promise<void> {
    await this.#running;
  }

  /** As `settle`, for good. */
  async close(): Promise<void> {
    await this.settle();
    await this.#options.writer.close();
  }

  async #write(
    step: number,
    content: CheckpointContent,
    { began, waited }: { readonly began: number; readonly waited: number },
  ): Promise<void> {
    const { stageDir, writer, listener } = this.#options;
    try {
      const writing = writer.write(stageDir, content);
      // Handing it over is part of it; from here on training goes on.
      const pauseSeconds = (performance.now() - waited) / 1000;
      const waitSeconds = (waited - began) / 1000;
      const { path, bytes, seconds } = await writing;
      this.#failure = undefined;
      this.#last = path;
      listener.on({ type: 'checkpoint', step, path, seconds, bytes, pauseSeconds, waitSeconds });
      await this.#prune(path);
    } catch (thrown) {
      this.#fail(step, thrown);
    }
  }

  #fail(step: number, thrown: unknown): void {
    this.#failure = thrown;
    if (isMistake(thrown)) return;
    this.#options.listener.on({
      type: 'save-failed',
      step,
      message: messageOf(thrown),
      hint: (thrown instanceof GroundError ? thrown.hint : undefined) ?? null,
      lastCheckpoint: this.#last === '' ? null : this.#last,
    });
  }

  /** The save has succeeded whatever comes of this. */
  async #prune(newest: string): Promise<void> {
    const { stageDir, policy, metric, listener } = this.#options;
    const note = (message: string): void => listener.on({ type: 'note', message });
    try {
      const { failures } = await pruneCheckpoints(stageDir, {
        policy,
        metric,
        known: new Set([newest]),
        paused: this.#paused,
      });
      for (const failure of failures) note(`an old checkpoint stays for now: ${failure}`);
    } catch (thrown) {
      note(`old checkpoints stay for now: ${messageOf(thrown)}`);
    }
  }

  #throwMistakes(): void {
    if (isMistake(this.#failure)) throw this.#failure;
  }
}

/** Whether a save failed for another reason than that the disk would not take it. */
function isMistake(thrown: unknown): boolean {
  return (
    thrown !== undefined && !(thrown instanceof GroundError && ['io', 'checkpoint'].includes(thrown.code))
  );
}
