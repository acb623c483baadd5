import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { readResolvedRecipe } from '../../src/config/resolved.ts';
import { askedModel } from '../../src/eval/answer.ts';
import { type InferenceModel, loadForInference } from '../../src/eval/load.ts';
import { evaluate } from '../../src/eval/run.ts';
import { AGREEMENT_TASKS, agreementPrompts, compareAnswers } from '../../src/export/agreement.ts';
import { type OnnxModel, openOnnxModel } from '../../src/export/onnx-model.ts';
import { exportTransformers } from '../../src/export/transformers.ts';
import { writeCheckpoint } from '../eval/checkpoint.ts';
import { memoryDataset, squaresRecord } from '../eval/tiny.ts';
import { startTestEngine } from '../helpers/engine.ts';

/** Small, but with every task that the comparison asks. */
const records = memoryDataset(await Promise.all([0, 1, 2, 3, 4, 5].map(squaresRecord)));
const folder = mkdtempSync(join(tmpdir(), 'ground-agreement-'));
const exported = join(folder, 'onnx');
let inference: InferenceModel;
let onnx: OnnxModel;

beforeAll(async () => {
  await startTestEngine();
  inference = await loadForInference(await writeCheckpoint(folder), { read: readResolvedRecipe });
  await exportTransformers(inference, { out: exported, version: '0', check: false });
  onnx = await openOnnxModel(exported);
}, 300_000);

afterAll(async () => {
  await onnx.close();
  inference.dispose();
  rmSync(folder, { recursive: true, force: true });
});

describe('greedy answers op by op, recorded and of the exported folder', () => {
  const promptsOf = (count: number) => {
    const { config: model, tokenizer, stage } = onnx;
    const context = { model, tokenizer, views: stage.views, seed: 0 };
    return agreementPrompts(records, context, stage.grounding_prompt, count);
  };

  test.each([1, 5])('are the same token for token, %i prompts together', async batch => {
    const prompts = await promptsOf(15);
    expect(new Set(prompts.map(({ id }) => id.split(/[#.]/)[1])).size).toBe(AGREEMENT_TASKS.length);
    const result = await compareAnswers(inference.model, onnx, prompts, { batch, maxNewTokens: 12 });
    expect(result).toMatchObject({ prompts: 15, equal: { recorded: 15, onnx: 15 }, disagreements: [] });
    expect(result.tokens).toBeGreaterThan(15);
    expect(result.largestDifference.onnx).toBeLessThan(1e-4);
    expect(result.largestDifference.onnx).toBeGreaterThan(0);
  });

  test('that differ are told with the token', async () => {
    const prompts = await promptsOf(7);
    const rows = onnx.config.llm.vocab_size;
    const swapped = {
      tokenizer: onnx.tokenizer,
      config: onnx.config,
      // Scores upside down: never the same token.
      scoring: (batch: Parameters<OnnxModel['scoring']>[0]) => {
        const own = onnx.scoring(batch);
        const negated = (scored: Awaited<ReturnType<typeof own.start>>) => ({
          ...scored,
          scores: scored.scores.map(score => -score),
        });
        return {
          start: async (room: number) => negated(await own.start(room)),
          next: async (tokens: Int32Array) => negated(await own.next(tokens)),
        };
      },
    };
    const { equal, disagreements } = await compareAnswers(inference.model, swapped, prompts, {
      batch: 7,
      maxNewTokens: 3,
    });
    expect(equal).toEqual({ recorded: 7, onnx: 0 });
    expect(disagreements).toHaveLength(7);
    for (const { way, at, here, there, lead } of disagreements) {
      expect([way, at]).toEqual(['onnx', 0]);
      expect(here).not.toBe(there);
      expect(there ?? 0).toBeLessThan(rows);
      expect(lead).toBeGreaterThan(0);
    }
  });

  test('are refused where a dataset has too few questions', async () => {
    await expect(promptsOf(10_000)).rejects.toThrow(/memory yields \d+ prompts, not 10000/);
  });
});

describe('scores of the exported folder', () => {
  test.each(['rec', 'roc', 'caption', 'dense-detection'] as const)(
    'of %s are those of the model',
    async task => {
      const { tokenizer, stage } = onnx;
      const asked = {
        tokenizer,
        stage,
        dataset: records,
        task,
        samples: 6,
        seed: 0,
        batch: 4,
        maxNewTokens: 6,
      };
      const here = await evaluate({ ...asked, model: askedModel(inference.model, tokenizer) });
      const there = await evaluate({ ...asked, model: onnx });
      expect(there.predictions).toEqual(here.predictions);
      expect(Object.keys(there.scores)).toEqual(Object.keys(here.scores));
      for (const [name, value] of Object.entries(here.scores))
        expect(there.scores[name]).toBeCloseTo(value, 4);
    },
  );
});
