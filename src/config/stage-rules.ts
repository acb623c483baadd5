import { type TaskName, TEXT_TASKS } from '../data/tasks/names.ts';
import { tileEncoderOf } from '../models/config.ts';
import { parseFrom } from '../train/from.ts';
import { groupOf, trainedGroups } from '../train/groups.ts';
import { lies } from '../train/patterns.ts';
import type { StageRecipe } from '../train/recipe.ts';
import type { Complaint, Rule } from './issues.ts';

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
const REGION_TASKS: readonly TaskName[] = [
  'dense-referring',
  'reg',
  'roc',
  'relation',
  'ocr',
  'conversation',
];

/** The groups of `train`, each with the key that names it. */
function groupEntries({ train }: StageRecipe): { group: string; key: (string | number)[] }[] {
  return train.map((entry, i) => ({
    group: groupOf(entry),
    key: typeof entry === 'string' ? ['train', i] : ['train', i, 'group'],
  }));
}

/** Groups must be able to match a parameter; whether they do is known when the model is built. */
export const groupsAreKnown: Rule = ({ stage }) => {
  const groups = [
    ...groupEntries(stage),
    ...(stage.lora ?? []).map(({ module }, i) => ({ group: module, key: ['lora', i, 'module'] })),
    ...Object.keys(stage.lr_decay ?? {}).map(group => ({ group, key: ['lr_decay', group] })),
    ...(stage.checkpoint_activations ?? []).map((group, i) => ({
      group,
      key: ['checkpoint_activations', i],
    })),
    ...stage.copy.flatMap(({ from, to }, i) => [
      { group: from, key: ['copy', i, 'from'] },
      { group: to, key: ['copy', i, 'to'] },
    ]),
    ...(stage.reset ?? []).map((group, i) => ({ group, key: ['reset', i] })),
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
  groupEntries(stage).flatMap(({ group, key }, i, all) =>
    all.findIndex(other => other.group === group) === i ? [] : [{ key, message: `${group} is listed twice` }],
  );

/** A map of rates names exactly the groups that train. */
export const ratesMatchGroups: Rule = ({ stage }) => {
  if (typeof stage.lr === 'number') return [];
  const named = Object.keys(stage.lr);
  const groups = trainedGroups(stage);
  const strangers = named.filter(group => !groups.includes(group));
  const forgotten = groups.filter(group => !named.includes(group));
  return [
    ...strangers.map(group => ({
      key: ['lr', group],
      message: `${group} is not in train: ${groups.join(', ')}`,
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
    const [global, local] = [model.global_encoder, tileEncoderOf(model)];
    const projectors = [from, to].every(group => /^projector\.(global|local)$/.test(group));
    if (!projectors || global.hidden_size === local.hidden_size) return [];
    const message = `the encoders' widths differ (${global.hidden_size} and ${local.hidden_size}), so the projectors do`;
    return [{ key, message, hint: 'use encoders of one width, or drop the copy' }];
  });

/** What the stage never runs cannot train. */
export const trainedViewsAreUsed: Rule = ({ model, stage }) =>
  stage.views === 'global+local'
    ? groupEntries(stage).flatMap(({ group, key }) =>
        model.tile_encoder === 'global_encoder' && /^encoder\.local(\.|$)/.test(group)
          ? [
              {
                key,
                message: `${group} gets no input: tile_encoder is global_encoder`,
                hint: 'do not train it',
              },
            ]
          : [],
      )
    : groupEntries(stage).flatMap(({ group, key }) =>
        /^(projector|encoder)\.local(\.|$)/.test(group)
          ? [
              {
                key,
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
    ...groupEntries(stage).flatMap(({ group, key }) =>
      /^(text_encoder|contrastive)(\.|$)/.test(group)
        ? [{ key, message: `the model has no ${group}`, hint }]
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
      met: [...tasks].some(task => task !== 'contrastive' && !TEXT_TASKS.has(task)),
    },
    {
      module: /^sampler(\.|$)/,
      tasks: REGION_TASKS.join(', '),
      met: REGION_TASKS.some(task => tasks.has(task)),
    },
  ];
  return groupEntries(stage).flatMap(({ group, key }) =>
    needs
      .filter(({ module, met }) => !met && module.test(group))
      .map(({ tasks }) => ({
        key,
        message: `${group} gets no gradient from the tasks in data`,
        hint: `it learns from ${tasks}`,
      })),
  );
};

/** Weights come from before, not from the stage itself or a later one. */
export const startsFromEarlierStage: Rule = ({ stage }) => {
  const earlier = parseFrom(stage.from ?? '').stage;
  if (earlier === null || earlier < stage.stage) return [];
  return [{ key: ['from'], message: `stage ${stage.stage} cannot start from ${stage.from}` }];
};

/** Held-out data is asked questions and scored by the answers; contrastive pairs have none. */
export const heldOutDataAsksQuestions: Rule = ({ stage }) =>
  stage.eval.data.flatMap(({ task }, i) =>
    task === 'contrastive'
      ? [{ key: ['eval', 'data', i, 'task'], message: 'contrastive has no questions to score' }]
      : [],
  );

/** What a stage is made of must be there at every step: conversations if it has any, and contrastive pairs if it has any. */
export const everyStepHasData: Rule = ({ stage }) => {
  const sources = stage.data.map(({ task, during: [from, until] = [0, 1] }, i) => ({
    kind: task === 'contrastive' ? 'contrastive pairs' : 'conversations',
    from,
    until,
    key: ['data', i, 'during'],
  }));
  return ['conversations', 'contrastive pairs'].flatMap(kind => {
    const inOrder = sources.filter(source => source.kind === kind).sort((a, b) => a.from - b.from);
    let reached = 0;
    for (const { from, until, key } of inOrder) {
      if (from > reached) return [undrawn(key, kind, reached, from)];
      reached = Math.max(reached, until);
    }
    const last = inOrder.at(-1);
    return last && reached < 1 ? [undrawn(last.key, kind, reached, 1)] : [];
  });
};

function undrawn(key: Complaint['key'], kind: string, from: number, until: number): Complaint {
  return {
    key,
    message: `no source of ${kind} is drawn from ${from} to ${until} of the steps`,
    hint: 'let one begin earlier or last longer',
  };
}

/** A source that ends before it begins would never be drawn. */
export const sourcesAreDrawn: Rule = ({ stage }) =>
  stage.data.flatMap(({ during: [from, until] = [0, 1] }, i) =>
    from < until
      ? []
      : [{ key: ['data', i, 'during'], message: `expected two growing numbers, found ${from} and ${until}` }],
  );

/** Packed rows have one length: there is nothing left to sort by. */
export const rowsArePackedOrSorted: Rule = ({ stage }) =>
  stage.batch.packing && stage.batch.bucket
    ? [
        {
          key: ['batch', 'bucket'],
          message: 'batch.packing is set, and rows of one length cannot be sorted by length',
          hint: 'keep one of the two',
        },
      ]
    : [];

/** A stage must learn something: in modules, or in adapters beside them. */
export const somethingTrains: Rule = ({ stage }) =>
  trainedGroups(stage).length > 0
    ? []
    : [{ key: ['train'], message: 'expected at least one parameter group, found an empty list' }];

/** An adapter stands for training its module. Whether patterns keep the two apart is known when the model is built. */
export const adaptersAreAlone: Rule = ({ stage }) =>
  (stage.lora ?? []).flatMap(({ module }, i) => {
    const whole = stage.train.find(entry => typeof entry === 'string' && lies(module, entry));
    return whole === undefined
      ? []
      : [
          {
            key: ['lora', i, 'module'],
            message: `${module} trains as a whole: ${groupOf(whole)} is in train`,
            hint: 'drop it from `train` or from `lora`',
          },
        ];
  });

/** Modules that are made of blocks, which rates can fall along and which can be computed again. */
const BLOCK_MODULES = ['encoder', 'encoder.global', 'encoder.local', 'llm', 'text_encoder'];

/** Rates fall from block to block, and blocks are what is computed again. */
export const modulesHaveBlocks: Rule = ({ stage }) => {
  const named = [
    ...Object.keys(stage.lr_decay ?? {}).map(module => ({ module, key: ['lr_decay', module] })),
    ...(stage.checkpoint_activations ?? []).map((module, i) => ({
      module,
      key: ['checkpoint_activations', i],
    })),
  ];
  return named.flatMap(({ module, key }) =>
    BLOCK_MODULES.includes(module) || MODULES[module.split('.')[0] ?? ''] === undefined
      ? []
      : [{ key, message: `${module} is not made of blocks`, hint: `these are: ${BLOCK_MODULES.join(', ')}` }],
  );
};
