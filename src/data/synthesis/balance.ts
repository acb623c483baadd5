/** Which candidate samples are kept, so that no task and no label outweighs the others. */

/** Candidates side by side: 17 bytes each, whatever the samples themselves take. */
export class CandidateList {
  #size = 0;
  #images = new Uint32Array(1024);
  #ordinals = new Uint32Array(1024);
  #priorities = new Uint32Array(1024);
  /** Label number, from 1; 0 for a sample of no one label. */
  #labels = new Uint32Array(1024);
  #tasks = new Uint8Array(1024);
  readonly #labelNumbers = new Map<string, number>();

  get size(): number {
    return this.#size;
  }

  /** Names of the labels by number; 0 is none. */
  get labels(): readonly string[] {
    return ['', ...this.#labelNumbers.keys()];
  }

  /** `ordinal` is the sample's number among those of its image; the lower `priority`, the sooner it is kept. */
  add(image: number, ordinal: number, task: number, label: string | null, priority: number): void {
    const at = this.#size++;
    if (at === this.#images.length) {
      this.#images = doubled(this.#images);
      this.#ordinals = doubled(this.#ordinals);
      this.#priorities = doubled(this.#priorities);
      this.#labels = doubled(this.#labels);
      this.#tasks = doubled(this.#tasks);
    }
    this.#images[at] = image;
    this.#ordinals[at] = ordinal;
    this.#priorities[at] = priority;
    this.#tasks[at] = task;
    this.#labels[at] = label === null ? 0 : this.#numberOf(label);
  }

  image(at: number): number {
    return this.#images[at]!;
  }

  ordinal(at: number): number {
    return this.#ordinals[at]!;
  }

  task(at: number): number {
    return this.#tasks[at]!;
  }

  label(at: number): number {
    return this.#labels[at]!;
  }

  /** All candidates by priority, equal ones in the order they came. */
  byPriority(): Uint32Array {
    const keys = BigUint64Array.from(
      { length: this.#size },
      (_, at) => (BigInt(this.#priorities[at]!) << 32n) | BigInt(at),
    ).sort();
    return Uint32Array.from(keys, key => Number(key & 0xffffffffn));
  }

  #numberOf(label: string): number {
    const known = this.#labelNumbers.get(label);
    if (known !== undefined) return known;
    const number = this.#labelNumbers.size + 1;
    this.#labelNumbers.set(label, number);
    return number;
  }
}

/** A task may have this many times the samples of the one that has the fewest. */
const TASK_RATIO = 1.2;
/** A label may have this share of all samples, or, where there are few labels, this many times an even share. */
const LABEL_SHARE = 0.02;
const LABEL_RATIO = 1.2;

export interface Balance {
  /** Candidates kept, ascending. */
  readonly kept: Uint32Array;
  /** The largest share of all samples that a label may have. */
  readonly labelShare: number;
}

/**
 * The largest balanced set that taking candidates by priority finds: no task has more than 1.2 times the samples of the one
 * with the fewest, no label more than 2 % of all (or 1.2 times an even share, where there are fewer than 60 labels), and
 * together they are `most` or fewer. Tasks without any candidate do not count.
 */
export function balance(candidates: CandidateList, tasks: number, most: number): Balance {
  let kept = candidates.byPriority();
  const share = labelShareOf(candidates, kept);
  for (;;) {
    const counts = new Uint32Array(tasks);
    for (const at of kept) counts[candidates.task(at)]!++;
    const next = within(
      candidates,
      kept,
      taskCaps(counts, most),
      Math.max(1, Math.floor(share * Math.min(kept.length, most))),
    );
    if (next.length === kept.length) return { kept: next.sort(), labelShare: share };
    kept = next;
  }
}

function within(
  candidates: CandidateList,
  kept: Uint32Array,
  taskCaps: Uint32Array,
  labelCap: number,
): Uint32Array {
  const byTask = new Uint32Array(taskCaps.length);
  const byLabel = new Uint32Array(candidates.labels.length);
  return kept.filter(at => {
    const [task, label] = [candidates.task(at), candidates.label(at)];
    if (byTask[task]! >= taskCaps[task]! || (label > 0 && byLabel[label]! >= labelCap)) return false;
    byTask[task]!++;
    byLabel[label]!++;
    return true;
  });
}

/** For each task how many it may have: 1.2 times the fewest, all together no more than `most`. */
function taskCaps(counts: Uint32Array, most: number): Uint32Array {
  const present = counts.filter(count => count > 0);
  if (present.length === 0) return counts;
  const ratio = Math.max(1, Math.floor(TASK_RATIO * Math.min(...present)));
  const caps = counts.map(count => Math.min(count, ratio));
  let left = most;
  // The fewest first: what a small task does not use is left for the others.
  const order = [...caps.keys()].filter(task => caps[task]! > 0).sort((a, b) => caps[a]! - caps[b]! || a - b);
  for (const [i, task] of order.entries()) {
    caps[task] = Math.min(caps[task]!, Math.floor(left / (order.length - i)));
    left -= caps[task]!;
  }
  return caps;
}

function labelShareOf(candidates: CandidateList, all: Uint32Array): number {
  const labels = new Set<number>();
  for (const at of all) if (candidates.label(at) > 0) labels.add(candidates.label(at));
  return labels.size === 0 ? 1 : Math.min(1, Math.max(LABEL_SHARE, LABEL_RATIO / labels.size));
}

function doubled(old: Uint32Array<ArrayBuffer>): Uint32Array<ArrayBuffer>;
function doubled(old: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer>;
function doubled(old: Uint32Array<ArrayBuffer> | Uint8Array<ArrayBuffer>) {
  const larger = old instanceof Uint8Array ? new Uint8Array(old.length * 2) : new Uint32Array(old.length * 2);
  larger.set(old);
  return larger;
}
