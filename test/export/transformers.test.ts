import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Conversation } from '../../src/data/conversation.ts';
import { prepareSample, type Sample } from '../../src/data/sample.ts';
import { renderScene } from '../../src/data/sources/scenes.ts';
import { taskContext } from '../../src/data/tasks/context.ts';
import { conversationOf } from '../../src/data/tasks/index.ts';
import { answerPrompts } from '../../src/eval/answer.ts';
import type { WeightType } from '../../src/export/onnx/weights.ts';
import { openOnnxModel } from '../../src/export/onnx-model.ts';
import { readSettings } from '../../src/export/onnx-settings.ts';
import { exportTransformers, type TransformersReport } from '../../src/export/transformers.ts';
import { startTestEngine } from '../helpers/engine.ts';
import { temporaryFolder } from '../helpers/folder.ts';
import { sourceIn } from './source.ts';

const folder = mkdtempSync(join(tmpdir(), 'ground-test-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const source = sourceIn(folder);
const reports = new Map<WeightType, TransformersReport>();

beforeAll(async () => {
  await startTestEngine();
  for (const dtype of ['fp32', 'fp16', 'int8'] as const) {
    reports.set(dtype, await exportTransformers(source, { out: join(folder, dtype), version: '0', dtype }));
  }
});

/** Prompts about rendered scenes, with and without regions, of different lengths. */
async function promptsOf(count: number): Promise<Sample[]> {
  const context = { model: source.model.config, tokenizer: source.tokenizer, seed: 0 };
  const prompts: Sample[] = [];
  for (let index = 0; prompts.length < count; index++) {
    const record = await renderScene(1, index, { split: 'greedy' });
    const task = index % 2 === 0 ? 'reg' : 'rec';
    const conversation: Conversation | null = conversationOf(record, task, taskContext({ rounds: 1 }));
    if (!conversation) continue;
    const views = { ...context, views: 'global+local' as const };
    const sample = await prepareSample(record, conversation, views, { prompt: true }).catch(() => null);
    if (sample) prompts.push(sample);
  }
  return prompts;
}

describe('the layout of transformers.js', () => {
  test('has a file for each piece, and what goes with them', () => {
    expect(readdirSync(join(folder, 'fp16')).sort()).toEqual([
      'README.md',
      'config.json',
      'generation_config.json',
      'ground.json',
      'onnx',
      'preprocessor_config.json',
      'tokenizer.json',
      'tokenizer_config.json',
    ]);
    const graphs = readdirSync(join(folder, 'fp16', 'onnx')).filter(name => name.endsWith('.onnx'));
    expect(graphs.sort()).toEqual([
      'decoder_model_merged_fp16.onnx',
      'embed_tokens_fp16.onnx',
      'projectors_fp16.onnx',
      'region_sampler_fp16.onnx',
      'vision_encoder_fp16.onnx',
    ]);
    expect(readdirSync(join(folder, 'fp32', 'onnx'))).toContain('decoder_model_merged.onnx_data');
    const config = JSON.parse(readFileSync(join(folder, 'fp16', 'config.json'), 'utf8'));
    expect(config.text_config.num_key_value_heads).toBe(2);
    expect(config['transformers.js_config'].use_external_data_format['embed_tokens_fp16.onnx']).toBe(true);
  });

  test('a prompt and 16 decode steps agree: closely in fp32, in order of their precision in the others', () => {
    const worst = (dtype: WeightType): number =>
      Math.max(...(reports.get(dtype)?.differences ?? []).map(d => d.absolute));
    expect(reports.get('fp32')?.differences).toHaveLength(2);
    expect(worst('fp32')).toBeLessThanOrEqual(1e-4);
    expect(worst('fp16')).toBeGreaterThan(worst('fp32'));
    expect(worst('int8')).toBeGreaterThan(worst('fp16'));
    expect(worst('int8')).toBeLessThan(0.3);
  });

  test('answers from the folder alone are those of the engine, token for token', async () => {
    const prompts = await promptsOf(10);
    const onnx = await openOnnxModel(join(folder, 'fp32'));
    for (const batch of [prompts.slice(0, 4), prompts.slice(4, 9), prompts.slice(9)]) {
      const asked = { maxNewTokens: 12 };
      const here = await answerPrompts(source.model, source.tokenizer, batch, asked);
      expect(await onnx.answer(batch, asked)).toEqual(here);
      expect(here.every(answer => answer.tokens > 0)).toBe(true);
    }
    await onnx.close();
  });
});

describe('a folder that is none', () => {
  test('is named, with what to do', () => {
    const empty = temporaryFolder();
    expect(() => readSettings(empty)).toThrow('it has no ground.json');
    writeFileSync(join(empty, 'ground.json'), '{');
    expect(() => readSettings(empty)).toThrow('ground.json is damaged');
    writeFileSync(join(empty, 'ground.json'), '{"format": 2}');
    expect(() => readSettings(empty)).toThrow('has format 2, expected 1');
  });
});
