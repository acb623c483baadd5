import { type TaskName, TEXT_TASKS } from '../data/tasks/names.ts';
import { parseFrom } from '../train/from.ts';
import type { Rule } from './issues.ts';

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
      met: [...tasks].some(task => task !== 'contrastive' && !TEXT_TASKS.has(task)),
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
