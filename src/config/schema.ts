import { z } from 'zod';
import { TASK_NAMES } from '../data/tasks/names.ts';
import type { Recipe } from '../train/recipe.ts';
import { modelSchema } from './model-schema.ts';
import { flag, numberIn, oneOf, positive, section, text, whole } from './values.ts';

const dataSource = section({
  dataset: text().describe('Folder of shards with a manifest.json, relative to the current folder.'),
  task: oneOf(TASK_NAMES).describe('What is asked of its images.'),
  weight: positive().default(1).describe("Share of the mixture, relative to the other sources' weights."),
  max_records: whole(1).exactOptional().describe('Use the first records only.'),
  vary: flag()
    .exactOptional()
    .describe('false: a record makes the same conversation every time. Otherwise it is drawn anew.'),
});

const trainingSource = section({
  ...dataSource.shape,
  rounds: whole(1).exactOptional().describe('Most questions about one image (4).'),
  max_objects: whole(1).exactOptional().describe('Most objects listed in a turn, or contrasted (10).'),
  during: z
    .tuple([numberIn(0, 1), numberIn(0, 1)], 'two numbers from 0 to 1')
    .exactOptional()
    .describe(
      "Shares of the stage's steps from which and until which the source is drawn, such as [0, 0.4] for what is easy ([0, 1]).",
    ),
});

const patterns = () =>
  z.union([text(), z.array(text()).min(1)], { error: 'a regular expression, or a list of them' });

const trainGroup = z.union(
  [
    text(),
    section({
      group: text().describe('Prefix of parameter names.'),
      only: patterns().exactOptional().describe('Trains only names in which one of these is found.'),
      except: patterns().exactOptional().describe('Leaves out names in which one of these is found.'),
    }),
  ],
  { error: 'a parameter group, or {group, only, except}' },
);

const lora = section({
  module: text().describe('Prefix of the linear layers’ names: llm, encoder.global, projector.'),
  rank: whole(1)
    .exactOptional()
    .describe('Rank of the change; `r` is another name, one of them is required.'),
  r: whole(1).exactOptional().describe('Another name of `rank`.'),
  alpha: positive().exactOptional().describe('The change is scaled by alpha / rank (alpha: the rank).'),
  dropout: numberIn(0, 0.99)
    .exactOptional()
    .describe("Share of the adapters' inputs that are dropped while training (0)."),
  targets: patterns()
    .exactOptional()
    .describe(
      'Which layers, by the end of their names from a dot on: q_proj, layers\\.[01]\\..*; all-linear is all but the output layer (all-linear).',
    ),
});

const learningRates = z
  .union([positive(), z.record(z.string(), positive(), 'a map from group to learning rate')], {
    error: 'a number above 0, or a map from each group of `train` to one',
  })
  .describe('Peak learning rate: one number, or a map with one for each entry of `train`.');

const optimizer = section({
  betas: z
    .tuple([numberIn(0, 1), numberIn(0, 1)], 'two numbers from 0 to 1')
    .default([0.9, 0.999])
    .describe("AdamW's averaging of the gradient and of its square."),
  eps: positive().default(1e-8).describe('Added to the denominator of the update.'),
  weight_decay: numberIn(0).default(0).describe('Decoupled decay, on matrices only (rank 2 and more).'),
  no_decay: patterns()
    .exactOptional()
    .describe('Trained names that are not decayed although they are matrices: embed_tokens.'),
  clip_norm: numberIn(0).default(1).describe('Largest global gradient norm; 0 switches clipping off.'),
}).prefault({});

const schedule = section({
  kind: oneOf(['cosine', 'linear', 'constant'])
    .default('cosine')
    .describe('How the rate falls after warm-up.'),
  warmup: numberIn(0, 1).default(0.03).describe('Share of all steps in which the rate rises from 0.'),
  floor: numberIn(0, 1).default(0).describe('Share of the peak that is left at the end.'),
}).prefault({});

const batch = section({
  samples: whole(1).describe('Samples in one forward pass; packed rows where `packing` is set.'),
  accumulate: whole(1).default(1).describe('Forward passes before one update.'),
  contrastive: whole(1)
    .exactOptional()
    .describe("Images of a contrastive batch, each other's negatives (default: as many as samples)."),
  packing: section({
    length: whole(16).describe('Positions of a row; longer samples are passed over.'),
    window: whole(1).exactOptional().describe('Samples that may wait for a row with room (32).'),
  })
    .exactOptional()
    .describe('Puts several samples side by side into rows of one length. Absent: one sample a row.'),
  bucket: section({
    window: whole(1).exactOptional().describe('Samples sorted by length together (16 batches of them).'),
  })
    .exactOptional()
    .describe('Makes batches of samples of like length; {} for the default window. Absent: as they come.'),
});

const evaluation = section({
  every: whole(0).default(0).describe('Steps between scorings of held-out data; 0: only at the end.'),
  samples: whole(1).default(64).describe('Samples of each source that are scored.'),
  data: z.array(dataSource, 'a list of sources').default([]).describe('Held-out sources; [] for none.'),
}).prefault({});

/** The keys of a stageN.yaml, `extends` and `model` aside. */
export const stageSchema = section({
  stage: whole(0, 9).describe('Number of the stage, as in the name of its file.'),
  name: text().describe('What the stage is for, in a few words.'),
  from: text()
    .nullable()
    .exactOptional()
    .describe(
      'Where weights come from: `stageN` of the same run, a checkpoint folder, or null for random ones.',
    ),
  init_from: text()
    .nullable()
    .exactOptional()
    .describe(
      'Another name of `from`, of which one is required: weights alone, never a place to go on from.',
    ),
  train: z
    .array(trainGroup, 'a list of parameter groups')
    .describe(
      'Parameter groups that train, as prefixes of parameter names, or {group, only, except} with patterns; everything else is frozen.',
    ),
  lora: z
    .array(lora, 'a list of {module, rank, alpha, dropout, targets}')
    .min(1, 'at least one {module, rank}')
    .exactOptional()
    .describe('Low-rank adapters that train on frozen linear layers (LoRA), beside what `train` names.'),
  from_adapters: oneOf(['merge', 'keep'])
    .exactOptional()
    .describe(
      'Adapters of the checkpoint that the stage starts from: merged into its weights (merge, the default), or trained on by an equal `lora` (keep).',
    ),
  copy: z
    .array(
      section({
        from: text().describe('Group that is copied.'),
        to: text().describe('Group that starts as the copy.'),
      }),
      'a list of {from, to}',
    )
    .default([])
    .describe('Groups that start this stage as a copy of another, {from: group, to: group}.'),
  reset: z
    .array(text(), 'a list of parameter groups')
    .exactOptional()
    .describe(
      'Groups that start this stage at random, whatever the checkpoint named by `from` has under their names: [sampler] for a sampler of another kind.',
    ),
  lr: learningRates,
  lr_decay: z
    .record(z.string(), numberIn(0, 1), 'a map from module to a number from 0 to 1')
    .exactOptional()
    .describe(
      'Layer-wise decay: {encoder.global: 0.8} gives each block 0.8 times the rate of the one above it, embeddings least.',
    ),
  optimizer,
  schedule,
  ema: section({
    decay: numberIn(0, 1).describe('Share of the old average that stays with each step: 0.999.'),
    warmup: flag()
      .exactOptional()
      .describe('Begins with a shorter memory, min(decay, (1 + n) / (10 + n)) at step n (true).'),
  })
    .exactOptional()
    .describe('A running average of what trains; it is what is scored, exported and started from.'),
  checkpoint_activations: z
    .array(text(), 'a list of modules')
    .exactOptional()
    .describe(
      'Modules whose blocks are computed again for the backward pass instead of being kept in memory: llm, encoder.global.',
    ),
  views: oneOf(['global', 'global+local'])
    .default('global+local')
    .describe('Which views the model gets: the low-resolution image, or the tiles as well.'),
  grounding_prompt: z
    .string('text')
    .default('')
    .describe('Appended to a question whose answer should carry boxes; empty for none.'),
  data: z
    .array(trainingSource, 'a list of sources')
    .min(1, 'at least one source')
    .describe('The training mixture.'),
  batch,
  on_bad_sample: oneOf(['fail', 'skip'])
    .exactOptional()
    .describe(
      'What a damaged record or image does: end the run (fail, the default), or be logged and replaced by another of its source (skip).',
    ),
  bad_sample_limit: whole(0)
    .exactOptional()
    .describe('How many damaged records may be skipped in a stage before the run ends all the same (100).'),
  steps: whole(1).describe('Updates of the weights in this stage.'),
  seed: whole(0).default(0).describe('Names every random stream of the stage.'),
  engine: section({
    compile: oneOf(['auto', 'off', 'graph', 'xla'])
      .exactOptional()
      .describe(
        'How training steps run on libtensorflow: op by op (off), recorded once and run by its executor (graph), compiled by XLA from composed layers (xla); auto is graph, and off on WebAssembly (auto).',
      ),
  })
    .exactOptional()
    .describe('What computes, and how.'),
  feature_cache: z
    .union(
      [
        z.literal('off'),
        section({
          dir: text()
            .exactOptional()
            .describe('Folder of the features, for all runs that name it (.features in the folder of runs).'),
          max_gb: positive()
            .exactOptional()
            .describe(
              'Most that the folder may take, gigabytes. Without it: 4, and only where all features of the stage fit.',
            ),
        }),
      ],
      { error: 'off, or {dir, max_gb}' },
    )
    .exactOptional()
    .describe(
      'What frozen encoders make of an image is kept on disk and read from then on; the results are the same to the bit. off: made anew each time.',
    ),
  on_nonfinite: oneOf(['stop', 'skip'])
    .exactOptional()
    .describe(
      'What a loss or gradient that is not finite does: end the run (stop, the default), or be passed over without an update (skip). Either way its batches and the norms of each module are written down.',
    ),
  nonfinite_limit: whole(0)
    .exactOptional()
    .describe('How many such steps may be skipped in a stage before the run ends all the same (5).'),
  spike: section({
    action: oneOf(['off', 'note', 'rollback'])
      .exactOptional()
      .describe(
        'What a jump of the loss does: nothing (off), a line in the log (note, the default), or going back to the last checkpoint before it and on past its batches (rollback).',
      ),
    zscore: positive()
      .exactOptional()
      .describe('Standard deviations above the mean of the window from which a loss counts as a jump (6).'),
    window: whole(2).exactOptional().describe('Losses before it that it is compared with (100).'),
    patience: whole(1).exactOptional().describe('Steps in a row that must jump (3).'),
    limit: whole(1).exactOptional().describe('How often a stage may go back before the run ends (3).'),
  })
    .exactOptional()
    .describe('The watch over jumps of the loss.'),
  on_no_gradient: oneOf(['note', 'stop'])
    .exactOptional()
    .describe(
      'What is done where a parameter trains but has received no gradient once all of the data has had its turn: say so (note, the default), or end the run (stop).',
    ),
  limits: section({
    memory: numberIn(0)
      .exactOptional()
      .describe(
        'Resident memory of the process, GiB, beyond which the stage is saved and the run ends; 0: none (0).',
      ),
  })
    .exactOptional()
    .describe('What the run may take.'),
  log: section({
    every: whole(1).default(10).describe('Steps between lines of the log.'),
    histograms: whole(0)
      .exactOptional()
      .describe('Steps between histograms of weights and gradients for TensorBoard; 0: none (0).'),
  }).prefault({}),
  checkpoint: section({
    every: whole(0).default(500).describe('Steps between checkpoints; 0: only at the end.'),
    keep: z
      .union(
        [
          whole(1),
          section({
            last: whole(1).describe('The newest ones.'),
            best: whole(1).exactOptional().describe('The best by `checkpoint.metric` (1).'),
            every: whole(0).exactOptional().describe('Those of every so many steps; 0 for none (0).'),
          }),
        ],
        { error: 'a whole number, 1 or more, or {last, best, every}' },
      )
      .default(3)
      .describe('How many of the newest checkpoints stay on disk; or {last: 3, best: 1, every: 5000}.'),
    metric: text()
      .exactOptional()
      .describe(
        'Held-out score by which one is the best: it is saved when it is reached, and never deleted.',
      ),
    goal: oneOf(['max', 'min']).exactOptional().describe('Whether more of the metric is better (max).'),
  }).prefault({}),
  eval: evaluation,
});

/** A merged recipe: the keys of a stage, and the model under `model`. */
export const recipeSchema = section({ ...stageSchema.shape, model: modelSchema });

/** A recipe in the shape of its YAML: stage keys on top, the model below. */
export type RecipeTree = z.output<typeof recipeSchema>;

/** The tree as the program knows it. */
export function recipeOfTree(tree: RecipeTree): Recipe {
  const { model, stage, name, from, init_from, lora, ...rest } = tree;
  const adapters = lora?.map(({ r, rank, ...entry }) => ({ ...entry, rank: rank ?? r ?? 0 }));
  return {
    model,
    stage: {
      stage,
      name,
      from: init_from ?? from ?? null,
      ...rest,
      ...(adapters === undefined ? {} : { lora: adapters }),
    },
  };
}
