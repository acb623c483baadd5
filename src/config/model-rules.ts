import { tileEncoderOf } from '../models/config.ts';
import type { Recipe } from '../train/recipe.ts';
import type { Complaint, Rule } from './issues.ts';

/** Text that must fit beside the visual tokens of the largest grid. */
const TEXT_ROOM = 16;

/** Patches must tile the image. */
export const sideIsMultipleOfPatches: Rule = ({ model }) => {
  const { side } = model.image;
  const patches = [...new Set([model.global_encoder.patch_size, model.local_encoder.patch_size])];
  return patches
    .filter(patch => side % patch !== 0)
    .map(patch => ({
      key: ['model', 'image', 'side'],
      message: `side ${side} is no multiple of the patch size ${patch}`,
      hint: `${Math.max(1, Math.floor(side / patch)) * patch} would be one`,
    }));
};

/** Every head gets the same share of the width. */
export const headsDivideWidth: Rule = ({ model }) => {
  const towers = [
    { key: ['global_encoder'], tower: model.global_encoder },
    { key: ['local_encoder'], tower: model.local_encoder },
    ...(model.pretraining
      ? [{ key: ['pretraining', 'text_encoder'], tower: model.pretraining.text_encoder }]
      : []),
  ];
  return towers.flatMap(({ key, tower }) =>
    tower.hidden_size % tower.num_attention_heads === 0
      ? []
      : [
          {
            key: ['model', ...key, 'num_attention_heads'],
            message: `${tower.num_attention_heads} heads do not divide the width ${tower.hidden_size}`,
          },
        ],
  );
};

/** Rotary embeddings turn pairs of numbers, so a head's width is whole and even. */
export const llmHeadIsEven: Rule = ({ model: { llm } }) => {
  if (Number.isInteger(llm.head_dim) && llm.head_dim % 2 === 0) return [];
  const message = Number.isInteger(llm.head_dim)
    ? `a head of width ${llm.head_dim} is odd, and rotary embeddings turn pairs`
    : `${llm.num_attention_heads} heads do not divide the width ${llm.hidden_size}`;
  const key = Number.isInteger(llm.head_dim) ? 'head_dim' : 'num_attention_heads';
  return [{ key: ['model', 'llm', key], message }];
};

/** Each key and value head serves the same number of query heads. */
export const keyValueHeadsDivideHeads: Rule = ({ model: { llm } }) =>
  llm.num_attention_heads % llm.num_key_value_heads === 0
    ? []
    : [
        {
          key: ['model', 'llm', 'num_key_value_heads'],
          message: `${llm.num_key_value_heads} do not divide the ${llm.num_attention_heads} attention heads`,
        },
      ];

/** hidden_states holds the embeddings and one entry a block. */
export const featureLayerExists: Rule = ({ model }) =>
  (['global_encoder', 'local_encoder'] as const).flatMap(encoder => {
    const { feature_layer: layer, num_hidden_layers: blocks } = model[encoder];
    if (layer >= -blocks - 1 && layer <= blocks) return [];
    const message = `${layer} is no hidden state of ${blocks} blocks`;
    const hint = `choose from ${-blocks - 1} to ${blocks}`;
    return [{ key: ['model', encoder, 'feature_layer'], message, hint }];
  });

/** A sampler block keeps some of the points it is given, and gathers among them; an average has none. */
export const samplerNarrows: Rule = ({ model: { sampler } }) => {
  const key = ['model', 'sampler', 'blocks'];
  if (sampler.kind === 'average' && sampler.blocks.length > 0) {
    return [{ key, message: 'kind is average, which has no blocks', hint: 'set blocks: []' }];
  }
  if (sampler.kind !== 'average' && sampler.blocks.length === 0) {
    return [{ key, message: 'expected at least one block', hint: 'or set kind: average' }];
  }
  const complaints: Complaint[] = [];
  let pool = sampler.points;
  for (const [i, block] of sampler.blocks.entries()) {
    for (const part of ['points', 'neighbors'] as const) {
      if (block[part] <= pool) continue;
      complaints.push({
        key: ['model', 'sampler', 'blocks', i, part],
        message: `${block[part]} are more than the ${pool} points that reach this block`,
      });
    }
    pool = block.points;
  }
  return complaints;
};

/** The fixed position embedding is four equal parts: sine and cosine of x and of y. */
export const positionsFitWidth: Rule = ({ model: { projector, llm } }) =>
  projector.positions === 'none' || llm.hidden_size % 4 === 0
    ? []
    : [
        {
          key: ['model', 'projector', 'positions'],
          message: `sincos2d needs a width that 4 divides; llm.hidden_size is ${llm.hidden_size}`,
        },
      ];

/** Merged maps are sums, so encoder features must be equally wide; projected ones always are. */
export const mapsCanBeSummed: Rule = ({ model }) =>
  model.referring.features === 'projected' ||
  model.global_encoder.hidden_size === tileEncoderOf(model).hidden_size
    ? []
    : [
        {
          key: ['model', 'referring', 'features'],
          message: `encoder features of widths ${model.global_encoder.hidden_size} and ${model.local_encoder.hidden_size} cannot be summed`,
          hint: 'use projected, or encoders of one width',
        },
      ];

/** Patches that meet phrases without a projection must be as wide as the space of the phrases; no other stage compares them. */
export const sharedSpaceFits: Rule = ({ model, stage }) => {
  if (!model.pretraining?.shared_space || stage.data.every(({ task }) => task !== 'contrastive')) return [];
  const { projection_dim } = model.pretraining;
  const widths = [model.global_encoder.hidden_size, tileEncoderOf(model).hidden_size];
  return widths.every(width => width === projection_dim)
    ? []
    : [
        {
          key: ['model', 'pretraining', 'projection_dim'],
          message: `shared_space needs encoders as wide as the space: ${widths.join(' and ')} are not ${projection_dim}`,
          hint: 'set projection_dim to the hidden_size of both encoders, or shared_space: false',
        },
      ];
};

/** No grid twice: the second could never be chosen. */
export const gridsDiffer: Rule = ({ model }) =>
  model.image.grids.flatMap(([columns, rows], i, grids) =>
    grids.findIndex(([c, r]) => c === columns && r === rows) === i
      ? []
      : [{ key: ['model', 'image', 'grids', i], message: `grid [${columns}, ${rows}] is listed twice` }],
  );

/** The visual tokens of an image: one a patch of the global view and of each tile. */
export function largestVisualLength({ model, stage }: Recipe): number {
  const patches = (size: number) => Math.floor(model.image.side / size) ** 2;
  const tiles =
    stage.views === 'global' ? 0 : Math.max(...model.image.grids.map(([columns, rows]) => columns * rows));
  return patches(model.global_encoder.patch_size) + tiles * patches(tileEncoderOf(model).patch_size);
}

/** Samples are refused, never cut: the largest grid must leave room for text. */
export const imageFitsSequence: Rule = recipe => {
  const visual = largestVisualLength(recipe);
  return visual + TEXT_ROOM <= recipe.model.max_length
    ? []
    : [
        {
          key: ['model', 'max_length'],
          message: `${recipe.model.max_length} positions leave no room for text beside ${visual} visual tokens`,
          hint: 'raise it, or use fewer tiles or a smaller side',
        },
      ];
};
