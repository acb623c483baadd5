/** How fast a stage goes, and how long the rest of it will take. */
import type { StepSpeed, TimeSplit } from '../telemetry/events.ts';
import type { StepResult } from './step.ts';

/** Adds up what the steps between two lines of the log did. */
export class Pace {
  #peakFlops: number;
  readonly #countdown: Countdown;
  #steps = 0;
  #samples = 0;
  #tokens = 0;
  #flops: number | null = 0;

  constructor(steps: number, peakFlops: number) {
    this.#peakFlops = peakFlops;
    this.#countdown = new Countdown(steps);
  }

  add({ samples, tokens, flops }: Pick<StepResult, 'samples' | 'tokens' | 'flops'>): void {
    this.#steps++;
    this.#samples += samples;
    this.#tokens += tokens;
    this.#flops = flops === null || this.#flops === null ? null : this.#flops + flops;
  }

  /** The speed of the steps since the last call, which took `split`. */
  take(step: number, split: TimeSplit): StepSpeed {
    const training = Math.max(split.total - split.save - split.eval, 1e-9);
    const flops = this.#flops === null ? null : this.#flops / training;
    // Faster than the peak: the peak was measured while something else was running.
    this.#peakFlops = Math.max(this.#peakFlops, flops ?? 0);
    const speed = {
      steps: this.#steps,
      samples: this.#samples / training,
      tokens: this.#tokens / training,
      flops,
      mfu: flops === null ? null : flops / this.#peakFlops,
      left: this.#countdown.left(step),
    };
    [this.#steps, this.#samples, this.#tokens, this.#flops] = [0, 0, 0, 0];
    return speed;
  }
}

/** Tells how long the rest of a stage will take, from how long its steps have taken since the first it was told of. */
export class Countdown {
  #first: { readonly step: number; readonly at: number } | undefined;
  readonly #steps: number;
  readonly #now: () => number;

  constructor(steps: number, now: () => number = () => performance.now()) {
    this.#steps = steps;
    this.#now = now;
  }

  /**
   * Seconds from the end of `step` to that of the last one; null where nothing is known yet. The first step is left out,
   * since it compiles and warms up; what happens between steps counts.
   */
  left(step: number): number | null {
    this.#first ??= { step, at: this.#now() };
    if (step === this.#first.step) return null;
    const each = (this.#now() - this.#first.at) / (step - this.#first.step);
    return (each * Math.max(0, this.#steps - step)) / 1000;
  }
}
