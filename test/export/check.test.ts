import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import * as tf from '../../src/engine/tf.ts';
import { compareSample, requireClose } from '../../src/export/check.ts';
import { type ExportSource, exportFerret } from '../../src/export/ferret.ts';
import { type OnnxSession, openOnnx } from '../../src/export/onnx/run.ts';
import { syntheticBatch } from '../../src/export/synthetic.ts';
import { Random } from '../../src/random.ts';
import { startTestEngine } from '../helpers/engine.ts';
import { temporaryFolder } from '../helpers/folder.ts';
import { sourceIn } from './source.ts';
import { tinyModel } from './tiny-model.ts';

beforeAll(async () => {
  await startTestEngine();
});

describe('comparing with onnxruntime', () => {
  const batch = syntheticBatch(tinyModel(), { tokens: 2, tiles: 1, regions: 1 }, new Random('check'));
  const shape = [1, 2, 3];
  const here = {
    inputs: {},
    logits: { data: Float32Array.of(1, 5, 2, -8, 3, 2), shape, type: 'float32' as const },
  };
  const answering = (data: number[], answered = shape): OnnxSession => ({
    inputNames: [],
    outputNames: ['logits'],
    run: async () => ({ logits: { data: Float32Array.from(data), shape: answered, type: 'float32' } }),
    close: async () => {},
  });

  test('finds the largest difference and the positions that would go on otherwise', async () => {
    expect(await compareSample(answering([1, 5, 2, -8.5, 3, 3.25]), batch, here)).toEqual({
      sample: 'synthetic',
      tokens: 2,
      tiles: 1,
      regions: 1,
      absolute: 1.25,
      relative: 1.25 / 8,
      otherTokens: 1,
    });
  });

  test('a score that is no number is the worst difference', async () => {
    const difference = await compareSample(answering([1, 5, 2, Number.NaN, 3, 2]), batch, here);
    expect(difference.absolute).toBe(Number.POSITIVE_INFINITY);
    expect(() => requireClose([difference])).toThrow(
      'on synthetic the exported model differs from TensorFlow.js',
    );
  });

  test('scores of another shape are refused', async () => {
    await expect(compareSample(answering([1, 5, 2], [1, 1, 3]), batch, here)).rejects.toThrow(
      'logits are [1,1,3], expected [1,2,3]',
    );
  });
});

describe('what goes wrong is said, and nothing is left behind', () => {
  afterEach(() => {
    vi.doUnmock('onnxruntime-node');
    vi.resetModules();
  });

  function poisoned(folder: string): ExportSource {
    const source = sourceIn(folder);
    const weight = source.model.parameters.get('llm.lm_head.weight');
    weight?.assign(tf.fill([...weight.shape], Number.NaN));
    return source;
  }

  test('a model without numbers', async () => {
    const folder = temporaryFolder();
    const source = poisoned(folder);
    const out = join(folder, 'onnx');
    await expect(exportFerret(source, { out, version: '0' })).rejects.toThrow(
      /on scene-export-.* differs from TensorFlow\.js by Infinity/,
    );
    expect(existsSync(out)).toBe(false);
    await exportFerret(source, { out, version: '0', check: false });
    expect(existsSync(join(out, 'model.onnx'))).toBe(true);
    source.model.parameters.dispose();
  });

  test('no onnxruntime-node', async () => {
    vi.resetModules();
    vi.doMock('onnxruntime-node', () => {
      throw new Error('Cannot find package');
    });
    const { openOnnx: open } = await import('../../src/export/onnx/run.ts');
    await expect(open('nowhere')).rejects.toMatchObject({
      code: 'export',
      message: expect.stringMatching(/^cannot load onnxruntime-node: /),
      hint: expect.stringContaining('--no-check'),
    });
  });

  test('a file that is no model', async () => {
    await expect(openOnnx(temporaryFolder())).rejects.toThrow(/model\.onnx is missing$/);
  });
});
