import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { observeRecordings, type RecordedGraph } from '../../../src/engine/compile.ts';
import { dryRun } from '../../../src/engine/dry/run.ts';
import * as tf from '../../../src/engine/tf.ts';
import type { LlamaConfig } from '../../../src/models/config.ts';
import { Ferret } from '../../../src/models/ferret.ts';
import { planTraining } from '../../../src/train/freeze.ts';
import { conversationBatch, largestBatches } from '../../../src/train/plan/sizes.ts';
import { type TracedStep, traceStep } from '../../../src/train/plan/trace.ts';
import type { Recipe } from '../../../src/train/recipe.ts';
import { TrainStep } from '../../../src/train/step.ts';
import { startTestEngine } from '../../helpers/engine.ts';
import { sceneSizes, tinyStage } from './tiny-stage.ts';

let engine: string;

beforeAll(async () => {
  engine = (await startTestEngine()).name;
});

let stop: () => void = () => {};
afterEach(() => stop());

function trace(recipe: Recipe, samples = 2): Promise<TracedStep> {
  return traceStep(recipe, [conversationBatch(recipe.model, sceneSizes(samples, recipe.stage.views))]);
}

function flops({ functions }: TracedStep): number {
  return functions.reduce((sum, f) => sum + f.cost.flops, 0);
}

function gradientsOf({ functions }: TracedStep) {
  const found = functions.find(f => f.kind === 'gradients');
  if (!found) throw new Error('no gradients were traced');
  return found;
}

describe('what is traced', () => {
  it.each([0, 1, 2, 3])('is what libtensorflow gets to run, stage %i', async stage => {
    if (engine !== 'tensorflow') return;
    const recipe = tinyStage(stage, ['from=null', 'batch.samples=2']);
    const batches = stage === 0 ? largestBatches(recipe.stage, recipe.model) : [];
    const batch = batches[0] ?? conversationBatch(recipe.model, sceneSizes(2, recipe.stage.views));
    const seen: RecordedGraph[] = [];
    stop = observeRecordings(graph => seen.push(graph));
    const step = (model: Ferret): void => {
      const plan = planTraining(model.parameters, recipe.stage, model.unused);
      const trainStep = new TrainStep(model, plan, recipe.stage);
      trainStep.run([batch], 0);
      trainStep.dispose();
    };
    const model = new Ferret(recipe.model);
    model.parameters.allocate(0);
    step(model);
    model.dispose();
    const real = seen.splice(0);
    await dryRun(({ tensor }) => {
      const dry = new Ferret(recipe.model);
      for (const parameter of dry.parameters.all) parameter.assign(tensor(parameter.shape));
      step(dry);
      dry.dispose();
    });
    const form = ({ key, nodes }: RecordedGraph) => [
      key,
      nodes.map(n => [n.op, n.inputs, n.outputs.map(o => o.shape)]),
    ];
    expect(seen.map(form)).toEqual(real.map(form));
    expect(tf.memory().numTensors).toBe(0);
  });
});

/** Operations of a decoder's matrix products over `rows` rows in sequences of `length`, `scored` rows being scored. */
function decoderFlops(c: LlamaConfig, rows: number, length: number, scored: number): number {
  const [queries, keys] = [c.num_attention_heads * c.head_dim, c.num_key_value_heads * c.head_dim];
  const projections = c.hidden_size * (2 * queries + 2 * keys) + 3 * c.hidden_size * c.intermediate_size;
  // Under a causal mask half of the scores are computed.
  const attention = 2 * queries * Math.ceil(length / 2);
  const head = scored * c.hidden_size * c.vocab_size;
  return 2 * (rows * c.num_hidden_layers * (projections + attention) + head);
}

describe('operations', () => {
  const text = (samples: number, positions: number, targets: number) => ({
    samples,
    positions,
    tiles: 0,
    regions: 0,
    targets,
  });
  const models: [string, string[]][] = [
    ['as it is', []],
    [
      'wider and deeper',
      ['model.llm.hidden_size=128', 'model.llm.num_hidden_layers=3', 'model.llm.head_dim=32'],
    ],
    ['without grouped keys', ['model.llm.num_key_value_heads=4', 'model.llm.intermediate_size=100']],
  ];

  it.each(models)(
    'of a frozen decoder behind a projector: forward and inputs, no weights; %s',
    async (_, set) => {
      const recipe = tinyStage(1, ['from=null', ...set]);
      const { model } = recipe;
      const sizes = text(2, 80, 32);
      const whole = await traceStep(recipe, [conversationBatch(model, sizes)]);
      const { global_encoder: e, llm, image } = model;
      const patches = (image.side / e.patch_size) ** 2;
      const images = 2 * patches;
      const tokens = 2 * (patches + 1);
      const encoder =
        2 * images * 3 * e.patch_size ** 2 * e.hidden_size +
        e.num_hidden_layers *
          (2 * tokens * (4 * e.hidden_size ** 2 + 2 * e.hidden_size * e.intermediate_size) +
            4 * tokens * (patches + 1) * e.hidden_size);
      const first = 2 * images * e.hidden_size * llm.hidden_size;
      const second = 2 * images * llm.hidden_size ** 2;
      // Forward; weight gradients of both layers; the input's gradient of the second only.
      const projector = 2 * first + 3 * second;
      const positions = 2 * images * 2 * (llm.hidden_size / 2);
      // Backward of attention takes five products to the two of its forward, of frozen projections one.
      const forward = decoderFlops(llm, 160, 80, 32);
      const queries = llm.num_attention_heads * llm.head_dim;
      const attention = 2 * 160 * llm.num_hidden_layers * 3 * queries * 40;
      expect(flops(whole)).toBe(encoder + projector + positions + 2 * forward + attention);
    },
  );

  it.each(models)('of a decoder that trains: weights as well; %s', async (_, set) => {
    const frozen = await trace(tinyStage(1, ['from=null', ...set]));
    const trained = tinyStage(1, ['from=null', 'train=projector.global,llm', ...set]);
    const { llm } = trained.model;
    const sizes = sceneSizes(2, 'global');
    const rows = sizes.samples * sizes.positions;
    const queries = llm.num_attention_heads * llm.head_dim;
    const keys = llm.num_key_value_heads * llm.head_dim;
    const perRow = llm.hidden_size * (2 * queries + 2 * keys) + 3 * llm.hidden_size * llm.intermediate_size;
    const weights =
      2 * (rows * llm.num_hidden_layers * perRow + sizes.targets * llm.hidden_size * llm.vocab_size);
    expect(flops(await trace(trained)) - flops(frozen)).toBe(weights);
  });
});

describe('activations', () => {
  const depth = (layers: number): string => `model.global_encoder.num_hidden_layers=${layers}`;

  it('of a frozen encoder are not kept, of one that trains they are', async () => {
    const peaks = async (train: string): Promise<number[]> => {
      const found: number[] = [];
      for (const layers of [2, 10]) {
        const step = await trace(tinyStage(1, ['from=null', `train=${train}`, depth(layers)]), 8);
        found.push(gradientsOf(step).peak.bytes);
      }
      return found;
    };
    const [shallow = 0, deep = 0] = await peaks('projector.global');
    expect(deep).toBe(shallow);
    const [trainedShallow = 0, trainedDeep = 0] = await peaks('projector.global,encoder.global');
    expect(trainedShallow).toBeGreaterThan(shallow);
    expect(trainedDeep).toBeGreaterThan(1.3 * trainedShallow);
  });

  it('of what is frozen behind a module that trains are kept', async () => {
    const peak = async (layers: number): Promise<number> => {
      const step = await trace(tinyStage(1, ['from=null', `model.llm.num_hidden_layers=${layers}`]), 8);
      return gradientsOf(step).peak.bytes;
    };
    expect(await peak(8)).toBeGreaterThan(2.5 * (await peak(2)));
  });

  it('grow with the samples', async () => {
    const recipe = tinyStage(3, ['from=null']);
    const [two, eight] = [gradientsOf(await trace(recipe, 2)), gradientsOf(await trace(recipe, 8))];
    expect(eight.peak.bytes / two.peak.bytes).toBeGreaterThan(3);
    expect(eight.cost.flops / two.cost.flops).toBeCloseTo(4, 1);
  });
});

describe('gradients', () => {
  it('are those of what trains and is reached', async () => {
    const stage1 = await trace(tinyStage(1, ['from=null']));
    const projector = stage1.training.modules.find(m => m.group === 'projector.global');
    // And the loss, one number.
    expect(stage1.gradientBytes).toBe(4 * (projector?.parameters ?? 0) + 4);
  });
});
