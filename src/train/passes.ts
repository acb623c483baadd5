/** Forward and backward of one micro-batch, as a function over tensors. */
import * as tf from '../engine/tf.ts';
import type { Batch } from '../models/batch.ts';
import type { Ferret } from '../models/ferret.ts';
import { type BatchTensors, listTensors, toTensors } from '../models/tensors.ts';
import type { Parameter } from '../nn/parameter.ts';
import type { TrainingMode } from '../nn/training.ts';
import { hashSeed } from '../random.ts';
import type { StageRecipe } from './recipe.ts';

/** Loss and gradients in the order of the trained parameters; null where the loss does not reach one. */
export interface Differentiated {
  readonly value: tf.Scalar;
  readonly gradients: readonly (tf.Tensor | null)[];
}

/** A micro-batch in the engine. */
export interface Pass {
  readonly kind: Batch['kind'];
  /** All that `differentiate` reads, weights first. */
  readonly inputs: readonly tf.Tensor[];
  /** The loss times the pass's scale, and its gradients. To be called in a scope that disposes what is not kept. */
  differentiate(): Differentiated;
  /** Frees what was made for this micro-batch. */
  dispose(): void;
}

/** Makes the passes of a stage. */
export class Passes {
  readonly #model: Ferret;
  readonly #stage: StageRecipe;
  readonly #trained: readonly Parameter[];
  readonly #encodersTrain: boolean;
  readonly #headTrains: boolean;

  constructor(model: Ferret, stage: StageRecipe, trained: readonly Parameter[]) {
    this.#model = model;
    this.#stage = stage;
    this.#trained = trained;
    this.#headTrains = trained.includes(model.llm.headParameter);
    this.#encodersTrain = trained.some(p => p.name.startsWith('encoder.'));
  }

  /** Copies a micro-batch into the engine. Its loss is multiplied by `scale`; `name` names its dropout. */
  open(batch: Batch, scale: number, name: string): Pass {
    const tensors = toTensors(batch);
    const factor = tf.scalar(scale);
    const dropout = this.#dropoutSeed(name);
    const made = [...listTensors(tensors), factor, ...(dropout === null ? [] : [dropout])];
    return {
      kind: batch.kind,
      inputs: [...this.#model.parameters.all.map(p => p.value), ...made],
      differentiate: () => this.#differentiate(tensors, factor, dropout),
      dispose: () => tf.dispose(made),
    };
  }

  #differentiate(tensors: BatchTensors, factor: tf.Scalar, dropout: tf.Tensor1D | null): Differentiated {
    // Encoders that do not train run here, before the gradient scope, so that nothing of them is kept for backward.
    const frozen =
      this.#encodersTrain || tensors.kind === 'contrastive' ? undefined : this.#model.visual(tensors);
    const xs = this.#trained.map(p => p.value);
    const { value, grads } = this.#model.parameters.train(this.#mode(dropout), () =>
      tf
        .engine()
        .gradients(() => tf.mul(this.#loss(tensors, frozen), factor) as tf.Scalar, xs, undefined, true),
    );
    return { value: value as tf.Scalar, gradients: xs.map((_, i) => grads[i] ?? null) };
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
}
