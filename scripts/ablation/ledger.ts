/** Which jobs are done: a file for each, which says what exactly was run. */
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { writeFileAtomic } from '../../src/atomic.ts';
import type { Job } from './plan.ts';

interface Entry {
  readonly key: string;
  readonly kind: string;
  readonly seconds: number;
}

export class Ledger {
  readonly #folder: string;
  readonly #keys: ReadonlyMap<string, string>;
  readonly #entries = new Map<string, Entry>();

  /** Opens the ledger of a plan in a folder, which need not exist yet. */
  constructor(folder: string, jobs: readonly Job[], recipe: string) {
    this.#folder = folder;
    this.#keys = keysOf(jobs, recipe);
    for (const job of jobs) {
      const entry = readEntry(join(folder, `${job.id}.json`));
      if (entry) this.#entries.set(job.id, entry);
    }
  }

  /** Whether this very job was run, after these very jobs, and what it made is still there. */
  isDone({ id, makes }: Job): boolean {
    const entry = this.#entries.get(id);
    return entry !== undefined && entry.key === this.#keys.get(id) && existsSync(makes);
  }

  async finish({ id, kind }: Job, seconds: number): Promise<void> {
    const entry: Entry = { key: this.#keys.get(id) ?? '', kind, seconds };
    this.#entries.set(id, entry);
    await mkdir(this.#folder, { recursive: true });
    await writeFileAtomic(join(this.#folder, `${id}.json`), `${JSON.stringify(entry)}\n`);
  }

  /** Seconds that a job will take: as long as the like took here, or as the plan reckons. */
  estimate(job: Job): number {
    const like = [...this.#entries].filter(
      ([id, { kind, key }]) => kind === job.kind && key === this.#keys.get(id),
    );
    if (like.length === 0) return job.seconds;
    return like.reduce((sum, [, { seconds }]) => sum + seconds, 0) / like.length;
  }
}

/** A key for each job: of its command, of the recipe where it trains, and of all jobs before it. */
export function keysOf(jobs: readonly Job[], recipe: string): Map<string, string> {
  const recipeText = readdirSync(recipe)
    .sort()
    .map(name => readFileSync(join(recipe, name), 'utf8'))
    .join('\0');
  const keys = new Map<string, string>();
  for (const { id, args, after } of jobs) {
    const parts = [
      ...args,
      ...after.map(other => keys.get(other) ?? ''),
      args[0] === 'train' ? recipeText : '',
    ];
    keys.set(id, createHash('sha256').update(parts.join('\0')).digest('hex').slice(0, 16));
  }
  return keys;
}

function readEntry(file: string): Entry | null {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as Entry;
  } catch {
    // Never written, or torn: the job is run again, and `ground` itself sees what is finished.
    return null;
  }
}
