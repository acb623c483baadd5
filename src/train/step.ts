import { CompiledFunctions } from '../engine/compile.ts';
import { hasNativeOps } from '../engine/native-ops.ts';
import * as tf from '../engine/tf.ts';
import type { Batch } from '../models/batch.ts';
import type { Ferret } from '../models/ferret.ts';
import { type BatchTensors, disposeTensors, listTensors, toTensors } from '../models/tensors.ts';
import type { Parameter } from '../nn/parameter.ts';
import type { TrainingMode } from '../nn/training.ts';
import { hashSeed } from '../random.ts';
import { WeightAverage } from './average.ts';
import type { ParameterBank, TrainingPlan } from './freeze.ts';
import { type LargeTensor, largestOf, largestOutputs } from './largest.ts';
import { NonFiniteStep, reportNonFinite } from './nonfinite.ts';
import { adamw, adamwInPlace, type BankState, initialState, updateVector } from './optimizer.ts';
import { graphCost } from './plan/cost.ts';
import type { StageRecipe } from './recipe.ts';
import { scheduleFactor } from './schedule.ts';

export interface StepResult {
  /** Sum of the parts. */
  readonly loss: number;
  /** `language`: mean cross-entropy of the answers' tokens; `contrastive`: mean InfoNCE. */
  readonly losses: Readonly<Record<string, number>>;
  /** Global norm of the gradients before clipping. */
  readonly gradNorm: number;
  /** Learning rate of each trained group. */
  readonly lr: Readonly<Record<string, number>>;
  /** Supervised tokens. */
  readonly tokens: number;
  readonly samples: number;
  /** Floating-point operations of its matrix products; null where functions ran unrecorded, and were not counted. */
  readonly flops: number | null;
}

/** Gets to see parts of a step as they happen. */
export interface StepHooks {
  /** Runs `work`, which is one of a step's two phases. */
  readonly time?: <T>(phase: 'forwardBackward' | 'update', work: () => T) => T;
  /** Sees the gradients of a step before they are used, in the plan's order; must not keep or dispose them. */
  readonly gradients?: (parameters: readonly Parameter[], gradients: Gradients) => unknown;
}

/** Gradient of each trained parameter, in the plan's order; null where the loss does not reach it. */
export type Gradients = readonly (tf.Tensor | null)[];

/**
 * The training step: forward, backward, clipping and AdamW over the parameters that the plan trains. It is a pure
 * function of (parameters, moments, batch, step), made of two functions over tensors, gradients (once a micro-batch)
 * and update, each recorded on its first run. Owns AdamW's moments; `dispose` frees them.
 */
export class TrainStep {
  readonly #model: Ferret;
  readonly #plan: TrainingPlan;
  readonly #stage: StageRecipe;
  readonly #trained: readonly Parameter[];
  readonly #flopsOf = new Map<string, number>();
  readonly #functions = new CompiledFunctions(undefined, {
    recorded: graph => {
      this.#flopsOf.set(graph.name, graphCost(graph).flops);
      this.#largest = largestOf([...this.#largest, ...largestOutputs(graph)]);
    },
    ran: name => {
      this.#flops = (this.#flops ?? 0) + (this.#flopsOf.get(name) ?? 0);
    },
  });
  /** Of all functions that were recorded. */
  #largest: readonly LargeTensor[] = [];
  /** Of the functions that have run since the step began. */
  #flops: number | null = null;
  readonly #encodersTrain: boolean;
  readonly #headTrains: boolean;
  readonly #average: WeightAverage | null;
  #moments: readonly BankState[];
  /** Updates done: AdamW's t. */
  #updates = 0;

  constructor(model: Ferret, plan: TrainingPlan, stage: StageRecipe) {
    this.#model = model;
    this.#plan = plan;
    this.#stage = stage;
    this.#trained = plan.banks.flatMap(bank => bank.parameters);
    this.#headTrains = this.#trained.includes(model.llm.headParameter);
    this.#encodersTrain = this.#trained.some(p => p.name.startsWith('encoder.'));
    this.#moments = initialState(plan.banks).map(keepState);
    this.#average = stage.ema ? new WeightAverage(this.#trained, stage.ema) : null;
  }

  /** The running average of what trains; null where the recipe asks for none. */
  get average(): WeightAverage | null {
    return this.#average;
  }

  /** AdamW's moments, one entry a bank, owned by the step. */
  get moments(): readonly BankState[] {
    return this.#moments;
  }

  /** Updates done; fewer than the steps where some were passed over. */
  get updates(): number {
    return this.#updates;
  }

  /** What takes most while a recorded function runs. */
  get largest(): readonly LargeTensor[] {
    return this.#largest;
  }

  /** Functions recorded so far; what is recorded for new shapes may hold tensors of its own. */
  get recordings(): number {
    return this.#flopsOf.size;
  }

  /** Takes ownership of moments read from a checkpoint, in the order of the plan's banks, after so many updates. */
  restore(moments: readonly BankState[], updates: number): void {
    this.#replaceMoments(moments);
    this.#updates = updates;
  }

  /**
   * One update from the micro-batches of a step. A token weighs the same whichever micro-batch holds it: the language
   * losses are sums over tokens, divided by the number of supervised tokens of the whole step.
   * Throws `NonFiniteStep` before anything is updated when the loss or a gradient is not finite.
   *
   * @param step counted from 0
   */
  run(batches: readonly Batch[], step: number, hooks: StepHooks = {}): StepResult {
    const time: NonNullable<StepHooks['time']> = hooks.time ?? ((_, work) => work());
    this.#flops = null;
    const tokens = batches.reduce((n, b) => n + supervisedTokens(b), 0);
    const contrastive = batches.filter(b => b.kind === 'contrastive').length;
    const losses: Record<string, number> = {};
    const done: { batch: Batch; loss: number }[] = [];
    let gradients: Gradients | undefined;
    for (const [i, batch] of batches.entries()) {
      const language = batch.kind === 'conversation';
      const scale = 1 / Math.max(1, language ? tokens : contrastive);
      const part = time('forwardBackward', () => this.#differentiate(batch, scale, `${step} ${i}`));
      const name = language ? 'language' : 'contrastive';
      losses[name] = (losses[name] ?? 0) + part.loss;
      done.push({ batch, loss: part.loss });
      gradients = gradients ? addGradients(gradients, part.gradients) : part.gradients;
    }
    const loss = Object.values(losses).reduce((a, b) => a + b, 0);
    const reached = gradients ?? [];
    const notFinite = (what: 'loss' | 'gradient'): NonFiniteStep => {
      const { all } = this.#model.parameters;
      const failed = { step, what, losses, batches: done, trained: this.#trained, gradients: reached, all };
      return new NonFiniteStep(reportNonFinite(failed));
    };
    const factor = scheduleFactor(this.#stage.schedule, step, this.#stage.steps);
    const lr = this.#plan.banks.map(bank => bank.peakLr * factor);
    let gradNorm: number | undefined;
    try {
      if (!Number.isFinite(loss)) throw notFinite('loss');
      hooks.gradients?.(this.#trained, reached);
      gradNorm = time('update', () => this.#update(reached, lr));
      if (gradNorm === undefined) throw notFinite('gradient');
    } finally {
      disposeGradients(reached);
    }
    this.#updates++;
    if (this.#average) time('update', () => this.#average?.update(step));
    return {
      loss,
      losses,
      gradNorm,
      lr: ratesByGroup(this.#plan.banks, lr),
      tokens,
      samples: batches.reduce((n, b) => n + b.sampleIds.length, 0),
      flops: this.#flops,
    };
  }

  dispose(): void {
    this.#replaceMoments([]);
    this.#average?.dispose();
    this.#functions.dispose();
  }

  /** The loss of one micro-batch times `scale`, and its gradients. `pass` names the dropout of this one. */
  #differentiate(batch: Batch, scale: number, pass: string): { loss: number; gradients: Gradients } {
    const tensors = toTensors(batch);
    const factor = tf.scalar(scale);
    const dropout = this.#dropoutSeed(pass);
    const seeds = dropout === null ? [] : [dropout];
    const inputs = [
      ...this.#model.parameters.all.map(p => p.value),
      ...listTensors(tensors),
      factor,
      ...seeds,
    ];
    const mode = this.#mode(dropout);
    const [loss, ...parts] = this.#functions.call(`gradients ${batch.kind}`, inputs, () => {
      // Encoders that do not train run here, before the gradient scope, so that nothing of them is kept for backward.
      const frozen =
        this.#encodersTrain || tensors.kind === 'contrastive' ? undefined : this.#model.visual(tensors);
      const xs = this.#trained.map(p => p.value);
      const { value, grads } = this.#model.parameters.train(mode, () =>
        tf
          .engine()
          .gradients(() => tf.mul(this.#loss(tensors, frozen), factor) as tf.Scalar, xs, undefined, true),
      );
      // A recorded function yields the same tensors each time; an empty one stands for "not reached".
      return [value, ...xs.map((_, i) => (grads[i] as tf.Tensor | undefined) ?? tf.zeros([0]))];
    });
    const value = (loss as tf.Tensor).dataSync()[0] ?? Number.NaN;
    tf.dispose([loss as tf.Tensor, factor, ...seeds]);
    disposeTensors(tensors);
    const gradients = parts.map(g => {
      if (g.size > 0) return g;
      g.dispose();
      return null;
    });
    return { loss: value, gradients };
  }

  /** What differs from evaluation while gradients are taken, the backward pass included. */
  #mode(dropout: tf.Tensor1D | null): TrainingMode {
    const modules = this.#stage.checkpoint_activations ?? [];
    return { dropout, recompute: { modules, trained: new Set(this.#trained) } };
  }

  /** Two numbers [2] from the stage's seed and the name of a pass: an input of the step, for it differs each time. */
  #dropoutSeed(pass: string): tf.Tensor1D | null {
    const { seed, lora = [] } = this.#stage;
    if (!lora.some(({ dropout = 0 }) => dropout > 0)) return null;
    const words = ['a', 'b'].map(word => hashSeed(seed, 'lora dropout', pass, word) | 0);
    return tf.tensor1d(words, 'int32');
  }

  #loss(tensors: BatchTensors, frozen: ReturnType<Ferret['visual']> | undefined): tf.Scalar {
    if (tensors.kind === 'contrastive') return this.#model.contrastiveLoss(tensors);
    const visual = frozen ?? this.#model.visual(tensors);
    return this.#model.languageLoss(tensors, visual, { headTrains: this.#headTrains }).loss;
  }

  /** Applies the gradients; returns their norm, or undefined (and changes nothing) when it is not finite. */
  #update(gradients: Gradients, lr: readonly number[]): number | undefined {
    const { banks } = this.#plan;
    const scalars = tf.tensor1d(updateVector({ lr, updates: this.#updates }, this.#stage.optimizer));
    if (hasNativeOps()) return this.#updateInPlace(gradients, scalars);
    const reached = gradients.filter(g => g !== null);
    const inputs = [
      ...this.#trained.map(p => p.value),
      ...this.#moments.flatMap(state => [state.m, state.v]),
      ...reached,
      scalars,
    ];
    const key = `update ${gradients.map(g => (g ? 1 : 0)).join('')}`;
    const [norm, ...updated] = this.#functions.call(key, inputs, () => {
      let next = 0;
      const perBank = banks.map(bank => bank.parameters.map(() => gradients[next++] ?? null));
      const update = adamw(banks, this.#moments, perBank, scalars, this.#stage.optimizer);
      return [update.gradNorm, ...update.state.flatMap(s => [s.m, s.v]), ...update.values.flat()];
    });
    const gradNorm = (norm as tf.Tensor).dataSync()[0] ?? Number.NaN;
    tf.dispose([norm as tf.Tensor, scalars]);
    if (!Number.isFinite(gradNorm)) {
      tf.dispose(updated);
      return undefined;
    }
    const moments = banks.map((_, i) => ({
      m: updated[2 * i] as tf.Tensor1D,
      v: updated[2 * i + 1] as tf.Tensor1D,
    }));
    this.#replaceMoments(moments);
    for (const [i, parameter] of this.#trained.entries()) {
      parameter.assign(updated[2 * banks.length + i] as tf.Tensor);
    }
    return gradNorm;
  }

  #updateInPlace(gradients: Gradients, scalars: tf.Tensor1D): number | undefined {
    const norm = adamwInPlace(this.#plan.banks, this.#moments, gradients, scalars, this.#stage.optimizer);
    const gradNorm = norm.dataSync()[0] ?? Number.NaN;
    tf.dispose([norm, scalars]);
    return Number.isFinite(gradNorm) ? gradNorm : undefined;
  }

  #replaceMoments(moments: readonly BankState[]): void {
    for (const state of this.#moments) tf.dispose([state.m, state.v]);
    this.#moments = moments.map(keepState);
  }
}

/** The highest rate of each group: banks of one group differ where rates fall from block to block. */
function ratesByGroup(banks: readonly ParameterBank[], lr: readonly number[]): Record<string, number> {
  const rates: Record<string, number> = {};
  for (const [i, { group }] of banks.entries()) rates[group] = Math.max(rates[group] ?? 0, lr[i] ?? 0);
  return rates;
}

/** Moments survive the scopes they are made in: the step disposes them itself. */
function keepState({ m, v }: BankState): BankState {
  return { m: tf.keep(m), v: tf.keep(v) };
}

function supervisedTokens(batch: Batch): number {
  return batch.kind === 'conversation' ? batch.targetWeights.data.reduce((sum, w) => sum + w, 0) : 0;
}

/** a + b, disposing both. */
function addGradients(a: Gradients, b: Gradients): Gradients {
  return a.map((x, i) => {
    const y = b[i] ?? null;
    if (!x || !y) return x ?? y;
    const sum = tf.add(x, y);
    tf.dispose([x, y]);
    return sum;
  });
}

function disposeGradients(gradients: Gradients): void {
  for (const g of gradients) g?.dispose();
}
