import type { TaskName } from '../data/tasks/names.ts';
import type { Recipe } from '../train/recipe.ts';
import type { Complaint } from './issues.ts';

/** What no single value can say about itself: one function a rule, each complaining at the key to change. */
export type Rule = (recipe: Recipe) => Complaint[];

/** Modules that a parameter name can begin with, and their parts where they have any. */
const MODULES: Readonly<Record<string, readonly string[]>> = {
  encoder: ['global', 'local'],
  projector: ['global', 'local'],
  sampler: [],
  llm: [],
  text_encoder: [],
  contrastive: [],
};

/** Tasks that put regions into a question: only they send a gradient through the sampler. */
const REGION_TASKS: readonly TaskName[] = ['dense-referring', 'reg', 'roc', 'relation', 'ocr'];

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

/** A sampler block keeps some of the points it is given, and gathers among them. */
export const samplerNarrows: Rule = ({ model: { sampler } }) => {
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
  model.global_encoder.hidden_size === model.local_encoder.hidden_size
    ? []
    : [
        {
          key: ['model', 'referring', 'features'],
          message: `encoder features of widths ${model.global_encoder.hidden_size} and ${model.local_encoder.hidden_size} cannot be summed`,
          hint: 'use projected, or encoders of one width',
        },
      ];

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
  return patches(model.global_encoder.patch_size) + tiles * patches(model.local_encoder.patch_size);
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

/** Groups must be able to match a parameter; whether they do is known when the model is built. */
export const groupsAreKnown: Rule = ({ stage }) => {
  const groups = [
    ...stage.train.map((group, i) => ({ group, key: ['train', i] })),
    ...stage.copy.flatMap(({ from, to }, i) => [
      { group: from, key: ['copy', i, 'from'] },
      { group: to, key: ['copy', i, 'to'] },
    ]),
  ];
  return groups.flatMap(({ group, key }) => {
    const [root = '', part] = group.split('.');
    const parts = MODULES[root];
    if (!parts) {
      return [
        { key, message: `no module "${root}"`, hint: `modules are ${Object.keys(MODULES).join(', ')}` },
      ];
    }
    if (part === undefined || parts.length === 0 || parts.includes(part)) return [];
    return [{ key, message: `no part "${part}" in ${root}`, hint: `its parts are ${parts.join(', ')}` }];
  });
};

/** A group named twice would be two answers to one question. */
export const groupsDiffer: Rule = ({ stage }) =>
  stage.train.flatMap((group, i) =>
    stage.train.indexOf(group) === i ? [] : [{ key: ['train', i], message: `${group} is listed twice` }],
  );

/** A map of rates names exactly the groups that train. */
export const ratesMatchGroups: Rule = ({ stage }) => {
  if (typeof stage.lr === 'number') return [];
  const named = Object.keys(stage.lr);
  const strangers = named.filter(group => !stage.train.includes(group));
  const forgotten = stage.train.filter(group => !named.includes(group));
  return [
    ...strangers.map(group => ({
      key: ['lr', group],
      message: `${group} is not in train: ${stage.train.join(', ')}`,
      aboutKey: true,
    })),
    ...forgotten.map(group => ({
      key: ['lr'],
      message: `no learning rate for ${group}, which trains`,
      aboutKey: true,
    })),
  ];
};

/** A copy needs a target of the same shape: projectors read their encoder's width. */
export const copiesFit: Rule = ({ model, stage }) =>
  stage.copy.flatMap(({ from, to }, i) => {
    const key = ['copy', i, 'to'];
    if (from === to) return [{ key, message: `${to} cannot be a copy of itself` }];
    const { global_encoder: global, local_encoder: local } = model;
    const projectors = [from, to].every(group => /^projector\.(global|local)$/.test(group));
    if (!projectors || global.hidden_size === local.hidden_size) return [];
    const message = `the encoders' widths differ (${global.hidden_size} and ${local.hidden_size}), so the projectors do`;
    return [{ key, message, hint: 'use encoders of one width, or drop the copy' }];
  });

/** What the stage never runs cannot train. */
export const trainedViewsAreUsed: Rule = ({ stage }) =>
  stage.views === 'global+local'
    ? []
    : stage.train.flatMap((group, i) =>
        /^(projector|encoder)\.local(\.|$)/.test(group)
          ? [
              {
                key: ['train', i],
                message: `${group} gets no input: views is global`,
                hint: 'set views: global+local, or do not train it',
              },
            ]
          : [],
      );

/** Contrastive pretraining needs the text tower. */
export const pretrainingIsDescribed: Rule = ({ model, stage }) => {
  if (model.pretraining) return [];
  const hint = 'add model.pretraining with a text_encoder and a projection_dim';
  return [
    ...stage.train.flatMap((group, i) =>
      /^(text_encoder|contrastive)(\.|$)/.test(group)
        ? [{ key: ['train', i], message: `the model has no ${group}`, hint }]
        : [],
    ),
    ...stage.data.flatMap((source, i) =>
      source.task === 'contrastive'
        ? [{ key: ['data', i, 'task'], message: 'contrastive needs a text encoder', hint }]
        : [],
    ),
  ];
};

/** A module that no task of the mixture exercises gets no gradient. */
export const trainedModulesGetGradient: Rule = ({ stage }) => {
  const tasks = new Set(stage.data.map(source => source.task));
  const needs: { module: RegExp; tasks: string; met: boolean }[] = [
    {
      module: /^(text_encoder|contrastive)(\.|$)/,
      tasks: 'contrastive',
      met: tasks.has('contrastive'),
    },
    {
      module: /^llm(\.|$)/,
      tasks: 'any task but contrastive',
      met: [...tasks].some(task => task !== 'contrastive'),
    },
    {
      module: /^projector(\.|$)/,
      tasks: 'any task about an image',
      met: [...tasks].some(task => task !== 'contrastive' && task !== 'scene-text'),
    },
    {
      module: /^sampler(\.|$)/,
      tasks: REGION_TASKS.join(', '),
      met: REGION_TASKS.some(task => tasks.has(task)),
    },
  ];
  return stage.train.flatMap((group, i) =>
    needs
      .filter(({ module, met }) => !met && module.test(group))
      .map(({ tasks }) => ({
        key: ['train', i],
        message: `${group} gets no gradient from the tasks in data`,
        hint: `it learns from ${tasks}`,
      })),
  );
};

/** Weights come from before, not from the stage itself or a later one. */
export const startsFromEarlierStage: Rule = ({ stage }) => {
  const match = /^stage(\d+)$/.exec(stage.from ?? '');
  if (!match || Number(match[1]) < stage.stage) return [];
  return [{ key: ['from'], message: `stage ${stage.stage} cannot start from ${stage.from}` }];
};

/** Held-out data is asked questions and scored by the answers; contrastive pairs have none. */
export const heldOutDataAsksQuestions: Rule = ({ stage }) =>
  stage.eval.data.flatMap(({ task }, i) =>
    task === 'contrastive'
      ? [{ key: ['eval', 'data', i, 'task'], message: 'contrastive has no questions to score' }]
      : [],
  );

const RULES: readonly Rule[] = [
  sideIsMultipleOfPatches,
  headsDivideWidth,
  llmHeadIsEven,
  keyValueHeadsDivideHeads,
  featureLayerExists,
  samplerNarrows,
  positionsFitWidth,
  mapsCanBeSummed,
  gridsDiffer,
  imageFitsSequence,
  groupsAreKnown,
  groupsDiffer,
  ratesMatchGroups,
  copiesFit,
  trainedViewsAreUsed,
  pretrainingIsDescribed,
  trainedModulesGetGradient,
  startsFromEarlierStage,
  heldOutDataAsksQuestions,
];

/** What every rule has to say about a recipe. */
export function checkRules(recipe: Recipe): Complaint[] {
  return RULES.flatMap(rule => rule(recipe));
}
