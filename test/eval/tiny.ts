/** A small random model, a tokenizer of single characters and a dataset in memory: enough to run all of evaluation. */
import sharp from 'sharp';
import type { PixelBox } from '../../src/data/box.ts';
import type { Dataset } from '../../src/data/dataset.ts';
import type { ImageRecord, ObjectAnnotation } from '../../src/data/record.ts';
import type { ModelConfig } from '../../src/models/config.ts';

export const TINY: ModelConfig = {
  name: 'tiny-test',
  tokenizer: 'tokenizer.json',
  image: {
    side: 16,
    grids: [
      [1, 1],
      [2, 1],
      [1, 2],
      [2, 2],
    ],
    resize: 'stretch',
  },
  global_encoder: {
    hidden_size: 8,
    intermediate_size: 16,
    num_hidden_layers: 1,
    num_attention_heads: 2,
    image_size: 16,
    patch_size: 8,
    hidden_act: 'quick_gelu',
    layer_norm_eps: 1e-5,
    feature_layer: -1,
  },
  local_encoder: {
    hidden_size: 8,
    num_hidden_layers: 1,
    num_attention_heads: 2,
    mlp_ratio: 2,
    image_size: 16,
    patch_size: 8,
    hidden_act: 'gelu',
    layer_norm_eps: 1e-6,
    layerscale_value: 1,
    use_swiglu_ffn: false,
    qkv_bias: true,
    num_register_tokens: 0,
    feature_layer: -1,
  },
  projector: { kind: 'mlp2x_gelu', positions: 'sincos2d' },
  sampler: {
    points: 16,
    blocks: [
      { points: 4, neighbors: 4 },
      { points: 2, neighbors: 2 },
    ],
    pooling: 'max',
  },
  referring: { features: 'encoder', upsample: 'nearest', point_radius: 2 },
  layout: { order: 'global-local' },
  coordinates: { bins: 100 },
  llm: {
    vocab_size: 100,
    hidden_size: 16,
    intermediate_size: 32,
    num_hidden_layers: 2,
    num_attention_heads: 4,
    num_key_value_heads: 2,
    head_dim: 4,
    rms_norm_eps: 1e-6,
    rope_theta: 10000,
    hidden_act: 'silu',
    attention_bias: false,
    tie_word_embeddings: true,
    max_position_embeddings: 512,
  },
  template: 'vicuna_v1',
  system: '',
  max_length: 400,
};

/** tokenizer.json of a tokenizer whose tokens are the printable ASCII characters, the line break and four specials. */
export function characterTokenizer(): object {
  const specials = ['<unk>', '<s>', '</s>', '<region_fea>'];
  const characters = ['\n', ...Array.from({ length: 95 }, (_, i) => String.fromCharCode(32 + i))];
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: specials.map((content, id) => ({
      id,
      content,
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: false,
      special: true,
    })),
    normalizer: null,
    pre_tokenizer: { type: 'Split', pattern: { Regex: '[\\s\\S]' }, behavior: 'Isolated', invert: false },
    post_processor: null,
    decoder: { type: 'Fuse' },
    model: {
      type: 'WordLevel',
      vocab: Object.fromEntries([...specials, ...characters].map((token, id) => [token, id])),
      unk_token: '<unk>',
    },
  };
}

export function pixelBox(x1: number, y1: number, x2: number, y2: number): PixelBox {
  return { space: 'pixels', x1, y1, x2, y2 };
}

const COLOURS = ['red', 'green', 'blue', 'white'] as const;
const PLACES = [
  [2, 2],
  [18, 2],
  [2, 18],
  [18, 18],
] as const;

/** A 32-pixel image with three coloured squares of 10 pixels; which colour lies where follows from its number. */
export async function squaresRecord(number: number): Promise<ImageRecord> {
  const objects: ObjectAnnotation[] = [0, 1, 2].map(i => {
    const colour = COLOURS[(number + i) % 4] ?? 'red';
    const [x, y] = PLACES[(number * 3 + i) % 4] ?? [2, 2];
    return {
      label: i === 2 ? 'tile' : 'square',
      phrase: `the ${colour} one`,
      attributes: [colour],
      box: pixelBox(x, y, x + 10, y + 10),
    };
  });
  const squares = objects.map(
    ({ box, attributes }) =>
      `<rect x="${box.x1}" y="${box.y1}" width="10" height="10" fill="${attributes[0]}"/>`,
  );
  const svg = `<svg xmlns="http://www.w3.org/2000/svg" width="32" height="32">${squares.join('')}</svg>`;
  return {
    id: `squares-${number}`,
    image: await sharp(Buffer.from(svg)).flatten({ background: '#777777' }).png().toBuffer(),
    width: 32,
    height: 32,
    captions: [`Squares number ${number}.`],
    objects,
    relations: [],
  };
}

/** A dataset of records in memory; counts what is read. */
export function memoryDataset(records: readonly ImageRecord[]): Dataset & { readonly reads: number[] } {
  const reads: number[] = [];
  return {
    reads,
    dir: 'memory',
    manifest: {
      format: 'ground-dataset',
      schema_version: 2,
      builder: { name: 'test', version: '0' },
      source: {},
      rows: records.length,
      shards: [],
    },
    rows: records.length,
    async read(row) {
      reads.push(row);
      const record = records[row];
      if (!record) throw new RangeError(`no row ${row}`);
      return record;
    },
    placeOf: row => ({ shard: 'memory', row }),
    async close() {},
  };
}
