/** Memory of a running stage: tensors must not grow in number, nor the process beyond what it may take. */
import { TensorCensus, tensorCount } from '../engine/memory.ts';
import { GroundError } from '../errors.ts';
import { size } from '../telemetry/format.ts';
import type { LargeTensor } from './largest.ts';

export interface WatermarkOptions {
  /** Resident memory of the process, bytes; 0 for no limit. */
  readonly limit: number;
  /** What takes most, asked for only when it has to be told. */
  readonly largest: () => readonly LargeTensor[];
  /** Resident memory now, bytes. */
  readonly resident?: () => number;
  /** Tensors now. */
  readonly tensors?: () => number;
}

/** Steps whose tensors are taken as they are: caches fill up. */
const FIRST_STEPS = 2;
/** How often the number may reach a new height after that: an evaluation or a new shape may keep something, once. */
const RISES = 12;

/** What makes a step smaller, or the process. */
const KNOBS =
  'lower batch.samples (and raise batch.accumulate), batch.contrastive or batch.packing.length, name modules in checkpoint_activations, use fewer --workers';

/** Looked at after every step. */
export class Watermark {
  readonly #options: WatermarkOptions;
  #steps = 0;
  #highest = 0;
  #recordings = 0;
  #rises = 0;
  #first = 0;
  #census: TensorCensus | undefined;

  constructor(options: WatermarkOptions) {
    this.#options = options;
  }

  /**
   * What is wrong after a step, or null.
   *
   * @param step counted from 1
   * @param recordings functions recorded so far: what is recorded for a new shape may keep tensors
   */
  check(step: number, recordings: number): GroundError | null {
    return this.#tooLarge(step) ?? this.#growing(step, recordings);
  }

  close(): void {
    this.#census?.stop();
    this.#census = undefined;
  }

  #tooLarge(step: number): GroundError | null {
    const { limit, largest, resident = () => process.memoryUsage.rss() } = this.#options;
    if (limit === 0) return null;
    const bytes = resident();
    if (bytes <= limit) return null;
    const shown = largest().map(tensor => `${tensor.name} ${size(tensor.bytes)}`);
    return new GroundError(
      'train',
      `step ${step}: the process holds ${size(bytes)}, more than limits.memory allows (${size(limit)}); the largest tensors: ${shown.join(', ')}`,
      { hint: `${KNOBS}, or raise limits.memory` },
    );
  }

  #growing(step: number, recordings: number): GroundError | null {
    const { tensors: count = tensorCount } = this.#options;
    const tensors = count();
    const isNew = recordings > this.#recordings;
    this.#recordings = recordings;
    const known = ++this.#steps > FIRST_STEPS && !isNew;
    if (tensors <= this.#highest) return null;
    const before = this.#highest;
    this.#highest = tensors;
    if (!known) return null;
    if (this.#rises++ === 0) {
      this.#first = before;
      // From now on it is worth knowing which tensors stay.
      this.#census = new TensorCensus();
    }
    if (this.#rises < RISES) return null;
    const shown = (this.#census?.groups() ?? [])
      .slice(0, 5)
      .map(({ shape, count: n, bytes }) => `${n} of ${shape} (${size(bytes)})`);
    return new GroundError(
      'train',
      `step ${step}: tensors grow in number from step to step, ${this.#first} became ${tensors}; made since and still alive: ${shown.join(', ')}`,
      {
        hint: 'this is a leak, a mistake of ground: please report it; the run can be continued from its checkpoint meanwhile',
      },
    );
  }
}
