/** Our side of the benchmark of steps: recorded with fused ops, or (`eager`) op by op with composed layers. */
import { tensorflowBackend } from '../../src/engine/backend.ts';
import { startEngine } from '../../src/engine/engine.ts';
import { composedOnly } from '../../src/engine/native-ops.ts';
import { Ferret } from '../../src/models/ferret.ts';
import { planTraining } from '../../src/train/freeze.ts';
import { measurePeak } from '../../src/train/plan/speed.ts';
import type { StageRecipe } from '../../src/train/recipe.ts';
import { type StepResult, TrainStep } from '../../src/train/step.ts';
import { batchArrays, weightArrays, writeArrays } from './arrays.ts';
import { makeBatch } from './batch.ts';
import { type BenchShapes, named, readShapes, type StageShape } from './shapes.ts';
import { peakMemory, serve, timeOf } from './side.ts';
import { stepRequest } from './step-protocol.ts';

const [modelName = '', stageName = '', way = ''] = process.argv.slice(2);

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

/** Runs with layers composed and functions not recorded, as TensorFlow.js by itself would. */
function eagerly<T>(f: () => T): T {
  const backend = tensorflowBackend();
  if (!backend) return composedOnly(f);
  const real = backend.binding;
  backend.binding = { ...real, eagerOnly: true };
  try {
    return composedOnly(f);
  } finally {
    backend.binding = real;
  }
}

await startEngine({ device: 'cpu' });
const shapes = readShapes();
const { model: config, stages } = named(shapes.models, modelName);
const shape = named(stages, stageName);
const model = new Ferret(config);
model.parameters.allocate(shapes.seed);
const stage = stageOf(shapes, shape);
const step = new TrainStep(model, planTraining(model.parameters, stage, model.unused), stage);
const batch = makeBatch(config, shape, shapes.seed);
const around = way === 'eager' ? eagerly : <T>(f: () => T): T => f();
let done = 0;
const run = (): StepResult => around(() => step.run([batch], done++));

await serve(async request => {
  const asked = stepRequest.parse(request);
  switch (asked.do) {
    case 'write':
      writeArrays(asked.folder, 'weights', weightArrays(model));
      writeArrays(asked.folder, 'batch', batchArrays(batch, config));
      return {};
    case 'check': {
      const results = Array.from({ length: asked.steps }, run);
      const [first] = results;
      return {
        losses: results.map(({ loss }) => loss),
        gradNorm: first?.gradNorm ?? Number.NaN,
        flops: first?.flops ?? 0,
      };
    }
    case 'time':
      return { seconds: timeOf(asked.seconds, run) };
    case 'peak':
      return { flops: measurePeak() };
    case 'memory':
      return { bytes: peakMemory() };
  }
});
