/** A training step of the shapes' file, ready to run. */
import type { ConversationBatch } from '../../src/models/batch.ts';
import { Ferret } from '../../src/models/ferret.ts';
import { planTraining } from '../../src/train/freeze.ts';
import type { StageRecipe } from '../../src/train/recipe.ts';
import { type StepResult, TrainStep } from '../../src/train/step.ts';
import { makeBatch } from './batch.ts';
import { type BenchShapes, named, readShapes, type StageShape } from './shapes.ts';

function stageOf(shapes: BenchShapes, { train, samples }: StageShape): StageRecipe {
  return {
    stage: 1,
    name: 'bench',
    from: null,
    train,
    copy: [],
    lr: shapes.learning_rate,
    optimizer: {
      betas: [0.9, 0.999],
      eps: 1e-8,
      weight_decay: shapes.weight_decay,
      clip_norm: shapes.clip_norm,
    },
    schedule: { kind: 'constant', warmup: 0, floor: 1 },
    views: 'global+local',
    grounding_prompt: '',
    data: [],
    batch: { samples, accumulate: 1 },
    steps: 1_000_000,
    seed: shapes.seed,
    log: { every: 0 },
    checkpoint: { every: 0, keep: 1 },
    eval: { every: 0, samples: 0, data: [] },
  };
}

export interface BenchStep {
  readonly model: Ferret;
  readonly batch: ConversationBatch;
  /** Runs the next step. */
  readonly run: () => StepResult;
}

/** Makes model, batch and step from the shapes' seed; the engine must run. */
export function openStep(modelName: string, stageName: string): BenchStep {
  const shapes = readShapes();
  const { model: config, stages } = named(shapes.models, modelName);
  const shape = named(stages, stageName);
  const model = new Ferret(config);
  model.parameters.allocate(shapes.seed);
  const stage = stageOf(shapes, shape);
  const step = new TrainStep(model, planTraining(model.parameters, stage, model.unused), stage);
  const batch = makeBatch(config, shape, shapes.seed);
  let done = 0;
  return { model, batch, run: () => step.run([batch], done++) };
}
