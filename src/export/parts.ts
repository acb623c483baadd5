/**
 * The network in pieces, as transformers.js divides such models: what sees, what projects, what looks at regions, what
 * looks up tokens, and the decoder with its keys and values. Each is a function of named tensors, recorded at several
 * sizes.
 */
import { recordKernels } from '../engine/record.ts';
import * as tf from '../engine/tf.ts';
import { tileEncoderOf } from '../models/config.ts';
import type { Ferret } from '../models/ferret.ts';
import { unitLength } from '../models/positions.ts';
import { toTensors } from '../models/tensors.ts';
import { causalKeyBias } from '../nn/attention.ts';
import { rotaryAt } from '../nn/rotary.ts';
import type { KeysAndValues } from '../nn/self-attention.ts';
import { Random } from '../random.ts';
import type { ExportViews } from './network.ts';
import { syntheticBatch } from './synthetic.ts';
import type { SizedRecording } from './unify.ts';

/** Names of the files, without what tells the type of their weights. */
export const PART_NAMES = [
  'vision_encoder',
  'projectors',
  'region_sampler',
  'embed_tokens',
  'decoder_model_merged',
] as const;
export type PartName = (typeof PART_NAMES)[number];

/** Token ids, masks and positions are int64 in files for transformers.js. */
export const WIDE_INPUTS: ReadonlySet<string> = new Set(['input_ids', 'attention_mask', 'position_ids']);

type Tensors = Record<string, tf.Tensor>;
type Sizes = Readonly<Record<string, number>>;

/** One piece: which sizes it is recorded at, tensors of such a size, and what it computes of them. */
interface Part {
  readonly sizes: readonly Sizes[];
  inputs(sizes: Sizes): Tensors;
  run(inputs: Tensors): Tensors;
}

/**
 * Records one piece of the network at several sizes (see `unifyRecordings`).
 *
 * @param length positions that the decoder has rotations for
 */
export function recordPart(
  model: Ferret,
  name: PartName,
  views: ExportViews,
  length: number,
): SizedRecording[] {
  const part = partOf(model, name, views, length);
  const names = new Map(model.parameters.all.map(p => [p.value, p.name]));
  return part.sizes.map(sizes => {
    const inputs = tf.tidy(() => part.inputs(sizes));
    try {
      return { sizes, recording: recordKernels(inputs, () => part.run(inputs), { names }) };
    } finally {
      tf.dispose(inputs);
    }
  });
}

function partOf(model: Ferret, name: PartName, views: ExportViews, length: number): Part {
  switch (name) {
    case 'vision_encoder':
      return visionEncoder(model, views);
    case 'projectors':
      return projectors(model, views);
    case 'region_sampler':
      return regionSampler(model, views);
    case 'embed_tokens':
      return embedTokens(model);
    case 'decoder_model_merged':
      return decoder(model, length);
  }
}

/** pixel_values [images, 3, S, S] and tile_values [tiles, 3, S, S] -> features [n, patches, width] of each. */
function visionEncoder(model: Ferret, views: ExportViews): Part {
  const { side } = model.config.image;
  const pixels = (count = 0): tf.Tensor => tf.ones([count, 3, side, side]);
  return {
    sizes: imageSizes(views),
    inputs: ({ images, tiles }) => ({
      pixel_values: pixels(images),
      ...(views === 'global' ? {} : { tile_values: pixels(tiles) }),
    }),
    run: ({ pixel_values: globalPixels, tile_values: localPixels }) => {
      const seen = model.visual({
        globalPixels: globalPixels as tf.Tensor4D,
        localPixels: (localPixels as tf.Tensor4D | undefined) ?? null,
      });
      return {
        ...(seen.global && { global_features: byImage(seen.global, globalPixels) }),
        ...(seen.local && { tile_features: byImage(seen.local, localPixels) }),
      };
    },
  };
}

/**
 * Features of both encoders and tile_centres [tiles, patches, 2] -> global_tokens and tile_tokens, ready for the sequence;
 * where regions read projected maps, those too, without positions.
 */
function projectors(model: Ferret, views: ExportViews): Part {
  const { config } = model;
  const { globalPatches, tilePatches } = patchCounts(model);
  const [global, local] = [config.global_encoder, tileEncoderOf(config)];
  return {
    sizes: imageSizes(views),
    inputs: ({ images = 0, tiles = 0 }) => ({
      global_features: tf.ones([images, globalPatches, global.hidden_size]),
      ...(views === 'global'
        ? {}
        : {
            tile_features: tf.ones([tiles, tilePatches, local.hidden_size]),
            tile_centres: tf.fill([tiles, tilePatches, 2], 0.5),
          }),
    }),
    run: ({ global_features: seen, tile_features: tiles, tile_centres: centres }) => {
      const maps = model.projected({
        global: rowsOf(seen),
        local: tiles === undefined ? null : rowsOf(tiles),
      });
      const out: Tensors = {};
      if (maps.global) {
        const places = model.positions(null);
        out.global_tokens =
          places === null
            ? byImage(maps.global, seen)
            : tf.add(byImage(unitLength(maps.global), seen), tf.expandDims(places, 0));
      }
      if (maps.local) {
        const places = centres === undefined ? null : model.positions(rowsOf(centres));
        out.tile_tokens = byImage(
          places === null ? maps.local : tf.add(unitLength(maps.local), places),
          tiles,
        );
      }
      if (config.referring.features === 'encoder') return out;
      if (maps.global) out.global_map = byImage(maps.global, seen);
      if (maps.local) out.tile_map = byImage(maps.local, tiles);
      return out;
    },
  };
}

/** Maps [n, patches, width] and the geometry of regions -> region_features [regions, hidden_size]. */
function regionSampler(model: Ferret, views: ExportViews): Part {
  const { config } = model;
  const { globalPatches, tilePatches } = patchCounts(model);
  const isEncoder = config.referring.features === 'encoder';
  const width = (encoder: { readonly hidden_size: number }): number =>
    isEncoder ? encoder.hidden_size : config.llm.hidden_size;
  const isTiled = views !== 'global';
  const sizes = isTiled
    ? [
        { images: 4, tiles: 5, regions: 6 },
        { images: 3, tiles: 5, regions: 6 },
        { images: 4, tiles: 4, regions: 6 },
        { images: 4, tiles: 5, regions: 5 },
        { images: 2, tiles: 3, regions: 4 },
      ]
    : [
        { images: 4, regions: 6 },
        { images: 3, regions: 6 },
        { images: 4, regions: 5 },
        { images: 2, regions: 3 },
      ];
  return {
    sizes,
    inputs: ({ images = 0, tiles = 0, regions = 0 }) => {
      const batch = syntheticBatch(config, { tokens: 1, tiles, regions }, new Random('export', 'regions'));
      const { regions: geometry } = toTensors(batch);
      return {
        global_map: tf.ones([images, globalPatches, width(config.global_encoder)]),
        ...(isTiled && { tile_map: tf.ones([tiles, tilePatches, width(tileEncoderOf(config))]) }),
        ...(geometry && regionInputs(geometry)),
      };
    },
    run: inputs => {
      const { global_rows, global_weights, tile_rows, tile_weights, global_map, tile_map } = inputs;
      const blocks = config.sampler.blocks.map((_, b) => ({
        points: inputs[`points.${b}`] as tf.Tensor2D,
        anchors: inputs[`anchors.${b}`] as tf.Tensor1D,
        neighbors: inputs[`neighbors.${b}`] as tf.Tensor2D,
      }));
      const maps = {
        global: rowsOf(global_map),
        local: tile_map === undefined ? null : rowsOf(tile_map),
      };
      const regions = {
        count: (global_rows?.shape[0] ?? 0) / config.sampler.points,
        globalRows: global_rows as tf.Tensor2D,
        globalWeights: global_weights as tf.Tensor2D,
        localRows: tile_rows as tf.Tensor2D,
        localWeights: tile_weights as tf.Tensor2D,
        blocks,
      };
      return { region_features: model.regionVectors(regions, maps) };
    },
  };
}

/** A batch's regions by the names that they have as inputs of region_sampler. */
export function regionInputs(geometry: {
  readonly globalRows: tf.Tensor;
  readonly globalWeights: tf.Tensor;
  readonly localRows: tf.Tensor;
  readonly localWeights: tf.Tensor;
  readonly blocks: readonly {
    readonly points: tf.Tensor;
    readonly anchors: tf.Tensor;
    readonly neighbors: tf.Tensor;
  }[];
}): Tensors {
  const { globalRows, globalWeights, localRows, localWeights, blocks } = geometry;
  const named: Tensors = {
    global_rows: globalRows,
    global_weights: globalWeights,
    tile_rows: localRows,
    tile_weights: localWeights,
  };
  for (const [b, { points, anchors, neighbors }] of blocks.entries()) {
    named[`points.${b}`] = points;
    named[`anchors.${b}`] = anchors;
    named[`neighbors.${b}`] = neighbors;
  }
  return named;
}

/** input_ids [batch, length] -> inputs_embeds [batch, length, hidden_size]. */
function embedTokens(model: Ferret): Part {
  return {
    sizes: [
      { batch: 4, length: 7 },
      { batch: 3, length: 7 },
      { batch: 4, length: 5 },
      { batch: 3, length: 5 },
      { batch: 2, length: 4 },
    ],
    inputs: ({ batch = 0, length = 0 }) => ({ input_ids: tf.ones([batch, length], 'int32') }),
    run: ({ input_ids: ids }) => {
      const [batch = 0, length = 0] = ids?.shape ?? [];
      const rows = model.llm.embed(tf.reshape(ids as tf.Tensor, [batch * length]));
      return { inputs_embeds: tf.reshape(rows, [batch, length, model.config.llm.hidden_size]) };
    },
  };
}

/**
 * inputs_embeds [batch, length, hidden_size], attention_mask [batch, past + length], position_ids [batch, length] and keys
 * and values of `past` earlier positions, none where a prompt is read -> logits [batch, length, vocab_size] and keys and
 * values of all positions.
 */
function decoder(model: Ferret, positions: number): Part {
  const { hidden_size: width, num_hidden_layers: blocks, num_key_value_heads: heads } = model.config.llm;
  const { head_dim: headWidth, vocab_size: words } = model.config.llm;
  const first = { batch: 4, length: 7, past: 5 };
  return {
    sizes: [
      first,
      { ...first, batch: 3 },
      { ...first, length: 6 },
      { ...first, past: 3 },
      { ...first, batch: 3, length: 6 },
      { ...first, batch: 3, past: 3 },
      { ...first, length: 6, past: 3 },
      { batch: 2, length: 4, past: 9 },
    ],
    inputs: ({ batch = 0, length = 0, past = 0 }) => {
      const kept: Tensors = {};
      for (let i = 0; i < blocks; i++) {
        kept[pastName(i, 'key')] = tf.ones([batch, heads, past, headWidth]);
        kept[pastName(i, 'value')] = tf.ones([batch, heads, past, headWidth]);
      }
      return {
        inputs_embeds: tf.ones([batch, length, width]),
        attention_mask: tf.ones([batch, past + length], 'int32'),
        position_ids: tf.ones([batch, length], 'int32'),
        ...kept,
      };
    },
    run: inputs => {
      const { inputs_embeds, attention_mask, position_ids } = inputs;
      const [batch = 0, length = 0] = inputs_embeds?.shape ?? [];
      const past = Array.from({ length: blocks }, (_, i) => ({
        keys: inputs[pastName(i, 'key')] as tf.Tensor4D,
        values: inputs[pastName(i, 'value')] as tf.Tensor4D,
      }));
      const tables = model.llm.rotary(
        Array.from({ length: positions }, (_, t) => t),
        1,
      );
      const output = model.llm.decode(tf.reshape(inputs_embeds as tf.Tensor, [batch * length, width]), {
        batch,
        rotary: rotaryAt(tables, position_ids as tf.Tensor2D),
        bias: causalKeyBias(attention_mask as tf.Tensor2D, length),
        past,
      });
      const last = output.states[output.states.length - 1] as tf.Tensor2D;
      const logits = model.llm.logits(model.llm.normalized(last));
      return { logits: tf.reshape(logits, [batch, length, words]), ...presentOf(output.past) };
    },
  };
}

/** Names of a block's earlier keys and values, as transformers.js and optimum have them. */
export function pastName(block: number, what: 'key' | 'value'): string {
  return `past_key_values.${block}.${what}`;
}

/** The same of what a pass returns. */
export function presentName(block: number, what: 'key' | 'value'): string {
  return `present.${block}.${what}`;
}

function presentOf(past: readonly KeysAndValues[]): Tensors {
  const named: Tensors = {};
  for (const [i, { keys, values }] of past.entries()) {
    named[presentName(i, 'key')] = keys;
    named[presentName(i, 'value')] = values;
  }
  return named;
}

function imageSizes(views: ExportViews): readonly Sizes[] {
  if (views === 'global') return [{ images: 4 }, { images: 3 }, { images: 2 }];
  return [
    { images: 4, tiles: 5 },
    { images: 3, tiles: 5 },
    { images: 4, tiles: 4 },
    { images: 2, tiles: 3 },
  ];
}

function patchCounts({ config }: Ferret): { readonly globalPatches: number; readonly tilePatches: number } {
  const { image } = config;
  const count = ({ patch_size: patch }: { readonly patch_size: number }): number =>
    Math.floor(image.side / patch) ** 2;
  return { globalPatches: count(config.global_encoder), tilePatches: count(tileEncoderOf(config)) };
}

/** [n, patches, width] -> [n · patches, width]. */
function rowsOf(x: tf.Tensor | undefined): tf.Tensor2D {
  return tf.reshape(x as tf.Tensor, [-1, x?.shape[2] ?? 0]);
}

/** [n · patches, width] -> [n, patches, width], n as many as `like` has. */
function byImage(rows: tf.Tensor2D, like: tf.Tensor | undefined): tf.Tensor3D {
  const images = like?.shape[0] ?? 1;
  return tf.reshape(rows, [images, rows.shape[0] / images, rows.shape[1]]);
}
