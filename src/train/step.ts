import { CompiledFunctions, type RecordingListener } from '../engine/compile.ts';
import { type CompileMode, compileMode } from '../engine/mode.ts';
import { hasNativeOps } from '../engine/native-ops.ts';
import * as tf from '../engine/tf.ts';
import type { Batch } from '../models/batch.ts';
import type { Ferret } from '../models/ferret.ts';
import type { Parameter } from '../nn/parameter.ts';
import { WeightAverage } from './average.ts';
import type { ParameterBank, TrainingPlan } from './freeze.ts';
import { type LargeTensor, largestOf, largestOutputs } from './largest.ts';
import { NonFiniteStep, reportNonFinite } from './nonfinite.ts';
import { adamw, adamwInPlace, type BankState, guarded, initialState, updateVector } from './optimizer.ts';
import { type Pass, Passes } from './passes.ts';
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
  /** Runs `work`, which is one of a step's two phases; an update that is part of the same function counts with the first. */
  readonly time?: <T>(phase: 'forwardBackward' | 'update', work: () => T) => T;
  /** Sees the gradients of a step before they are used, in the plan's order; must not keep or dispose them. */
  readonly gradients?: (parameters: readonly Parameter[], gradients: Gradients) => unknown;
}

/** Gradient of each trained parameter, in the plan's order; null where the loss does not reach it. */
export type Gradients = readonly (tf.Tensor | null)[];

/** Numbers of the gradients that one function adds up. */
const ADDED_AT_ONCE = 1 << 24;

/** What a micro-batch has come to. */
interface Part {
  readonly loss: number;
  readonly gradients: Gradients;
  /** Where the update has been made with it: the norm of its gradients, which are not handed out then. */
  readonly gradNorm?: number;
}

/**
 * The training step: forward, backward, clipping and AdamW over the parameters that the plan trains. It is a pure
 * function of (parameters, moments, batch, step). With one micro-batch, and nobody who wants to see gradients, it is one
 * function over tensors; else it is two, gradients (once a micro-batch) and update, with the same results to the last bit.
 * Functions are recorded on their first run. Owns AdamW's moments; `dispose` frees them.
 */
export class TrainStep {
  readonly #model: Ferret;
  readonly #plan: TrainingPlan;
  readonly #stage: StageRecipe;
  readonly #trained: readonly Parameter[];
  readonly #flopsOf = new Map<string, number>();
  readonly #mode: CompileMode;
  readonly #functions: CompiledFunctions;
  /** Of all functions that were recorded. */
  #largest: readonly LargeTensor[] = [];
  /** Of the functions that have run since the step began. */
  #flops: number | null = null;
  readonly #passes: Passes;
  readonly #average: WeightAverage | null;
  #moments: readonly BankState[];
  /** Updates done: AdamW's t. */
  #updates = 0;

  /** Throws GroundError('engine') where the running engine has not the mode that the stage asks for. */
  constructor(model: Ferret, plan: TrainingPlan, stage: StageRecipe) {
    this.#model = model;
    this.#plan = plan;
    this.#stage = stage;
    this.#trained = plan.banks.flatMap(bank => bank.parameters);
    this.#passes = new Passes(model, stage, this.#trained);
    this.#mode = compileMode(stage.engine?.compile);
    const listener: RecordingListener = {
      recorded: graph => {
        this.#flopsOf.set(graph.name, graphCost(graph).flops);
        this.#largest = largestOf([...this.#largest, ...largestOutputs(graph)]);
      },
      ran: name => {
        this.#flops = (this.#flops ?? 0) + (this.#flopsOf.get(name) ?? 0);
      },
    };
    this.#functions = new CompiledFunctions(undefined, listener, this.#mode);
    this.#moments = initialState(plan.banks).map(keepState);
    this.#average = stage.ema ? new WeightAverage(this.#trained, stage.ema) : null;
  }

  /** The running average of what trains; null where the recipe asks for none. */
  get average(): WeightAverage | null {
    return this.#average;
  }

  /** How its functions run. */
  get mode(): CompileMode {
    return this.#mode;
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
    const factor = scheduleFactor(this.#stage.schedule, step, this.#stage.steps);
    const lr = this.#plan.banks.map(bank => bank.peakLr * factor);
    const scalars = tf.tensor1d(updateVector({ lr, updates: this.#updates }, this.#stage.optimizer));
    const atOnce =
      batches.length === 1 && hooks.gradients === undefined && this.#mode === 'graph' && hasNativeOps();
    let gradients: Gradients = [];
    let gradNorm: number | undefined;
    const notFinite = (what: 'loss' | 'gradient'): NonFiniteStep => {
      const { all } = this.#model.parameters;
      const failed = { step, what, losses, batches: done, trained: this.#trained, gradients, all };
      return new NonFiniteStep(reportNonFinite(failed));
    };
    try {
      for (const [i, batch] of batches.entries()) {
        const language = batch.kind === 'conversation';
        const scale = 1 / Math.max(1, language ? tokens : contrastive);
        const part = time('forwardBackward', () => {
          const pass = this.#passes.open(batch, scale, `${step} ${i}`);
          try {
            return (atOnce ? this.#stepAtOnce(pass, scalars) : undefined) ?? this.#differentiate(pass);
          } finally {
            pass.dispose();
          }
        });
        const name = language ? 'language' : 'contrastive';
        losses[name] = (losses[name] ?? 0) + part.loss;
        done.push({ batch, loss: part.loss });
        gradients = i === 0 ? part.gradients : this.#addGradients(gradients, part.gradients);
        gradNorm = part.gradNorm;
      }
      if (gradNorm === undefined) {
        if (!Object.values(losses).every(Number.isFinite)) throw notFinite('loss');
        hooks.gradients?.(this.#trained, gradients);
        gradNorm = time('update', () => this.#update(gradients, scalars));
        if (gradNorm === undefined) throw notFinite('gradient');
      }
    } finally {
      disposeGradients(gradients);
      scalars.dispose();
    }
    this.#updates++;
    if (this.#average) time('update', () => this.#average?.update(step));
    return {
      loss: Object.values(losses).reduce((a, b) => a + b, 0),
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

  /** The loss of one micro-batch and its gradients. */
  #differentiate(pass: Pass): Part {
    const [loss, ...parts] = this.#functions.call(gradientsKey(pass), pass.inputs, () => {
      const { value, gradients } = pass.differentiate();
      // A recorded function yields the same tensors each time; an empty one stands for "not reached".
      return [value, ...gradients.map(gradient => gradient ?? tf.zeros([0]))];
    });
    const gradients = parts.map(g => {
      if (g.size > 0) return g;
      g.dispose();
      return null;
    });
    return { loss: takeNumber(loss as tf.Tensor), gradients };
  }

  /**
   * Forward, backward, norm, clipping and AdamW in place as one function. Undefined, and nothing is changed, where loss or
   * norm is not finite, and where the gradients alone of such a batch have been recorded already: twice would be waste.
   */
  #stepAtOnce(pass: Pass, scalars: tf.Tensor1D): Part | undefined {
    if (this.#functions.knows(gradientsKey(pass), pass.inputs)) return undefined;
    const moments = this.#moments.flatMap(state => [state.m, state.v]);
    const inputs = [...pass.inputs, ...moments, scalars];
    const results = this.#functions.call(`step ${pass.kind}`, inputs, () => {
      const { value, gradients } = pass.differentiate();
      // Waits for loss and gradients, and so for all that reads a weight, before it writes one.
      return [value, this.#adamwInPlace(guarded(this.#trained, gradients, value), scalars)];
    });
    const [loss = Number.NaN, gradNorm = Number.NaN] = results.map(takeNumber);
    return Number.isFinite(loss) && Number.isFinite(gradNorm) ? { loss, gradNorm, gradients: [] } : undefined;
  }

  /** Applies the gradients; returns their norm, or undefined (and changes nothing) when it is not finite. */
  #update(gradients: Gradients, scalars: tf.Tensor1D): number | undefined {
    const { banks } = this.#plan;
    if (hasNativeOps()) return finite(takeNumber(this.#adamwInPlace(gradients, scalars)));
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
    const gradNorm = finite(takeNumber(norm as tf.Tensor));
    if (gradNorm === undefined) {
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

  #adamwInPlace(gradients: Gradients, scalars: tf.Tensor1D): tf.Scalar {
    return adamwInPlace(this.#plan.banks, this.#moments, gradients, scalars, this.#stage.optimizer);
  }

  /** a + b, disposing both; so many at a time that only few are there three times over. */
  #addGradients(a: Gradients, b: Gradients): Gradients {
    const sums = a.map((x, i) => x ?? b[i] ?? null);
    const both = a.flatMap((x, i) => (x && b[i] ? [{ i, pair: [x, b[i]] as const, size: x.size }] : []));
    for (const group of inGroups(both, ADDED_AT_ONCE)) {
      const pairs = group.map(({ pair }) => pair);
      const added = this.#functions.call('add', pairs.flat(), () => pairs.map(([x, y]) => tf.add(x, y)));
      tf.dispose(pairs.flat());
      for (const [n, { i }] of group.entries()) sums[i] = added[n] ?? null;
    }
    return sums;
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

function gradientsKey({ kind }: Pass): string {
  return `gradients ${kind}`;
}

/** The number that a scalar holds, which is disposed. */
function takeNumber(scalar: tf.Tensor): number {
  const [value = Number.NaN] = scalar.dataSync();
  scalar.dispose();
  return value;
}

function finite(value: number): number | undefined {
  return Number.isFinite(value) ? value : undefined;
}

/** Groups of at most `most` numbers, in order; what is larger is a group of its own. */
function inGroups<T extends { readonly size: number }>(items: readonly T[], most: number): T[][] {
  const groups: T[][] = [];
  let room = 0;
  for (const item of items) {
    if (item.size > room || groups.length === 0) {
      groups.push([]);
      room = most;
    }
    groups.at(-1)?.push(item);
    room -= item.size;
  }
  return groups;
}

function disposeGradients(gradients: Gradients): void {
  for (const g of gradients) g?.dispose();
}
