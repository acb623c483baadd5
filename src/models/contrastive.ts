import { gatherRows } from '../engine/ops.ts';
import * as tf from '../engine/tf.ts';
import { patchInfoNce, symmetricInfoNce, unitRows } from '../nn/contrast.ts';
import { constant, normal } from '../nn/init.ts';
import { Linear } from '../nn/linear.ts';
import type { Parameter, Scope } from '../nn/parameter.ts';
import { meanPool, weightedRows } from '../nn/pooling.ts';
import { ClipText } from './clip-text.ts';
import { type ModelConfig, tileEncoderOf } from './config.ts';
import type { ContrastiveTensors, PoolingTensors, TextTensors } from './tensors.ts';

/** CLIP never lets the similarity scale exceed 100, which keeps early training from collapsing. */
const LARGEST_LOG_SCALE = Math.log(100);

/** What the two encoders yield for a contrastive batch. */
export interface ContrastiveFeatures {
  /** CLIP's pooled image vectors [B, width], and its patch features [B · Pg, width]. */
  readonly global: { readonly images: tf.Tensor2D; readonly patches: tf.Tensor2D } | null;
  /** The local encoder's patch features [N · Pl, width]. */
  readonly localPatches: tf.Tensor2D | null;
}

/** Features [n, width] to the space of the texts [n, projection_dim]. */
type Projection = (features: tf.Tensor2D) => tf.Tensor2D;

/**
 * Contrastive pretraining of both encoders against one text tower: images with captions as in CLIP, and regions with
 * phrases, both their averaged patches and each patch on its own. The last is what makes patches say what they are part of,
 * which a language model asks of them later; averages alone may tell shapes apart while no patch does. For setups without
 * published weights.
 */
export class ContrastiveHead {
  readonly #text: ClipText;
  readonly #textProjection: Linear;
  readonly #globalProjection: Linear;
  readonly #globalRegionProjection: Projection;
  readonly #localProjection: Projection;
  readonly #logitScale: Parameter;
  readonly #captionWeight: number;

  /** Declares `text_encoder.*` and `contrastive.*` below the root scope. */
  constructor(root: Scope, config: ModelConfig, pretraining: NonNullable<ModelConfig['pretraining']>) {
    const { text_encoder, projection_dim, caption_weight = 1, shared_space = false } = pretraining;
    this.#captionWeight = caption_weight;
    const scope = root.at('contrastive');
    const linear = (at: Scope, inputs: number): Linear =>
      new Linear(at, inputs, projection_dim, { bias: false, weight: normal(inputs ** -0.5) });
    this.#text = new ClipText(root.at('text_encoder'), text_encoder);
    this.#textProjection = linear(root.at('text_encoder.text_projection'), text_encoder.hidden_size);
    this.#globalProjection = linear(scope.at('global_projection'), config.global_encoder.hidden_size);
    // Patches come from another layer than the class token, hence from another space. Where both encoders' patches live in
    // the space of the phrases, what a projector learns on one of them holds for the other.
    const ofPatches = (name: string, width: number): Projection => {
      if (shared_space) return features => features;
      const projection = linear(scope.at(name), width);
      return features => projection.apply(features);
    };
    this.#globalRegionProjection = ofPatches('global_region_projection', config.global_encoder.hidden_size);
    this.#localProjection = ofPatches('local_projection', tileEncoderOf(config).hidden_size);
    this.#logitScale = scope.parameter('logit_scale', [], constant(Math.log(1 / 0.07)));
  }

  /**
   * The weighted mean of the InfoNCE losses that the batch allows: images (of weight `caption_weight`), regions and the patches
   * of regions (of weight 1), global and local.
   */
  loss(batch: ContrastiveTensors, features: ContrastiveFeatures): tf.Scalar {
    const read = ({ ids, ends }: TextTensors): tf.Tensor2D =>
      unitRows(this.#textProjection.apply(this.#text.pooled(this.#text.apply(ids, null), ends)));
    const captions = read(batch.captions);
    const scale = tf.exp(tf.minimum(this.#logitScale.value, LARGEST_LOG_SCALE));
    const similarity = (seen: tf.Tensor2D, said: tf.Tensor2D): tf.Tensor2D =>
      tf.mul(tf.matMul(unitRows(seen), said, false, true), scale);
    const terms: tf.Scalar[] = [];
    let weights = 0;
    const add = (weight: number, ...losses: readonly tf.Scalar[]): void => {
      for (const loss of losses) terms.push(weight === 1 ? loss : tf.mul(loss, weight));
      weights += weight * losses.length;
    };
    const { global, localPatches } = features;
    if (global !== null) {
      const images = this.#globalProjection.apply(global.images);
      add(this.#captionWeight, symmetricInfoNce(similarity(images, captions), batch.captionPairs));
    }
    if (localPatches !== null && batch.tileMean !== null) {
      const [tiles, width] = [batch.tileMean.shape[1], localPatches.shape[1]];
      const perTile = meanPool(tf.reshape(localPatches, [tiles, localPatches.shape[0] / tiles, width]));
      const images = this.#localProjection(tf.matMul(batch.tileMean, perTile));
      add(this.#captionWeight, symmetricInfoNce(similarity(images, captions), batch.captionPairs));
    }
    if (batch.regions !== null) {
      const { pairs } = batch.regions;
      const phrases = read(batch.regions.phrases);
      const contrast = (
        patches: tf.Tensor2D,
        pooling: PoolingTensors,
        projection: Projection,
      ): tf.Scalar[] => {
        const pooled = weightedRows(withZeroRow(patches), pooling.rows, pooling.weights);
        const each = gatherRows(withZeroRow(unitRows(projection(patches))), pooling.rows) as tf.Tensor3D;
        return [
          symmetricInfoNce(similarity(projection(pooled), phrases), pairs),
          patchInfoNce(tf.mul(each, scale), phrases, pooling.weights, pairs),
        ];
      };
      if (global !== null) {
        add(1, ...contrast(global.patches, batch.regions.global, this.#globalRegionProjection));
      }
      if (localPatches !== null) {
        add(1, ...contrast(localPatches, batch.regions.local, this.#localProjection));
      }
    }
    if (terms.length === 0) return tf.scalar(0);
    return tf.mul(tf.addN(terms), 1 / weights);
  }
}

/** A table followed by one row of zeros, which rows that pad read. */
export function withZeroRow(table: tf.Tensor2D): tf.Tensor2D {
  return tf.concat([table, tf.zeros([1, table.shape[1]])], 0);
}
