import { CompiledFunctions } from '../engine/compile.ts';
import { gatherOnce, gatherRows } from '../engine/ops.ts';
import * as tf from '../engine/tf.ts';
import { GroundError } from '../errors.ts';
import { ParameterTree } from '../nn/parameter.ts';
import { weightedRows } from '../nn/pooling.ts';
import { ClipVision } from './clip-vision.ts';
import { type ModelConfig, tileEncoderOf } from './config.ts';
import { ContrastiveHead, withZeroRow } from './contrastive.ts';
import { type DecodeCache, type DecodeStep, decodeNext, prefillPrompts, releaseCache } from './decoding.ts';
import { Dinov2 } from './dinov2.ts';
import { blocksFor } from './layers.ts';
import { Llama } from './llama.ts';
import { gridCentres, sineCosinePositions, unitLength } from './positions.ts';
import { Projector } from './projector.ts';
import { type RegionPooling, regionPooling } from './sampler.ts';
import type { ContrastiveTensors, ConversationTensors, RegionTensors } from './tensors.ts';

/** What the encoders see, patches row-major: global [B · Pg, width], local [N · Pl, width]; null without such views. */
export interface VisualFeatures {
  readonly global: tf.Tensor2D | null;
  readonly local: tf.Tensor2D | null;
}

/** What of a batch the encoders read. */
export type VisualInputs = Pick<ConversationTensors, 'globalPixels' | 'localPixels'> &
  Partial<Pick<ConversationTensors, 'globalFeatures' | 'localFeatures'>>;

/** A loss as a sum and what to divide it by, so that micro-batches add up to the mean over all their tokens. */
export interface LanguageLoss {
  /** Σ weight · cross-entropy over supervised tokens. */
  readonly loss: tf.Scalar;
  /** Σ weight. */
  readonly weight: tf.Scalar;
}

/**
 * Ferret-v2 (arXiv 2404.07973): CLIP on the low-resolution view, DINOv2 on tiles, a projector for each, the region
 * sampler on their merged maps, and a language model over text, visual tokens and regions. Parameters are declared by
 * the constructor; `parameters.allocate(seed)` or a checkpoint gives them values. Every method leaves its intermediate
 * tensors to the caller's tf.tidy and disposes nothing of its arguments.
 */
export class Ferret {
  readonly config: ModelConfig;
  readonly parameters: ParameterTree;
  readonly llm: Llama;
  readonly #globalEncoder: ClipVision;
  readonly #localEncoder: Dinov2;
  readonly #globalProjector: Projector;
  readonly #localProjector: Projector;
  readonly #sampler: RegionPooling;
  readonly #contrastive: ContrastiveHead | undefined;
  readonly #functions = new CompiledFunctions();
  readonly #globalBlocks: number;
  readonly #localBlocks: number;

  /** Throws a model error where the parts do not fit together; nothing is allocated. */
  constructor(config: ModelConfig) {
    checkFit(config);
    const { global_encoder: globalEncoder, local_encoder: localEncoder, llm } = config;
    this.config = config;
    this.parameters = new ParameterTree();
    const root = this.parameters.root;
    this.#globalBlocks = blocksFor(globalEncoder.feature_layer, globalEncoder.num_hidden_layers);
    this.#localBlocks = blocksFor(localEncoder.feature_layer, localEncoder.num_hidden_layers);
    this.#globalEncoder = new ClipVision(root.at('encoder.global'), globalEncoder);
    this.#localEncoder = new Dinov2(root.at('encoder.local'), localEncoder);
    this.#globalProjector = new Projector(
      root.at('projector.global'),
      globalEncoder.hidden_size,
      llm.hidden_size,
    );
    this.#localProjector = new Projector(
      root.at('projector.local'),
      tileEncoderOf(config).hidden_size,
      llm.hidden_size,
    );
    const mapWidth = config.referring.features === 'encoder' ? globalEncoder.hidden_size : llm.hidden_size;
    this.#sampler = regionPooling(root.at('sampler'), config.sampler, mapWidth, llm.hidden_size);
    this.llm = new Llama(root.at('llm'), llm);
    if (config.pretraining) this.#contrastive = new ContrastiveHead(root, config, config.pretraining);
  }

  /**
   * Runs both encoders, but for those whose features the batch has. Call it outside the gradient scope while they are frozen,
   * inside when they train.
   */
  visual(batch: VisualInputs): VisualFeatures {
    const { globalPixels, localPixels, globalFeatures = null, localFeatures = null } = batch;
    return {
      global: globalFeatures ?? (globalPixels && tf.tidy(() => this.#globalFeatures(globalPixels).patches)),
      local: localFeatures ?? (localPixels && tf.tidy(() => this.#localFeatures(localPixels))),
    };
  }

  /** The language model's last hidden state before its final norm, [B · T, hidden_size]. */
  hiddenStates(batch: ConversationTensors, visual: VisualFeatures): tf.Tensor2D {
    return tf.tidy(() => {
      const { packed } = batch;
      const context = packed
        ? this.llm.packed(packed.segments, packed.positions)
        : this.llm.sequence(batch.size, batch.length);
      const { states } = this.llm.decode(this.embeddings(batch, visual), context);
      return states[states.length - 1] as tf.Tensor2D;
    });
  }

  /**
   * Cross-entropy of the supervised tokens; the vocabulary is scored at their positions only. `headTrains`: whether a
   * gradient of the scoring table will be asked for.
   */
  languageLoss(
    batch: ConversationTensors,
    visual: VisualFeatures,
    { headTrains = true }: { readonly headTrains?: boolean } = {},
  ): LanguageLoss {
    const { targets } = batch;
    if (targets === null) return { loss: tf.scalar(0), weight: tf.scalar(0) };
    const hidden = this.hiddenStates(batch, visual);
    const loss = tf.tidy(() => {
      const rows = this.llm.normalized(gatherRows(hidden, targets.rows) as tf.Tensor2D);
      return this.llm.crossEntropySum(rows, targets.ids, targets.weights, headTrains);
    });
    return { loss, weight: tf.sum(targets.weights) };
  }

  /** Scores of every position [B, T, vocab_size]. */
  logits(batch: ConversationTensors, visual: VisualFeatures): tf.Tensor3D {
    return tf.tidy(() => {
      const logits = this.llm.logits(this.llm.normalized(this.hiddenStates(batch, visual)));
      return tf.reshape(logits, [batch.size, batch.length, this.config.llm.vocab_size]);
    });
  }

  /**
   * Reads the prompts of a batch. The caller owns the scores and the cache. `room`: how many tokens will be decoded at
   * most; known, the steps that decode them are recorded where the engine can.
   */
  prefill(batch: ConversationTensors, visual: VisualFeatures, room = 0): DecodeStep {
    const embeddings = this.embeddings(batch, visual);
    try {
      return prefillPrompts(this.llm, embeddings, batch.lengths, { room });
    } finally {
      embeddings.dispose();
    }
  }

  /** Appends one token to each sample, int32 [B]; frees `cache` and yields its successor. */
  decode(tokens: tf.Tensor1D, cache: DecodeCache): DecodeStep {
    return decodeNext(this.llm, tokens, cache, this.#functions);
  }

  /** Frees a cache that no `decode` will read. */
  release(cache: DecodeCache): void {
    releaseCache(cache);
  }

  /** Frees the parameters' values and all that was recorded. */
  dispose(): void {
    this.parameters.dispose();
    this.#functions.dispose();
  }

  /** Mean InfoNCE of images with captions and regions with phrases. Throws without `pretraining` in the config. */
  contrastiveLoss(batch: ContrastiveTensors): tf.Scalar {
    const head = this.#contrastive;
    if (head === undefined) {
      throw new GroundError(
        'model',
        `model ${this.config.name} has no text encoder to contrast images with`,
        {
          hint: 'give the model a `pretraining` section',
        },
      );
    }
    return tf.tidy(() => {
      const { globalPixels, localPixels } = batch;
      return head.loss(batch, {
        global: globalPixels && this.#globalFeatures(globalPixels, true),
        localPatches: localPixels && this.#localFeatures(localPixels),
      });
    });
  }

  /** The input of the language model [B · T, hidden_size]: text, visual and region vectors, each at its position. */
  embeddings(batch: ConversationTensors, visual: VisualFeatures): tf.Tensor2D {
    return tf.tidy(() => {
      const { global, local } = this.projected(visual);
      const maps = this.config.referring.features === 'encoder' ? visual : { global, local };
      const table = [this.llm.embed(batch.tokens)];
      if (global) table.push(this.#placed(global, () => this.#globalCentres(global.shape[0])));
      if (local) table.push(this.#placed(local, () => batch.localCentres as tf.Tensor2D));
      if (batch.regions) table.push(this.regionVectors(batch.regions, maps));
      const rows = withZeroRow(tf.concat(table, 0));
      return gatherOnce(rows, batch.source, batch.sourceInverse);
    });
  }

  /** Encoder features as the language model reads them, their positions not added yet, [n, hidden_size] each. */
  projected({ global, local }: VisualFeatures): VisualFeatures {
    return {
      global: global && this.#globalProjector.apply(global),
      local: local && this.#localProjector.apply(local),
    };
  }

  /**
   * What is added to projected tokens of length 1 for their places: of one global view where `centres` is null, else of patches with
   * these centres (x, y in 0..1 [n, 2]). Null where the configuration asks for none.
   */
  positions(centres: tf.Tensor2D | null): tf.Tensor2D | null {
    if (this.config.projector.positions === 'none') return null;
    const width = this.config.llm.hidden_size;
    return tf.tidy(() =>
      sineCosinePositions(centres ?? this.#globalCentres(), width, finestGrid(this.config)),
    );
  }

  /** Parameters that no loss of this model reads: they exist so that published checkpoints come and go whole. */
  get unused(): ReadonlySet<string> {
    const conversation = this.unusedBy('conversation');
    if (this.#contrastive === undefined) return conversation;
    const contrastive = this.unusedBy('contrastive');
    return new Set([...conversation].filter(name => contrastive.has(name)));
  }

  /** Parameters that the loss of one kind of batch does not read. */
  unusedBy(kind: 'conversation' | 'contrastive'): ReadonlySet<string> {
    const { global_encoder, local_encoder, tile_encoder } = this.config;
    const below = (prefixes: readonly string[]): string[] =>
      prefixes.flatMap(prefix => this.parameters.under(prefix).map(p => p.name));
    const skipped = (prefix: string, from: number, blocks: number): string[] =>
      Array.from({ length: blocks - from }, (_, i) => `${prefix}.${from + i}`);
    const local =
      tile_encoder === 'global_encoder'
        ? ['encoder.local']
        : [
            'encoder.local.embeddings.mask_token',
            'encoder.local.layernorm',
            ...skipped('encoder.local.encoder.layer', this.#localBlocks, local_encoder.num_hidden_layers),
          ];
    if (kind === 'contrastive') return new Set(below([...local, 'projector', 'sampler', 'llm']));
    const global = [
      'encoder.global.vision_model.post_layernorm',
      ...skipped(
        'encoder.global.vision_model.encoder.layers',
        this.#globalBlocks,
        global_encoder.num_hidden_layers,
      ),
    ];
    return new Set(below([...local, ...global, 'text_encoder', 'contrastive']));
  }

  /** Patch features of the global view, and CLIP's pooled vector, for which the remaining blocks run, where asked. */
  #globalFeatures(pixels: tf.Tensor4D, pooled = false): { patches: tf.Tensor2D; images: tf.Tensor2D } {
    const batch = pixels.shape[0];
    const states = this.#globalEncoder.hiddenStates(pixels, pooled ? undefined : this.#globalBlocks);
    const patches = this.#globalEncoder.patches(states[this.#globalBlocks] as tf.Tensor2D, batch);
    const last = states[states.length - 1] as tf.Tensor2D;
    return { patches, images: pooled ? this.#globalEncoder.pooled(last, batch) : patches };
  }

  /** Patch features of tiles, of whichever encoder reads them. */
  #localFeatures(pixels: tf.Tensor4D): tf.Tensor2D {
    if (this.config.tile_encoder === 'global_encoder') return this.#globalFeatures(pixels).patches;
    const states = this.#localEncoder.hiddenStates(pixels, this.#localBlocks);
    return this.#localEncoder.patches(states[this.#localBlocks] as tf.Tensor2D, pixels.shape[0]);
  }

  /** Projected tokens as the sequence takes them: of length 1 with positions added, where the configuration asks for these. */
  #placed(tokens: tf.Tensor2D, centres: () => tf.Tensor2D): tf.Tensor2D {
    if (this.config.projector.positions === 'none') return tokens;
    return tf.add(unitLength(tokens), this.positions(centres()) as tf.Tensor2D);
  }

  /** Of the patches of so many rows of global features; of one view by default. */
  #globalCentres(rows?: number): tf.Tensor2D {
    const side = Math.floor(this.config.image.side / this.config.global_encoder.patch_size);
    const images = rows === undefined ? 1 : rows / (side * side);
    return tf.tensor2d(gridCentres({ rows: side, columns: side }, images), [images * side * side, 2]);
  }

  /**
   * One vector a region [R, hidden_size]. The merged map H = local + up-sampled global (paper, eq. 3-4) is never made:
   * sampling is linear, so both maps are sampled at the points and the samples added.
   */
  regionVectors(regions: RegionTensors, maps: VisualFeatures): tf.Tensor2D {
    const samples: tf.Tensor2D[] = [];
    if (maps.global)
      samples.push(weightedRows(withZeroRow(maps.global), regions.globalRows, regions.globalWeights));
    if (maps.local)
      samples.push(weightedRows(withZeroRow(maps.local), regions.localRows, regions.localWeights));
    if (samples.length === 0) throw new GroundError('model', 'a batch has regions but no image');
    return this.#sampler.apply(tf.addN(samples), regions.count, regions.blocks);
  }
}

/** Patches along the longer side of the finest merged map that the image grids allow. */
function finestGrid(config: ModelConfig): number {
  const tiles = Math.max(1, ...config.image.grids.flat());
  const patch = Math.min(config.global_encoder.patch_size, tileEncoderOf(config).patch_size);
  return (tiles * config.image.side) / patch;
}

function checkFit(config: ModelConfig): void {
  const { global_encoder: g, image, llm } = config;
  const l = tileEncoderOf(config);
  const refuse = (message: string, hint: string): never => {
    throw new GroundError('model', `model ${config.name}: ${message}`, { hint });
  };
  if (config.referring.features === 'encoder' && g.hidden_size !== l.hidden_size) {
    refuse(
      `encoder features of widths ${g.hidden_size} (global) and ${l.hidden_size} (local) can not be added`,
      'use encoders of equal hidden_size, or referring.features: projected',
    );
  }
  for (const [name, encoder] of [['global_encoder', g] as const, ['local_encoder', l] as const]) {
    if (image.side % encoder.patch_size !== 0) {
      refuse(
        `image.side ${image.side} is no multiple of ${name}.patch_size ${encoder.patch_size}`,
        'change either',
      );
    }
    if (encoder.hidden_size % encoder.num_attention_heads !== 0) {
      refuse(
        `${name}: hidden_size ${encoder.hidden_size} does not divide into ${encoder.num_attention_heads} heads`,
        'change either',
      );
    }
  }
  if (config.projector.positions === 'sincos2d' && llm.hidden_size % 4 !== 0) {
    refuse(
      `llm.hidden_size ${llm.hidden_size} is no multiple of 4`,
      'needed by projector.positions: sincos2d',
    );
  }
}
