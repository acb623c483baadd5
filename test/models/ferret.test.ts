import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { tensorCount } from '../../src/engine/memory.ts';
import * as tf from '../../src/engine/tf.ts';
import { GroundError } from '../../src/errors.ts';
import type { ModelConfig } from '../../src/models/config.ts';
import { Ferret } from '../../src/models/ferret.ts';
import { regionPooling } from '../../src/models/sampler.ts';
import {
  type ConversationTensors,
  disposeTensors,
  listTensors,
  toTensors,
} from '../../src/models/tensors.ts';
import { type Parameter, ParameterTree } from '../../src/nn/parameter.ts';
import { Random } from '../../src/random.ts';
import { startTestEngine } from '../helpers/engine.ts';
import { expectClose } from '../helpers/numbers.ts';
import { type BatchOptions, tinyBatch, tinyConfig, tinyContrastive } from '../helpers/tiny-ferret.ts';

let before = 0;
let model: Ferret;

beforeAll(startTestEngine);
beforeEach(() => {
  before = tensorCount();
  model = allocated(tinyConfig);
});
afterEach(() => {
  model.parameters.dispose();
  expect(tensorCount()).toBe(before);
});

function allocated(config: ModelConfig, seed = 1): Ferret {
  const made = new Ferret(config);
  made.parameters.allocate(seed);
  return made;
}

function withTensors<T>(options: BatchOptions, use: (batch: ConversationTensors) => T): T {
  const batch = toTensors(tinyBatch(options));
  try {
    return use(batch);
  } finally {
    disposeTensors(batch);
  }
}

const numberOf = (x: tf.Tensor): number => x.dataSync()[0] ?? Number.NaN;

/**
 * Compares each parameter's gradient with the central difference of the loss along a random direction. Parameters in
 * `zero` must have none.
 */
function expectGradients(target: Ferret, loss: () => tf.Scalar, zero: ReadonlySet<string>): void {
  const parameters = target.parameters.all;
  const gradients = tf.tidy(() => {
    const { grads } = tf.engine().gradients(
      loss,
      parameters.map(p => p.value),
      undefined,
      true,
    );
    return grads.map((g: tf.Tensor | undefined) => g && Float32Array.from(g.dataSync()));
  });
  const evaluate = (): number => tf.tidy(() => numberOf(loss()));
  const wrong = parameters.flatMap((parameter, i) => {
    const gradient = gradients[i];
    if (zero.has(parameter.name))
      return gradient?.some(x => x !== 0) ? [`${parameter.name} has a gradient`] : [];
    if (gradient === undefined) return [`${parameter.name} has no gradient`];
    const { slope, product } = alongDirection(parameter, gradient, evaluate);
    return Math.abs(slope - product) > 2e-3 + 0.02 * Math.abs(product)
      ? [`${parameter.name}: finite difference ${slope}, gradient ${product}`]
      : [];
  });
  expect(wrong).toEqual([]);
}

/** The slope of the loss along a random direction of a parameter, by finite difference and by its gradient. */
function alongDirection(parameter: Parameter, gradient: Float32Array, evaluate: () => number) {
  const random = new Random('direction', parameter.name);
  const original = Float32Array.from(parameter.value.dataSync());
  const direction = original.map(() => random.normal());
  const length = Math.hypot(...direction);
  const step = 1e-3;
  const at = (offset: number): number => {
    const moved = original.map((x, i) => x + (offset * (direction[i] ?? 0)) / length);
    parameter.assign(tf.tensor(moved, [...parameter.shape]));
    return evaluate();
  };
  const slope = (at(step) - at(-step)) / (2 * step);
  at(0);
  const product = gradient.reduce((sum, g, i) => sum + (g * (direction[i] ?? 0)) / length, 0);
  return { slope, product };
}

describe('languageLoss', () => {
  it.each([
    ['encoder features, max pooling', tinyConfig],
    [
      'projected features, mean pooling, tied embeddings, swiglu',
      {
        ...tinyConfig,
        referring: { ...tinyConfig.referring, features: 'projected' },
        sampler: { ...tinyConfig.sampler, pooling: 'mean' },
        llm: { ...tinyConfig.llm, tie_word_embeddings: true, attention_bias: true },
        local_encoder: { ...tinyConfig.local_encoder, use_swiglu_ffn: true },
        projector: { ...tinyConfig.projector, positions: 'none' },
      } satisfies ModelConfig,
    ],
    [
      'average pooling of regions, CLIP on the tiles',
      {
        ...tinyConfig,
        tile_encoder: 'global_encoder',
        sampler: { ...tinyConfig.sampler, kind: 'average', blocks: [] },
      } satisfies ModelConfig,
    ],
  ])('has the gradients of its finite differences: %s', (_, config) => {
    const target = allocated(config);
    withTensors({}, batch => {
      const loss = () => tf.div(target.languageLoss(batch, target.visual(batch)).loss, 10) as tf.Scalar;
      expectGradients(target, loss, target.unusedBy('conversation'));
    });
    target.parameters.dispose();
  });

  it('is the weighted sum of the cross-entropies of logits()', () => {
    const batch = tinyBatch();
    withTensors({}, tensors => {
      tf.tidy(() => {
        const visual = model.visual(tensors);
        const { loss, weight } = model.languageLoss(tensors, visual);
        const logits = model.logits(tensors, visual);
        expect(logits.shape).toEqual([2, batch.length, tinyConfig.llm.vocab_size]);
        const scores = tf.logSoftmax(tf.reshape(logits, [2 * batch.length, -1])).arraySync() as number[][];
        const want = batch.targets.data.reduce((sum, id, i) => {
          const row = scores[batch.targetRows.data[i] ?? 0] ?? [];
          return sum - (row[id] ?? 0) * (batch.targetWeights.data[i] ?? 0);
        }, 0);
        expect(numberOf(loss)).toBeCloseTo(want, 3);
        expect(numberOf(weight)).toBe(10);
      });
    });
  });

  it('needs gradients of nothing frozen: visual features computed outside give the same loss', () => {
    withTensors({}, batch => {
      tf.tidy(() => {
        const constant = model.visual(batch);
        const trained = model.parameters.under('projector.global');
        const { value, grads } = tf.engine().gradients(
          () => model.languageLoss(batch, constant).loss,
          trained.map(p => p.value),
        );
        expect(numberOf(value)).toBeCloseTo(numberOf(model.languageLoss(batch, model.visual(batch)).loss), 4);
        expect(grads.every(g => g.shape.length > 0)).toBe(true);
      });
    });
  });

  it.each<[string, BatchOptions]>([
    ['text alone', { images: false, tiles: [], regions: [] }],
    ['no tiles', { tiles: [] }],
    ['no regions', { regions: [] }],
    ['neither', { tiles: [], regions: [] }],
    ['tiles of one sample only', { tiles: [0, 2] }],
  ])('works on a batch with %s', (_, options) => {
    withTensors(options, batch => {
      const loss = tf.tidy(() => {
        const { value } = tf.engine().gradients(
          () => model.languageLoss(batch, model.visual(batch)).loss,
          model.parameters.all.map(p => p.value),
          undefined,
          true,
        );
        return numberOf(value);
      });
      expect(loss).toBeGreaterThan(0);
      expect(Number.isFinite(loss)).toBe(true);
    });
  });

  it('is zero, and weighs nothing, where nothing is supervised', () => {
    withTensors({ supervised: false }, batch => {
      tf.tidy(() => {
        const { loss, weight } = model.languageLoss(batch, model.visual(batch));
        expect([numberOf(loss), numberOf(weight)]).toEqual([0, 0]);
      });
    });
  });

  it('does not depend on other samples, nor on what comes later', () => {
    // Without regions: the hand-made ones read the maps of all samples.
    const plain = tinyBatch({ regions: [] });
    const logitsOf = (batch: typeof plain): number[][][] => {
      const tensors = toTensors(batch);
      const logits = tf.tidy(() => model.logits(tensors, model.visual(tensors)).arraySync());
      disposeTensors(tensors);
      return logits;
    };
    const changedFrom = (position: number) => (x: number, i: number) => (i >= position ? (x + 1) % 11 : x);
    const want = logitsOf(plain);
    const ownLength = plain.mask.data.subarray(0, plain.length).reduce((n, x) => n + x, 0);
    const otherSample = logitsOf({
      ...plain,
      tokens: { ...plain.tokens, data: plain.tokens.data.map(changedFrom(plain.length)) },
      globalPixels: { ...plain.globalPixels, data: plain.globalPixels.data.map(changedFrom(192)) },
    });
    expect(otherSample[0]?.slice(0, ownLength)).toEqual(want[0]?.slice(0, ownLength));
    expect(otherSample[1]).not.toEqual(want[1]);
    const lastToken = logitsOf({
      ...plain,
      tokens: { ...plain.tokens, data: plain.tokens.data.map(changedFrom(ownLength - 1)) },
    });
    expect(lastToken[0]?.slice(0, ownLength - 1)).toEqual(want[0]?.slice(0, ownLength - 1));
    expect(lastToken[0]?.[ownLength - 1]).not.toEqual(want[0]?.[ownLength - 1]);
  });
});

describe('contrastiveLoss', () => {
  it('has the gradients of its finite differences', () => {
    const batch = toTensors(tinyContrastive());
    // At CLIP's own scale the loss bends too much for differences in float32.
    model.parameters.get('contrastive.logit_scale')?.assign(tf.scalar(Math.log(2)));
    expectGradients(model, () => model.contrastiveLoss(batch), model.unusedBy('contrastive'));
    disposeTensors(batch);
  });

  it('has the gradients of its finite differences where patches meet phrases as they are', () => {
    const pretraining = { ...tinyConfig.pretraining!, projection_dim: 8, shared_space: true };
    const target = allocated({ ...tinyConfig, pretraining });
    expect(target.parameters.under('contrastive').map(({ name }) => name)).toEqual([
      'contrastive.global_projection.weight',
      'contrastive.logit_scale',
    ]);
    const batch = toTensors(tinyContrastive());
    target.parameters.get('contrastive.logit_scale')?.assign(tf.scalar(Math.log(2)));
    expectGradients(target, () => target.contrastiveLoss(batch), target.unusedBy('contrastive'));
    disposeTensors(batch);
    target.parameters.dispose();
  });

  it('does not change with what only pads', () => {
    const plain = tinyContrastive();
    const other = {
      ...plain,
      localPixels: {
        ...plain.localPixels,
        data: plain.localPixels.data.map((x, i) => (i >= 3 * 192 ? 9 : x)),
      },
      phrases: { ...plain.phrases, data: plain.phrases.data.map((id, i) => (i === 12 ? 5 : id)) },
    };
    const losses = [plain, other].map(b => {
      const batch = toTensors(b);
      const loss = tf.tidy(() => numberOf(model.contrastiveLoss(batch)));
      disposeTensors(batch);
      return loss;
    });
    expect(losses[1]).toBe(losses[0]);
  });

  it('is refused without a text encoder', () => {
    const { pretraining: _, ...config } = tinyConfig;
    const batch = toTensors(tinyContrastive());
    expect(() => new Ferret(config).contrastiveLoss(batch)).toThrow(GroundError);
    disposeTensors(batch);
  });
});

describe('decoding with a cache', () => {
  it('gives the scores of the whole sequence, for samples of different lengths', () => {
    const generated = [
      [4, 7, 1],
      [9, 2, 2],
    ];
    const prompt = tinyBatch();
    const cached: tf.Tensor2D[] = [];
    withTensors({}, batch => {
      const visual = model.visual(batch);
      let step = model.prefill(batch, visual);
      cached.push(step.logits);
      for (let i = 0; i < 3; i++) {
        const tokens = tf.tensor1d(
          generated.map(g => g[i] ?? 0),
          'int32',
        );
        step = model.decode(tokens, step.cache);
        cached.push(step.logits);
        tokens.dispose();
      }
      model.release(step.cache);
      tf.dispose([visual.global as tf.Tensor, visual.local as tf.Tensor]);
    });
    const lengths = [0, 1].map(b =>
      prompt.mask.data.subarray(b * prompt.length, (b + 1) * prompt.length).reduce((n, x) => n + x, 0),
    );
    tf.tidy(() => {
      const batch = toTensors(prompt);
      const embeddings = model.embeddings(batch, model.visual(batch));
      for (const [b, length] of lengths.entries()) {
        const own = tf.slice(embeddings, [b * prompt.length, 0], [length, -1]);
        const said = model.llm.embed(tf.tensor1d(generated[b] ?? [], 'int32'));
        const whole = tf.concat([own, said], 0);
        const { states } = model.llm.decode(whole, model.llm.sequence(1, length + 3));
        const logits = model.llm.logits(model.llm.normalized(states[states.length - 1] as tf.Tensor2D));
        for (const [i, scores] of cached.entries()) {
          expectClose(tf.slice(scores, [b, 0], [1, -1]), tf.slice(logits, [length - 1 + i, 0], [1, -1]));
        }
      }
    });
    tf.dispose(cached);
  });
});

describe('regions', () => {
  it('read both maps at the points, and the vectors stand where the batch puts them', () => {
    const plain = tinyBatch();
    const shown = (batch: typeof plain): number[][] => {
      const tensors = toTensors(batch);
      const rows = tf.tidy(() => model.embeddings(tensors, model.visual(tensors)).arraySync());
      disposeTensors(tensors);
      return rows;
    };
    const want = shown(plain);
    const changed = (weights: 'globalWeights' | 'localWeights'): number[] => {
      const own = plain.regions[weights];
      const data = own.data.map((w, i) => (i < 24 ? w + 0.5 : w));
      const got = shown({ ...plain, regions: { ...plain.regions, [weights]: { ...own, data } } });
      return got.flatMap((row, t) => (row.some((x, i) => x !== want[t]?.[i]) ? [t] : []));
    };
    // Region 0 belongs to sample 0 and stands after 3 words, 4 global and 8 local tokens.
    expect(changed('globalWeights')).toEqual([15]);
    expect(changed('localWeights')).toEqual([15]);
  });
});

describe('the variants of the ablation', () => {
  it('average pooling is the mean of the features at the points, projected', () => {
    const sampler = new ParameterTree();
    const pooling = regionPooling(
      sampler.root.at('sampler'),
      { kind: 'average', points: 3, blocks: [], pooling: 'max' },
      2,
      4,
    );
    sampler.allocate(3);
    const names = sampler.all.map(p => p.name);
    expect(names).toEqual(['sampler.region_fea_adapter.weight', 'sampler.region_fea_adapter.bias']);
    const points = [
      [1, 2],
      [3, -4],
      [5, 8],
      [0, 1],
      [0, 1],
      [3, 1],
    ];
    const got = tf.tidy(() => pooling.apply(tf.tensor2d(points), 2, []).arraySync());
    const [weight, bias] = sampler.all.map(p => p.value.arraySync()) as [number[][], number[]];
    const want = [
      [3, 2],
      [1, 1],
    ].map(([x = 0, y = 0]) => weight.map(([a = 0, b = 0], i) => a * x + b * y + (bias[i] ?? 0)));
    want.flat().forEach((value, i) => {
      expect(got.flat()[i]).toBeCloseTo(value, 5);
    });
    sampler.dispose();
  });

  it('CLIP sees tiles as it sees whole images, and nothing reads the local encoder', () => {
    const target = allocated({ ...tinyConfig, tile_encoder: 'global_encoder' });
    withTensors({}, batch => {
      const [tiles, whole] = tf.tidy(() => [
        target.visual({ globalPixels: null, localPixels: batch.localPixels }).local?.arraySync(),
        target.visual({ globalPixels: batch.localPixels, localPixels: null }).global?.arraySync(),
      ]);
      expect(tiles).toEqual(whole);
      expect(tiles?.length).toBeGreaterThan(0);
    });
    const local = target.parameters.under('encoder.local').map(({ name }) => name);
    for (const kind of ['conversation', 'contrastive'] as const) {
      expect(local.filter(name => !target.unusedBy(kind).has(name))).toEqual([]);
    }
    expect([...target.unusedBy('contrastive')].some(name => name.startsWith('encoder.global'))).toBe(false);
    target.parameters.dispose();
  });
});

describe('parameters', () => {
  it('start the same for the same seed, and do not depend on other modules', () => {
    const { pretraining: _, ...smaller } = tinyConfig;
    const again = allocated(smaller);
    const other = allocated(smaller, 2);
    for (const p of again.parameters.all) {
      expect([...p.value.dataSync()]).toEqual([...(model.parameters.get(p.name)?.value.dataSync() ?? [])]);
    }
    const name = 'llm.model.embed_tokens.weight';
    expect(other.parameters.get(name)?.value.dataSync()).not.toEqual(
      again.parameters.get(name)?.value.dataSync(),
    );
    again.parameters.dispose();
    other.parameters.dispose();
  });

  it('are named by module', () => {
    const groups = new Set(model.parameters.all.map(p => p.name.split('.').slice(0, 2).join('.')));
    expect([...groups]).toEqual([
      'encoder.global',
      'encoder.local',
      'projector.global',
      'projector.local',
      'sampler.diff_projector_list',
      'sampler.agg_projector_list',
      'sampler.flatten_projector',
      'sampler.dim_projector',
      'llm.model',
      'llm.lm_head',
      'text_encoder.text_model',
      'text_encoder.text_projection',
      'contrastive.global_projection',
      'contrastive.global_region_projection',
      'contrastive.local_projection',
      'contrastive.logit_scale',
    ]);
  });

  it('that no loss reads are known', () => {
    const unused = [...model.unused];
    expect(unused).toContain('encoder.local.embeddings.mask_token');
    expect(unused).toContain('encoder.local.layernorm.weight');
    expect(unused.some(name => name.startsWith('encoder.global'))).toBe(false);
    const { pretraining: _, ...config } = tinyConfig;
    const alone = [...new Ferret(config).unused];
    expect(alone).toContain('encoder.global.vision_model.encoder.layers.1.mlp.fc1.weight');
    expect(alone).not.toContain('encoder.global.vision_model.encoder.layers.0.mlp.fc1.weight');
  });
});

describe('a model whose parts do not fit', () => {
  const { global_encoder, referring, image, llm, local_encoder } = tinyConfig;
  it.each<[string, Partial<ModelConfig>, RegExp]>([
    [
      'encoders of different widths',
      { global_encoder: { ...global_encoder, hidden_size: 16 } },
      /widths 16.*8/,
    ],
    ['a side that patches do not divide', { image: { ...image, side: 10 } }, /image.side 10/],
    [
      'a layer that is not there',
      { local_encoder: { ...local_encoder, feature_layer: -4 } },
      /feature_layer -4/,
    ],
    ['heads that do not divide', { llm: { ...llm, num_key_value_heads: 3 } }, /4 heads/],
  ])('is refused: %s', (_, change, message) => {
    expect(() => new Ferret({ ...tinyConfig, ...change })).toThrow(message);
  });

  it('but projected features may come from encoders of different widths', () => {
    const config = {
      ...tinyConfig,
      global_encoder: { ...global_encoder, hidden_size: 16 },
      referring: { ...referring, features: 'projected' },
    } satisfies ModelConfig;
    expect(new Ferret(config).parameters.all.length).toBeGreaterThan(0);
  });
});

describe('toTensors', () => {
  it('makes no empty tensor and lists all in one order', () => {
    const batch = toTensors(tinyBatch({ images: false, tiles: [], regions: [], supervised: false }));
    const positions = batch.size * batch.length;
    const shapes = listTensors(batch).map(t => t.shape);
    expect(shapes).toEqual([[positions], [positions], [positions + 1]]);
    disposeTensors(batch);
  });
});
