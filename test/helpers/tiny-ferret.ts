/** A Ferret of a few thousand parameters, and batches for it made by hand. */
import type { ContrastiveBatch, ConversationBatch, Ints } from '../../src/models/batch.ts';
import type { ModelConfig } from '../../src/models/config.ts';
import { Random } from '../../src/random.ts';

const PATCHES = 4;
const POINTS = 6;

export const tinyConfig: ModelConfig = {
  name: 'tiny-test',
  tokenizer: '/nowhere/tokenizer.json',
  image: {
    side: 8,
    grids: [
      [1, 1],
      [2, 1],
    ],
    resize: 'stretch',
  },
  global_encoder: {
    hidden_size: 8,
    intermediate_size: 12,
    num_hidden_layers: 2,
    num_attention_heads: 2,
    image_size: 8,
    patch_size: 4,
    hidden_act: 'quick_gelu',
    layer_norm_eps: 1e-5,
    feature_layer: -2,
  },
  local_encoder: {
    hidden_size: 8,
    num_hidden_layers: 2,
    num_attention_heads: 2,
    mlp_ratio: 2,
    image_size: 12,
    patch_size: 4,
    hidden_act: 'gelu',
    layer_norm_eps: 1e-6,
    layerscale_value: 0.5,
    use_swiglu_ffn: false,
    qkv_bias: true,
    num_register_tokens: 1,
    feature_layer: -1,
  },
  projector: { kind: 'mlp2x_gelu', positions: 'sincos2d' },
  sampler: {
    points: POINTS,
    blocks: [
      { points: 3, neighbors: 2 },
      { points: 2, neighbors: 2 },
    ],
    pooling: 'max',
  },
  referring: { features: 'encoder', upsample: 'bilinear', point_radius: 5 },
  layout: { order: 'global-local' },
  coordinates: { bins: 10 },
  llm: {
    vocab_size: 11,
    hidden_size: 12,
    intermediate_size: 16,
    num_hidden_layers: 2,
    num_attention_heads: 4,
    num_key_value_heads: 2,
    head_dim: 4,
    rms_norm_eps: 1e-5,
    rope_theta: 100,
    hidden_act: 'silu',
    attention_bias: false,
    tie_word_embeddings: false,
    max_position_embeddings: 64,
  },
  template: 'plain',
  system: '',
  max_length: 64,
  pretraining: {
    text_encoder: {
      vocab_size: 11,
      hidden_size: 8,
      intermediate_size: 12,
      num_hidden_layers: 1,
      num_attention_heads: 2,
      max_position_embeddings: 8,
      hidden_act: 'quick_gelu',
      layer_norm_eps: 1e-5,
      eos_token_id: 10,
    },
    projection_dim: 6,
  },
};

export interface BatchOptions {
  /** Text tokens of each sample before its image tokens, one after, all supervised. */
  readonly texts?: readonly number[];
  readonly images?: boolean;
  /** Tiles of each sample. */
  readonly tiles?: readonly number[];
  /** Regions of each sample. */
  readonly regions?: readonly number[];
  readonly supervised?: boolean;
}

/** Samples laid out as collate lays them out: text, global tokens, local tokens, regions, one last text token. */
export function tinyBatch(options: BatchOptions = {}): ConversationBatch {
  const { texts = [3, 5], images = true, tiles = [2, 1], regions = [1, 2], supervised = true } = options;
  const random = new Random('tiny batch');
  const size = texts.length;
  const perImage = images ? PATCHES : 0;
  const lengths = texts.map((n, b) => n + 1 + perImage + (tiles[b] ?? 0) * PATCHES + (regions[b] ?? 0));
  const length = Math.max(...lengths) + 1;
  const [tileCount, regionCount] = [sum(tiles), sum(regions)];
  const tableRows = size * length + size * perImage + tileCount * PATCHES + regionCount + 1;
  const tokens = new Int32Array(size * length);
  const mask = new Int32Array(size * length);
  const source = new Int32Array(size * length).fill(tableRows - 1);
  const inverse = new Int32Array(tableRows).fill(size * length);
  const targets: { row: number; id: number; weight: number }[] = [];
  let local = size * length + size * perImage;
  let region = local + tileCount * PATCHES;
  for (let b = 0; b < size; b++) {
    let t = b * length;
    const put = (row: number): void => {
      mask[t] = 1;
      source[t] = row;
      inverse[row] = t;
      t++;
    };
    const putText = (): void => {
      tokens[t] = random.int(0, tinyConfig.llm.vocab_size);
      targets.push({ row: t, id: random.int(0, tinyConfig.llm.vocab_size), weight: 1 });
      put(t);
    };
    for (let i = 0; i < (texts[b] ?? 0); i++) putText();
    for (let i = 0; i < perImage; i++) put(size * length + b * perImage + i);
    for (let i = 0; i < (tiles[b] ?? 0) * PATCHES; i++) put(local++);
    for (let i = 0; i < (regions[b] ?? 0); i++) put(region++);
    putText();
  }
  // One target that pads, as the loader rounds their number up.
  targets.push({ row: 0, id: 0, weight: 0 });
  const kept = supervised ? targets : [];
  return {
    kind: 'conversation',
    size,
    length,
    sampleIds: texts.map((_, b) => `tiny:${b}`),
    tokens: ints(tokens, [size, length]),
    mask: ints(mask, [size, length]),
    source: ints(source, [size, length]),
    sourceInverse: ints(inverse, [tableRows]),
    globalPixels: noise(random, images ? size : 0),
    localPixels: noise(random, tileCount),
    localCentres: floats([tileCount * PATCHES, 2], () => random.next()),
    regions: tinyRegions(random, regionCount, images ? size * PATCHES : 0, tileCount * PATCHES),
    targetRows: ints(
      Int32Array.from(kept, x => x.row),
      [kept.length],
    ),
    targets: ints(
      Int32Array.from(kept, x => x.id),
      [kept.length],
    ),
    targetWeights: {
      data: Float32Array.from(kept, x => x.weight),
      shape: [kept.length],
    },
  };
}

function tinyRegions(random: Random, count: number, globalRows: number, localRows: number) {
  const rows = (limit: number): Ints =>
    ints(
      Int32Array.from({ length: count * POINTS * 4 }, () => random.int(0, limit + 1)),
      [count, POINTS, 4],
    );
  let pool = POINTS;
  const anchors: Ints[] = [];
  const neighbors: Ints[] = [];
  for (const block of tinyConfig.sampler.blocks) {
    const from = pool;
    const kept = Array.from({ length: count }, () =>
      random.shuffle(Array.from({ length: from }, (_, i) => i)).slice(0, block.points),
    );
    anchors.push(ints(Int32Array.from(kept.flat()), [count, block.points]));
    const near = kept.flat().flatMap(a => [a, random.int(0, from)]);
    neighbors.push(ints(Int32Array.from(near), [count, block.points, block.neighbors]));
    pool = block.points;
  }
  return {
    count,
    globalRows: rows(globalRows),
    globalWeights: floats([count, POINTS, 4], () => random.next() / 4),
    localRows: rows(localRows),
    localWeights: floats([count, POINTS, 4], () => random.next() / 4),
    points: floats([count, POINTS, 2], () => random.next()),
    anchors,
    neighbors,
  };
}

/** Three images with captions, two of which are equal, three tiles and one that pads, four regions and one that pads. */
export function tinyContrastive(): ContrastiveBatch {
  const random = new Random('tiny contrastive');
  // Tables end with a row of zeros, which regions that pad read.
  const rows = (real: number, zeroRow: number): Ints =>
    ints(
      Int32Array.from({ length: 5 * 3 }, (_, i) => (i < 12 ? random.int(0, real) : zeroRow)),
      [5, 3],
    );
  const weights = () => floats([5, 3], i => (i < 12 ? 1 / 3 : 0));
  return {
    kind: 'contrastive',
    size: 3,
    sampleIds: ['a', 'b', 'c'],
    globalPixels: noise(random, 3),
    localPixels: noise(random, 4),
    tileImages: ints(Int32Array.of(0, 0, 2, -1), [4]),
    captions: ints(Int32Array.of(1, 2, 10, 10, 3, 4, 5, 10, 3, 4, 5, 10), [3, 4]),
    phrases: ints(Int32Array.of(6, 10, 10, 7, 8, 10, 6, 10, 10, 9, 10, 10, 10, 10, 10), [5, 3]),
    globalRows: rows(3 * PATCHES, 3 * PATCHES),
    globalWeights: weights(),
    localRows: rows(3 * PATCHES, 4 * PATCHES),
    localWeights: weights(),
    phraseClasses: ints(Int32Array.of(0, 1, 0, 2, -1), [5]),
  };
}

function noise(random: Random, images: number) {
  const { side } = tinyConfig.image;
  return floats([images, 3, side, side], () => random.normal());
}

function floats(shape: readonly number[], value: (i: number) => number) {
  const size = shape.reduce((n, d) => n * d, 1);
  return { data: Float32Array.from({ length: size }, (_v, i) => value(i)), shape };
}

function ints(data: Int32Array, shape: readonly number[]): Ints {
  return { data, shape };
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((a, b) => a + b, 0);
}
