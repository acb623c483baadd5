/** Small records and a small model for tests of the way from records to batches. */
import { join } from 'node:path';
import sharp from 'sharp';
import type { PixelBox } from '../../src/data/box.ts';
import type { ImageRecord, ObjectAnnotation } from '../../src/data/record.ts';
import { encodeMask } from '../../src/data/rle.ts';
import type { RecordSource } from '../../src/data/rows.ts';
import { loadTokenizer } from '../../src/data/tokenizer.ts';
import type { ModelConfig } from '../../src/models/config.ts';
import { Random } from '../../src/random.ts';

export const TOKENIZER_FILE = join(import.meta.dirname, '../../configs/ferret-v2-tiny/tokenizer.json');
export const tokenizer = loadTokenizer(TOKENIZER_FILE);

export function box(x1: number, y1: number, x2: number, y2: number): PixelBox {
  return { space: 'pixels', x1, y1, x2, y2 };
}

const encoder = { hidden_size: 8, num_hidden_layers: 1, num_attention_heads: 1, hidden_act: 'gelu' } as const;

export const model: ModelConfig = {
  name: 'test',
  tokenizer: TOKENIZER_FILE,
  image: {
    side: 32,
    resize: 'stretch',
    grids: [
      [1, 1],
      [1, 2],
      [2, 1],
      [2, 2],
    ],
  },
  global_encoder: {
    ...encoder,
    intermediate_size: 8,
    image_size: 32,
    patch_size: 8,
    layer_norm_eps: 1e-5,
    feature_layer: -1,
  },
  local_encoder: {
    ...encoder,
    mlp_ratio: 1,
    image_size: 32,
    patch_size: 8,
    layer_norm_eps: 1e-6,
    layerscale_value: 1,
    use_swiglu_ffn: false,
    qkv_bias: true,
    num_register_tokens: 0,
    feature_layer: -1,
  },
  projector: { kind: 'mlp2x_gelu', positions: 'none' },
  sampler: {
    points: 32,
    blocks: [
      { points: 12, neighbors: 6 },
      { points: 4, neighbors: 5 },
    ],
    pooling: 'max',
  },
  referring: { features: 'encoder', upsample: 'nearest', point_radius: 2 },
  layout: { order: 'global-local' },
  coordinates: { bins: 64 },
  llm: {
    vocab_size: tokenizer.vocabSize,
    hidden_size: 8,
    intermediate_size: 8,
    num_hidden_layers: 1,
    num_attention_heads: 1,
    num_key_value_heads: 1,
    head_dim: 8,
    rms_norm_eps: 1e-6,
    rope_theta: 10000,
    hidden_act: 'silu',
    attention_bias: false,
    tie_word_embeddings: true,
    max_position_embeddings: 1024,
  },
  template: 'vicuna_v1',
  system: '',
  max_length: 1024,
  pretraining: {
    projection_dim: 8,
    text_encoder: {
      vocab_size: tokenizer.vocabSize,
      hidden_size: 8,
      intermediate_size: 8,
      num_hidden_layers: 1,
      num_attention_heads: 1,
      max_position_embeddings: 32,
      hidden_act: 'gelu',
      layer_norm_eps: 1e-5,
      eos_token_id: tokenizer.endId,
    },
  },
};

const LABELS = ['circle', 'square', 'star', 'digit'];
const COLOURS = ['red', 'green', 'blue', 'yellow', 'purple'];

/** A record with `count` objects of random place in an image of noise; every other image is wide. */
export async function randomRecord(index: number, count = 4): Promise<ImageRecord> {
  const random = new Random('record', index);
  const [width, height] = index % 2 === 0 ? [64, 64] : [80, 40];
  const pixels = Buffer.from(Array.from({ length: width * height * 3 }, () => random.int(0, 256)));
  const image = await sharp(pixels, { raw: { width, height, channels: 3 } })
    .png()
    .toBuffer();
  const objects = Array.from({ length: count }, (_, i): ObjectAnnotation => {
    const label = LABELS[(index + i) % LABELS.length]!;
    const colour = COLOURS[i % COLOURS.length]!;
    const x1 = random.int(0, width - 12);
    const y1 = random.int(0, height - 12);
    const at = box(x1, y1, x1 + random.int(4, 12), y1 + random.int(4, 12));
    const phrase = label === 'digit' ? `${colour} digit ${i}` : `${colour} ${label}`;
    const attributes = label === 'digit' ? [colour, String(i)] : [colour];
    return { label, phrase, attributes, box: at, mask: boxMask(at, width, height) };
  });
  const relations = count < 2 ? [] : [{ subject: 0, predicate: 'left of', object: 1 }];
  return {
    id: `record-${index}`,
    image,
    width,
    height,
    captions: [
      `the image shows ${objects.map(o => `a ${o.phrase}`).join(' and ')}.`,
      `${count} objects: ${objects.map(o => o.label).join(', ')}.`,
    ],
    objects,
    relations,
  };
}

/** A mask of all pixels of a box, far edges excluded. */
export function boxMask({ x1, y1, x2, y2 }: PixelBox, width: number, height: number) {
  const data = new Uint8Array(width * height);
  for (let y = y1; y < y2; y++) data.fill(1, y * width + x1, y * width + x2);
  return encodeMask({ width, height, data });
}

/** A source that holds its records in memory. */
export function sourceOf(records: readonly ImageRecord[]): RecordSource {
  return {
    rows: records.length,
    read: async row => records[row]!,
    placeOf: row => ({ shard: 'memory', row }),
  };
}
