import * as tf from '../engine/tf.ts';
import { normal } from '../nn/init.ts';
import { Linear } from '../nn/linear.ts';
import { LayerNorm } from '../nn/norm.ts';
import type { Parameter, Scope } from '../nn/parameter.ts';
import { cutPatches } from '../nn/patches.ts';
import { ClipBlock } from './clip-block.ts';
import type { ClipVisionConfig } from './config.ts';
import { firstTokens, gridOf, positionsFor, withLeading, withoutLeading } from './visual-tokens.ts';

/** CLIP's image tower (arXiv 2103.00020; names and hidden states of Hugging Face `CLIPVisionModel`). */
export class ClipVision {
  readonly blocks: readonly ClipBlock[];
  readonly #config: ClipVisionConfig;
  readonly #classEmbedding: Parameter;
  readonly #patch: Linear;
  readonly #positions: Parameter;
  readonly #preNorm: LayerNorm;
  readonly #postNorm: LayerNorm;

  constructor(scope: Scope, config: ClipVisionConfig) {
    const { hidden_size: width, patch_size: patch, layer_norm_eps: eps } = config;
    const model = scope.at('vision_model');
    const embeddings = model.at('embeddings');
    const places = Math.floor(config.image_size / patch) ** 2 + 1;
    this.#config = config;
    this.#classEmbedding = embeddings.parameter('class_embedding', [width], normal(width ** -0.5));
    this.#patch = new Linear(embeddings.at('patch_embedding'), 3 * patch * patch, width, {
      bias: false,
      storedShape: [width, 3, patch, patch],
    });
    this.#positions = embeddings.parameter('position_embedding.weight', [places, width], normal(0.02));
    // The published checkpoints spell it so.
    this.#preNorm = new LayerNorm(model.at('pre_layrnorm'), width, eps);
    this.blocks = Array.from(
      { length: config.num_hidden_layers },
      (_, i) => new ClipBlock(model.at(`encoder.layers.${i}`), config),
    );
    this.#postNorm = new LayerNorm(model.at('post_layernorm'), width, eps);
  }

  /**
   * hidden_states[0..last] of pixels [batch, 3, height, width], each [batch · (1 + patches), hidden_size], the class
   * token first. Blocks after `last` are not computed. Sides other than `image_size` get resampled positions.
   */
  hiddenStates(pixels: tf.Tensor4D, last: number = this.blocks.length): tf.Tensor2D[] {
    const batch = pixels.shape[0];
    const states = [tf.tidy(() => this.#embed(pixels))];
    for (const block of this.blocks.slice(0, last)) {
      states.push(block.apply(states[states.length - 1] as tf.Tensor2D, batch, null));
    }
    return states;
  }

  /** The patch tokens of one hidden state, [batch · patches, hidden_size]. */
  patches(hidden: tf.Tensor2D, batch: number): tf.Tensor2D {
    return withoutLeading(hidden, batch, 1);
  }

  /** CLIP's image vector before projection: the class token of the last hidden state, normalised. [batch, width] */
  pooled(last: tf.Tensor2D, batch: number): tf.Tensor2D {
    return this.#postNorm.apply(firstTokens(last, batch));
  }

  #embed(pixels: tf.Tensor4D): tf.Tensor2D {
    const { hidden_size: width, patch_size } = this.#config;
    const grid = gridOf(pixels, patch_size);
    const positions = positionsFor(this.#positions.value as tf.Tensor2D, grid);
    const patches = this.#patch.apply(cutPatches(pixels, patch_size));
    const placed = tf.add<tf.Tensor3D>(
      tf.reshape(patches, [pixels.shape[0], grid.rows * grid.columns, width]),
      positions.patches,
    );
    const first = tf.add<tf.Tensor2D>(positions.first, this.#classEmbedding.value);
    return this.#preNorm.apply(withLeading(first, placed));
  }
}
