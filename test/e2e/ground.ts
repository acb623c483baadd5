import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Phase } from '../../src/fault.ts';
import { openWeights } from '../../src/train/stored-weights.ts';

/** The built command. */
export const MAIN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));

export interface Outcome {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs the built command in a folder and waits for it. */
export function ground(folder: string, ...args: string[]): Outcome {
  if (!existsSync(MAIN)) throw new Error('dist is missing: run `npm run build` first');
  const { status, stdout, stderr } = spawnSync(process.execPath, [MAIN, ...args], {
    cwd: folder,
    encoding: 'utf8',
    maxBuffer: 64 * 2 ** 20,
  });
  return { code: status, stdout, stderr };
}

/** As `ground`, for what must succeed: a failure shows what was printed. */
export function succeed(folder: string, ...args: string[]): Outcome {
  const outcome = ground(folder, ...args);
  if (outcome.code !== 0)
    throw new Error(`ground ${args.join(' ')} ended with ${outcome.code}\n${outcome.stderr}`);
  return outcome;
}

/**
 * Starts the built command and kills it without warning as soon as `due` says so; false when it ended before. The command
 * stands still at each phase of this kind (src/fault.ts) until it has been looked at, so that it cannot run away meanwhile.
 */
export async function killWhen(
  folder: string,
  args: readonly string[],
  due: () => boolean,
  phase: Phase = 'step',
): Promise<boolean> {
  const child = spawn(process.execPath, [MAIN, ...args], {
    cwd: folder,
    stdio: 'ignore',
    env: standingStill(`${phase}:*`),
  });
  const ended = new Promise<void>(resolve => child.on('exit', () => resolve()));
  let over = false;
  void ended.then(() => {
    over = true;
  });
  while (!over && !due()) {
    goOn(child);
    await new Promise(resolve => setTimeout(resolve, 5));
  }
  const killed = !over;
  child.kill('SIGKILL');
  await ended;
  return killed;
}

/** An environment in which the command stops at a phase (src/fault.ts) until it is told to go on. */
export function standingStill(at: string): NodeJS.ProcessEnv {
  return process.platform === 'win32' ? process.env : { ...process.env, GROUND_FAULT: `${at}:SIGSTOP` };
}

/** Lets a command go on that stands still; nothing happens to one that does not. */
export function goOn(child: ChildProcess): void {
  if (process.platform !== 'win32') child.kill('SIGCONT');
}

/** Smallest useful training: two samples a step, everything logged, a checkpoint every second step. */
export const QUICK = [
  ...['batch.samples=2', 'log.every=1', 'checkpoint.every=2', 'eval.samples=4', 'eval.every=0'].flatMap(
    value => ['--set', value],
  ),
];

/** Scenes to train on and to be scored on, where the recipes expect them. */
export function renderScenes(folder: string): void {
  succeed(folder, 'data', 'synth', '--out', 'data/scenes/train', '--count', '24', '--seed', '1');
  succeed(folder, 'data', 'synth', '--out', 'data/scenes/val', '--count', '8', '--seed', '2');
}

/** The newest checkpoint of a stage. */
export function newestCheckpoint(folder: string, run: string, stage: number): string {
  const dir = join(folder, 'checkpoints', run, `stage${stage}`);
  const newest = readdirSync(dir)
    .filter(name => /^checkpoint-\d+$/.test(name))
    .sort()
    .at(-1);
  if (newest === undefined) throw new Error(`no checkpoint in ${dir}`);
  return join(dir, newest);
}

/** The raw bytes of every tensor of a checkpoint, by name. */
export async function weightsOf(checkpoint: string): Promise<Map<string, Buffer>> {
  const file = await openWeights(checkpoint);
  const weights = new Map<string, Buffer>();
  for (const name of [...file.tensors.keys()].sort())
    weights.set(name, Buffer.from(await file.readBytes(name)));
  await file.close();
  return weights;
}

/** The events of a stage's metrics.jsonl; the last line may still be half written. */
export function metricsOf(
  folder: string,
  run: string,
  stage: number,
): { type: string; [key: string]: unknown }[] {
  const file = join(folder, 'checkpoints', run, `stage${stage}`, 'metrics.jsonl');
  if (!existsSync(file)) return [];
  return readFileSync(file, 'utf8')
    .split('\n')
    .flatMap(line => {
      try {
        return [JSON.parse(line)];
      } catch {
        return [];
      }
    });
}
