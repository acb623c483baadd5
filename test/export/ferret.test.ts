import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { startEngine } from '../../src/engine/engine.ts';
import * as tf from '../../src/engine/tf.ts';
import { compareSample, workSample } from '../../src/export/check.ts';
import { exportFerret } from '../../src/export/ferret.ts';
import { recordFerret } from '../../src/export/network.ts';
import { lowerGraph } from '../../src/export/onnx/lower.ts';
import { openOnnx } from '../../src/export/onnx/run.ts';
import { writeOnnx } from '../../src/export/onnx/write.ts';
import { type SampleSizes, syntheticBatch } from '../../src/export/synthetic.ts';
import { unifyRecordings } from '../../src/export/unify.ts';
import type { ModelConfig } from '../../src/models/config.ts';
import type { Ferret } from '../../src/models/ferret.ts';
import { openSafetensors } from '../../src/models/safetensors.ts';
import { Random } from '../../src/random.ts';
import { startTestEngine } from '../helpers/engine.ts';
import { temporaryFolder } from '../helpers/folder.ts';
import { findPython, runPython } from '../helpers/python.ts';
import { newModel, sourceIn } from './source.ts';
import { tinyModel } from './tiny-model.ts';

const description = { name: 'test', producer: { name: 'test', version: '0' }, metadata: {} };

/** Exports a model and compares it at several sizes. */
async function differencesOf(
  model: Ferret,
  views: 'global' | 'global+local',
  sizes: readonly SampleSizes[],
): Promise<number[]> {
  const folder = temporaryFolder();
  await writeOnnx(folder, lowerGraph(unifyRecordings(recordFerret(model, 64, views))), description);
  const session = await openOnnx(folder);
  const relative: number[] = [];
  for (const size of sizes) {
    const batch = syntheticBatch(model.config, size, new Random('sizes', JSON.stringify(size)));
    relative.push((await compareSample(session, batch, workSample(model, batch))).relative);
  }
  await session.close();
  return relative;
}

const SIZES = [
  { tokens: 64, tiles: 4, regions: 4 },
  { tokens: 1, tiles: 1, regions: 1 },
  { tokens: 37, tiles: 2, regions: 7 },
  { tokens: 50, tiles: 9, regions: 1 },
];

beforeAll(async () => {
  await startTestEngine();
});

describe('a whole Ferret in ONNX', () => {
  const tiny = tinyModel();
  const CASES: readonly (readonly [string, Partial<ModelConfig>])[] = [
    ['as it is', {}],
    [
      'projected features, mean pooling, no positions',
      {
        referring: { ...tiny.referring, features: 'projected' },
        sampler: { ...tiny.sampler, pooling: 'mean' },
        projector: { ...tiny.projector, positions: 'none' },
      },
    ],
    [
      'Qwen2, DINOv2 with registers and SwiGLU, earlier layers, resampled positions',
      {
        llm: { ...tiny.llm, attention_bias: true, tie_word_embeddings: true },
        global_encoder: { ...tiny.global_encoder, feature_layer: -2, image_size: 12 },
        local_encoder: {
          ...tiny.local_encoder,
          num_register_tokens: 2,
          use_swiglu_ffn: true,
          image_size: 24,
        },
      },
    ],
  ];

  test.for(CASES)('%s', async ([, overrides]) => {
    const model = newModel(overrides);
    const relative = await differencesOf(model, 'global+local', SIZES);
    expect(Math.max(...relative)).toBeLessThanOrEqual(1e-5);
    model.parameters.dispose();
  });

  test('the global view alone', async () => {
    const model = newModel();
    const relative = await differencesOf(
      model,
      'global',
      SIZES.map(s => ({ ...s, tiles: 0 })),
    );
    expect(Math.max(...relative)).toBeLessThanOrEqual(1e-5);
    model.parameters.dispose();
  });

  test('no region at all: arrays without elements', async () => {
    const model = newModel();
    const folder = temporaryFolder();
    await writeOnnx(
      folder,
      lowerGraph(unifyRecordings(recordFerret(model, 64, 'global+local'))),
      description,
    );
    const batch = syntheticBatch(model.config, { tokens: 20, tiles: 2, regions: 0 }, new Random('none'));
    const { inputs, logits } = workSample(model, batch);
    const session = await openOnnx(folder);
    const one = workSample(
      model,
      syntheticBatch(model.config, { tokens: 4, tiles: 1, regions: 1 }, new Random('one')),
    );
    const regions = Object.entries(one.inputs).filter(([name]) => name.startsWith('regions.'));
    const empty = regions.map(([name, t]) => [
      name,
      { ...t, data: t.data.slice(0, 0), shape: [0, ...t.shape.slice(1)] },
    ]);
    const there = (await session.run({ ...inputs, ...Object.fromEntries(empty) })).logits;
    const worst = logits.data.reduce(
      (w, score, i) => Math.max(w, Math.abs(score - (there?.data[i] ?? Number.NaN))),
      0,
    );
    expect(worst).toBeLessThanOrEqual(1e-4);
    await session.close();
    model.parameters.dispose();
  });

  test('recorded on WebAssembly it is the same graph', async () => {
    const model = newModel();
    const here = lowerGraph(unifyRecordings(recordFerret(model, 64, 'global+local')));
    model.parameters.dispose();
    await startEngine({ engine: 'wasm' });
    const again = newModel();
    const there = lowerGraph(unifyRecordings(recordFerret(again, 64, 'global+local')));
    again.parameters.dispose();
    await startTestEngine();
    expect(there.nodes.map(n => n.op)).toEqual(here.nodes.map(n => n.op));
    expect(there.inputs).toEqual(here.inputs);
  });

  test('weights keep their names and layout; what the scores do not need is left out', () => {
    const model = newModel();
    const graph = lowerGraph(unifyRecordings(recordFerret(model, 64, 'global+local')));
    const unused = model.unusedBy('conversation');
    const expected = model.parameters.all.filter(p => !unused.has(p.name));
    const stored = new Map(graph.initializers.map(i => [i.name, i.shape]));
    for (const p of expected) expect([p.name, stored.get(p.name)]).toEqual([p.name, p.shape]);
    expect([...unused].filter(name => stored.has(name))).toEqual([]);
    model.parameters.dispose();
  });

  test('a length that the model has no room for is refused', () => {
    const model = newModel();
    expect(() => recordFerret(model, 129, 'global')).toThrow(
      '--length 129: expected a whole number from 16 to 128',
    );
    expect(() => recordFerret(model, 15, 'global')).toThrow('--length 15');
    model.parameters.dispose();
  });
});

describe('exportFerret', () => {
  test('writes a folder that another runtime can use', async () => {
    const folder = temporaryFolder();
    const loaded = sourceIn(folder);
    const before = tf.memory().numTensors;
    const out = join(folder, 'onnx');
    const report = await exportFerret(loaded, { out, version: '0.0.0' });
    expect(tf.memory().numTensors).toBe(before);
    expect(readdirSync(out).sort()).toEqual([
      'README.md',
      'example.safetensors',
      'model.json',
      'model.onnx',
      'model.onnx_data',
      'tokenizer.json',
    ]);
    expect(report.differences?.map(d => d.relative <= 1e-5)).toEqual([true, true, true]);
    const real = report.differences?.[0];
    expect([real?.tiles, real?.regions].every(n => (n ?? 0) > 0)).toBe(true);
    const readme = readFileSync(join(out, 'README.md'), 'utf8');
    for (const input of report.inputs)
      expect(readme).toMatch(new RegExp(`\\| \`${input}\` \\| \\w+ \\| \\[.+\\] \\| \\w`));
    expect(JSON.parse(readFileSync(join(out, 'model.json'), 'utf8'))).toMatchObject({
      tokenizer: 'tokenizer.json',
    });

    const again = await exportFerret(loaded, { out, version: '0.0.0', length: 100, check: false });
    expect(again.differences).toBeNull();
    expect(existsSync(join(out, 'example.safetensors'))).toBe(false);
    loaded.model.parameters.dispose();
  });

  test('a folder with anything else in it is left alone', async () => {
    const folder = temporaryFolder();
    const loaded = sourceIn(folder);
    await expect(exportFerret(loaded, { out: folder, version: '0' })).rejects.toThrow(
      `--out ${folder} holds other files (tokenizer.json)`,
    );
    loaded.model.parameters.dispose();
  });

  const python = findPython(['onnx', 'onnxruntime', 'safetensors']);
  test.skipIf(!python)('the ONNX checker accepts it and Python gives the same scores', async () => {
    const folder = temporaryFolder();
    const loaded = sourceIn(folder);
    const out = join(folder, 'onnx');
    await exportFerret(loaded, { out, version: '0' });
    const script = `
import sys, onnx, onnxruntime, safetensors.numpy as st
out = sys.argv[1]
onnx.checker.check_model(out + '/model.onnx', full_check=True)
example = st.load_file(out + '/example.safetensors')
session = onnxruntime.InferenceSession(out + '/model.onnx')
logits, = session.run(None, {i.name: example['in.' + i.name] for i in session.get_inputs()})
print(abs(logits - example['out.logits']).max())`;
    expect(Number(runPython(python as string, script, [out]))).toBeLessThanOrEqual(1e-4);
    const example = await openSafetensors(join(out, 'example.safetensors'));
    expect(example.tensors.has('out.logits')).toBe(true);
    await example.close();
    loaded.model.parameters.dispose();
  });
});
