/** Losses that jump: a step's loss against those of the steps before it. */

export interface SpikeConfig {
  /** What a jump that stays brings about: nothing, a line in the log, or going back to the last checkpoint before it. */
  readonly action: 'off' | 'note' | 'rollback';
  /** Standard deviations above the mean from which a loss counts as a jump. */
  readonly zscore: number;
  /** Losses before it that mean and deviation are taken of. */
  readonly window: number;
  /** Steps in a row that must jump. */
  readonly patience: number;
  /** How often a stage may go back. */
  readonly limit: number;
}

export const SPIKE_DEFAULTS: SpikeConfig = {
  action: 'note',
  zscore: 6,
  window: 100,
  patience: 3,
  limit: 3,
};

/** What a watch remembers; plain data, kept in checkpoints so that a resumed run decides alike. */
export interface WatchState {
  /** Losses that did not jump, oldest first. */
  readonly losses: readonly number[];
  /** Those of the last steps, which did. */
  readonly jumped: readonly number[];
}

/** A jump that has lasted for `patience` steps. */
export interface Spike {
  /** Its first and its last step, counted from 1. */
  readonly first: number;
  readonly last: number;
  readonly loss: number;
  /** Of the losses before it. */
  readonly mean: number;
  readonly deviation: number;
  /** How many deviations above the mean the last loss lies. */
  readonly zscore: number;
}

/** Below this share of the mean, deviations are rounding and not noise. */
const LEAST_DEVIATION = 0.01;
/** No judgement before so many losses are known, or the whole window where it is shorter. */
const LEAST_LOSSES = 20;

/** Compares each loss with a window of losses before it that did not jump. */
export class SpikeWatch {
  readonly #config: SpikeConfig;
  #losses: number[];
  #jumped: number[];

  constructor(config: SpikeConfig, state: WatchState = { losses: [], jumped: [] }) {
    this.#config = config;
    this.#losses = [...state.losses];
    this.#jumped = [...state.jumped];
  }

  get state(): WatchState {
    return { losses: [...this.#losses], jumped: [...this.#jumped] };
  }

  /** Whether the last step jumped. */
  get jumping(): boolean {
    return this.#jumped.length > 0;
  }

  /**
   * Takes the loss of the next step. Yields the spike when it has lasted for `patience` steps: from then on its losses
   * count like any others, so that a new level is told of once.
   */
  add(step: number, loss: number): Spike | null {
    const { action, patience, zscore: limit } = this.#config;
    if (action === 'off') return null;
    const { mean, deviation } = momentsOf(this.#losses);
    const zscore = (loss - mean) / Math.max(deviation, LEAST_DEVIATION * Math.abs(mean), Number.MIN_VALUE);
    if (!this.#canJudge() || zscore <= limit) {
      // A single high loss was noise.
      this.#keep([...this.#jumped, loss]);
      return null;
    }
    this.#jumped.push(loss);
    if (this.#jumped.length < patience) return null;
    const first = step - this.#jumped.length + 1;
    this.#losses = [];
    this.#keep(this.#jumped);
    return { first, last: step, loss, mean, deviation, zscore };
  }

  #canJudge(): boolean {
    return this.#losses.length >= Math.min(LEAST_LOSSES, this.#config.window);
  }

  #keep(losses: readonly number[]): void {
    this.#losses = [...this.#losses, ...losses].slice(-this.#config.window);
    this.#jumped = [];
  }
}

function momentsOf(values: readonly number[]): { mean: number; deviation: number } {
  const mean = values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length);
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return { mean, deviation: Math.sqrt(squares / Math.max(1, values.length)) };
}
