/** What watches over a running stage, and what it has had to do so far. */
import { join } from 'node:path';
import { writeFileAtomic } from '../atomic.ts';
import { GroundError, messageOf } from '../errors.ts';
import type { NonFiniteStep } from './nonfinite.ts';
import { GradientWatch } from './reached.ts';
import type { StageRecipe } from './recipe.ts';
import { SPIKE_DEFAULTS, type SpikeConfig, SpikeWatch, type WatchState } from './watchdog.ts';
import { Watermark, type WatermarkOptions } from './watermark.ts';

/** Steps that may be skipped for not being finite, where the recipe does not say. */
const NONFINITE_LIMIT = 5;

/** Plain data, kept in checkpoints: a resumed run decides as the uninterrupted one would have. */
export interface GuardState {
  /** Steps in which nothing was updated. */
  readonly skipped: number;
  /** Those of them whose loss or gradient was not finite. */
  readonly nonFinite: number;
  /** How often the stage went back to a checkpoint. */
  readonly rollbacks: number;
  /** Steps whose batches are passed over, counted from 1. */
  readonly passOver: readonly number[];
  readonly watch: WatchState;
}

/** The guards of one stage. */
export class Guards {
  readonly spike: SpikeConfig;
  readonly gradients: GradientWatch;
  readonly memory: Watermark;
  readonly #stage: StageRecipe;
  readonly #stageDir: string;
  #watch: SpikeWatch;
  #skipped = 0;
  #nonFinite = 0;
  #rollbacks = 0;
  #passOver: ReadonlySet<number> = new Set();
  #lastWasFinite = true;
  /** Steps up to this one were logged before the stage went back behind them. */
  replayedTo = 0;

  constructor(
    stage: StageRecipe,
    stageDir: string,
    trained: ConstructorParameters<typeof GradientWatch>[0],
    largest: WatermarkOptions['largest'],
  ) {
    this.#stage = stage;
    this.#stageDir = stageDir;
    this.spike = { ...SPIKE_DEFAULTS, ...stage.spike };
    this.#watch = new SpikeWatch(this.spike);
    this.gradients = new GradientWatch(trained);
    this.memory = new Watermark({ limit: (stage.limits?.memory ?? 0) * 2 ** 30, largest });
  }

  get state(): GuardState {
    return {
      skipped: this.#skipped,
      nonFinite: this.#nonFinite,
      rollbacks: this.#rollbacks,
      passOver: [...this.#passOver],
      watch: this.#watch.state,
    };
  }

  /** Goes on from a checkpoint; one of before there were guards has nothing to tell. */
  restore(state: GuardState | undefined): void {
    this.#watch = new SpikeWatch(this.spike, state?.watch);
    this.#skipped = state?.skipped ?? 0;
    this.#nonFinite = state?.nonFinite ?? 0;
    this.#rollbacks = state?.rollbacks ?? 0;
    this.#passOver = new Set(state?.passOver);
  }

  /** As `restore`, from a checkpoint before a spike, whose steps will be passed over. */
  goBack(state: GuardState | undefined, first: number, last: number): void {
    const rollbacks = this.#rollbacks + 1;
    const steps = Array.from({ length: last - first + 1 }, (_, i) => first + i);
    const passOver = new Set([...this.#passOver, ...steps]);
    this.restore(state);
    this.#rollbacks = rollbacks;
    this.#passOver = passOver;
    this.replayedTo = first - 1;
  }

  get skipped(): number {
    return this.#skipped;
  }

  get rollbacks(): number {
    return this.#rollbacks;
  }

  /** Whether a checkpoint of now may take the place of an older one: not while the numbers are doubtful. */
  get sound(): boolean {
    return this.#lastWasFinite && !this.#watch.jumping;
  }

  /** Whether the batches of a step are to be passed over, which counts it as skipped. */
  passesOver(step: number): boolean {
    if (!this.#passOver.has(step)) return false;
    this.#skipped++;
    return true;
  }

  /** Takes note of a step that was updated. Yields a spike that has lasted long enough. */
  updated(step: number, loss: number): ReturnType<SpikeWatch['add']> {
    this.#lastWasFinite = true;
    return this.#watch.add(step, loss);
  }

  /**
   * Writes down what is known about a step that is not finite and counts it as skipped; yields the file. Throws
   * GroundError('train') where the recipe says to stop, or once there were too many.
   */
  async skip(failure: NonFiniteStep): Promise<string> {
    this.#lastWasFinite = false;
    const file = join(this.#stageDir, `nonfinite-${String(failure.report.step).padStart(6, '0')}.json`);
    const written = await writeFileAtomic(file, `${JSON.stringify(failure.report, null, 2)}\n`).then(
      () => `batches and norms of each module are in ${file}`,
      thrown => `what is known could not be written: ${messageOf(thrown)}`,
    );
    const { on_nonfinite: action = 'stop', nonfinite_limit: limit = NONFINITE_LIMIT } = this.#stage;
    if (action === 'stop') {
      throw new GroundError('train', `${failure.message}; ${written}`, {
        hint: `${failure.hint}; \`--set on_nonfinite=skip\` passes over such steps`,
        cause: failure,
      });
    }
    this.#nonFinite++;
    this.#skipped++;
    if (this.#nonFinite <= limit) return file;
    throw new GroundError(
      'train',
      `${this.#nonFinite} steps were not finite, more than nonfinite_limit ${limit}; the last: ${failure.message}; ${written}`,
      { ...(failure.hint === undefined ? {} : { hint: failure.hint }), cause: failure },
    );
  }
}
