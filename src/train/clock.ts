/** Where the time of a stage goes. */
import { PHASES, type RunPhase, type TimeSplit } from '../telemetry/events.ts';

/** A stretch of time: milliseconds of the clock `performance.now`. */
export interface Span {
  readonly phase: RunPhase;
  readonly began: number;
  readonly ended: number;
}

type Sums = Record<RunPhase, number>;

/**
 * Adds up the time of each phase. What begins inside another phase counts for itself only: a log line written during an
 * evaluation is logging. Phases nest; they do not overlap otherwise.
 */
export class StageClock {
  readonly #now: () => number;
  readonly #began: number;
  #sums: Sums = zeros();
  /** The phases that are open, the innermost last, and since when its time runs. */
  #open: RunPhase[] = [];
  #since = 0;
  #lapBegan: number;
  #atLap: Sums = zeros();
  /** Hears of every phase that ends, its whole extent. */
  onSpan: ((span: Span) => void) | undefined;

  /** @param now milliseconds; the clock unless a test stands still */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
    this.#began = now();
    this.#lapBegan = this.#began;
  }

  /** Runs `work` and counts its time. */
  time<T>(phase: RunPhase, work: () => T): T {
    const began = this.#enter(phase);
    try {
      return work();
    } finally {
      this.#leave(phase, began);
    }
  }

  /** As `time`, until what `work` promises is there. */
  async wait<T>(phase: RunPhase, work: () => Promise<T>): Promise<T> {
    const began = this.#enter(phase);
    try {
      return await work();
    } finally {
      this.#leave(phase, began);
    }
  }

  /** Seconds since the last lap, or since the beginning. */
  lap(): TimeSplit {
    const now = this.#settle();
    const split = inSeconds(this.#sums, this.#atLap, now - this.#lapBegan);
    this.#lapBegan = now;
    this.#atLap = { ...this.#sums };
    return split;
  }

  /** Seconds since the beginning. */
  total(): TimeSplit {
    return inSeconds(this.#sums, zeros(), this.#settle() - this.#began);
  }

  #enter(phase: RunPhase): number {
    const now = this.#settle();
    this.#open.push(phase);
    return now;
  }

  #leave(phase: RunPhase, began: number): void {
    const now = this.#settle();
    this.#open.pop();
    this.onSpan?.({ phase, began, ended: now });
  }

  /** Gives the time up to now to the innermost open phase. */
  #settle(): number {
    const now = this.#now();
    const phase = this.#open.at(-1);
    if (phase) this.#sums[phase] += now - this.#since;
    this.#since = now;
    return now;
  }
}

function zeros(): Sums {
  return { data: 0, forwardBackward: 0, update: 0, logging: 0, save: 0, eval: 0 };
}

function inSeconds(sums: Sums, before: Sums, total: number): TimeSplit {
  const split = { ...sums, total: total / 1000 };
  for (const phase of PHASES) split[phase] = (sums[phase] - before[phase]) / 1000;
  return split;
}
