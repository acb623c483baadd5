import { CompiledFunctions } from '../engine/compile.ts';
import { hasNativeOps } from '../engine/native-ops.ts';
import * as tf from '../engine/tf.ts';
import { GroundError } from '../errors.ts';
import type { Batch } from '../models/batch.ts';
import type { Ferret } from '../models/ferret.ts';
import { type BatchTensors, disposeTensors, listTensors, toTensors } from '../models/tensors.ts';
import type { Parameter } from '../nn/parameter.ts';
import type { TrainingPlan } from './freeze.ts';
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
    recorded: graph => this.#flopsOf.set(graph.name, graphCost(graph).flops),
    ran: name => {
      this.#flops = (this.#flops ?? 0) + (this.#flopsOf.get(name) ?? 0);
    },
  });
  /** Of the functions that have run since the step began. */
  #flops: number | null = null;
  readonly #encodersTrain: boolean;
  readonly #headTrains: boolean;
  #moments: readonly BankState[];

  constructor(model: Ferret, plan: TrainingPlan, stage: StageRecipe) {
    this.#model = model;
    this.#plan = plan;
    this.#stage = stage;
    this.#trained = plan.banks.flatMap(bank => bank.parameters);
    this.#headTrains = this.#trained.includes(model.llm.headParameter);
    this.#encodersTrain = this.#trained.some(p => p.name.startsWith('encoder.'));
    this.#moments = initialState(plan.banks).map(keepState);
  }

  /** AdamW's moments, one entry a bank, owned by the step. */
  get moments(): readonly BankState[] {
    return this.#moments;
  }

  /** Takes ownership of moments read from a checkpoint, in the order of the plan's banks. */
  restore(moments: readonly BankState[]): void {
    this.#replaceMoments(moments);
  }

  /**
   * One update from the micro-batches of a step. A token weighs the same whichever micro-batch holds it: the language
   * losses are sums over tokens, divided by the number of supervised tokens of the whole step.
   * Throws GroundError('train') before anything is updated when the loss or a gradient is not finite.
   *
   * @param step counted from 0
   */
  run(batches: readonly Batch[], step: number, hooks: StepHooks = {}): StepResult {
    const time: NonNullable<StepHooks['time']> = hooks.time ?? ((_, work) => work());
    this.#flops = null;
    const tokens = batches.reduce((n, b) => n + supervisedTokens(b), 0);
    const contrastive = batches.filter(b => b.kind === 'contrastive').length;
    const losses: Record<string, number> = {};
    let gradients: Gradients | undefined;
    for (const batch of batches) {
      const language = batch.kind === 'conversation';
      const scale = 1 / Math.max(1, language ? tokens : contrastive);
      const part = time('forwardBackward', () => this.#differentiate(batch, scale));
      const name = language ? 'language' : 'contrastive';
      losses[name] = (losses[name] ?? 0) + part.loss;
      gradients = gradients ? addGradients(gradients, part.gradients) : part.gradients;
    }
    const loss = Object.values(losses).reduce((a, b) => a + b, 0);
    if (!gradients || !Number.isFinite(loss)) {
      disposeGradients(gradients ?? []);
      throw notFinite('the loss', loss, step, batches);
    }
    const factor = scheduleFactor(this.#stage.schedule, step, this.#stage.steps);
    const lr = this.#plan.banks.map(bank => bank.peakLr * factor);
    hooks.gradients?.(this.#trained, gradients);
    const reached = gradients;
    const gradNorm = time('update', () => this.#update(reached, lr, step));
    if (gradNorm === undefined) throw notFinite('the gradient norm', Number.NaN, step, batches);
    return {
      loss,
      losses,
      gradNorm,
      lr: Object.fromEntries(this.#plan.banks.map((bank, i) => [bank.group, lr[i] ?? 0])),
      tokens,
      samples: batches.reduce((n, b) => n + b.sampleIds.length, 0),
      flops: this.#flops,
    };
  }

  dispose(): void {
    this.#replaceMoments([]);
    this.#functions.dispose();
  }

  /** The loss of one micro-batch times `scale`, and its gradients. */
  #differentiate(batch: Batch, scale: number): { loss: number; gradients: Gradients } {
    const tensors = toTensors(batch);
    const factor = tf.scalar(scale);
    const inputs = [...this.#model.parameters.all.map(p => p.value), ...listTensors(tensors), factor];
    const [loss, ...parts] = this.#functions.call(`gradients ${batch.kind}`, inputs, () => {
      // Encoders that do not train run here, before the gradient scope, so that nothing of them is kept for backward.
      const frozen =
        this.#encodersTrain || tensors.kind === 'contrastive' ? undefined : this.#model.visual(tensors);
      const xs = this.#trained.map(p => p.value);
      const { value, grads } = tf
        .engine()
        .gradients(() => tf.mul(this.#loss(tensors, frozen), factor) as tf.Scalar, xs, undefined, true);
      // A recorded function yields the same tensors each time; an empty one stands for "not reached".
      return [value, ...xs.map((_, i) => (grads[i] as tf.Tensor | undefined) ?? tf.zeros([0]))];
    });
    const value = (loss as tf.Tensor).dataSync()[0] ?? Number.NaN;
    tf.dispose([loss as tf.Tensor, factor]);
    disposeTensors(tensors);
    const gradients = parts.map(g => {
      if (g.size > 0) return g;
      g.dispose();
      return null;
    });
    return { loss: value, gradients };
  }

  #loss(tensors: BatchTensors, frozen: ReturnType<Ferret['visual']> | undefined): tf.Scalar {
    if (tensors.kind === 'contrastive') return this.#model.contrastiveLoss(tensors);
    const visual = frozen ?? this.#model.visual(tensors);
    return this.#model.languageLoss(tensors, visual, { headTrains: this.#headTrains }).loss;
  }

  /** Applies and disposes the gradients; returns their norm, or undefined (and changes nothing) when it is not finite. */
  #update(gradients: Gradients, lr: readonly number[], updates: number): number | undefined {
    const { banks } = this.#plan;
    const scalars = tf.tensor1d(updateVector({ lr, updates }, this.#stage.optimizer));
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
    tf.dispose([norm as tf.Tensor, scalars, ...reached]);
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
    disposeGradients(gradients);
    return Number.isFinite(gradNorm) ? gradNorm : undefined;
  }

  #replaceMoments(moments: readonly BankState[]): void {
    for (const state of this.#moments) tf.dispose([state.m, state.v]);
    this.#moments = moments.map(keepState);
  }
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

function notFinite(what: string, value: number, step: number, batches: readonly Batch[]): GroundError {
  const ids = batches.flatMap(b => b.sampleIds);
  const shown = ids.slice(0, 8).join(', ') + (ids.length > 8 ? `, … (${ids.length} samples)` : '');
  return new GroundError(
    'train',
    `step ${step + 1}: ${what} is ${value}, nothing was updated; samples: ${shown}`,
    {
      hint: 'lower the learning rate (--set lr=…), lengthen the warmup, or look at these samples with `ground data inspect`; the last checkpoint is untouched',
    },
  );
}
