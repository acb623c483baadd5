import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { loadRecipe } from '../../src/config/load.ts';
import { recipeToYaml } from '../../src/config/resolved.ts';
import { Ferret } from '../../src/models/ferret.ts';
import { saveCheckpoint } from '../../src/train/checkpoint.ts';
import { weightSources } from '../../src/train/weights.ts';
import { ground } from '../cli/harness.ts';
import { startTestEngine } from '../helpers/engine.ts';
import { temporaryFolder } from '../helpers/folder.ts';

/** A checkpoint of the tiny recipe with random weights. */
async function checkpointIn(folder: string, stage: number): Promise<string> {
  const recipe = loadRecipe({ recipeDir: 'configs/ferret-v2-tiny', stage, files: 'ignore' });
  const model = new Ferret(recipe.model);
  model.parameters.allocate(3);
  const { path } = await saveCheckpoint(folder, {
    state: {
      stage,
      stageName: recipe.stage.name,
      step: 7,
      steps: 7,
      samples: 0,
      tokens: 0,
      updates: 0,
      seeds: {},
      loader: null,
      firstLoss: null,
      lastLosses: [],
    },
    model: weightSources(model.parameters.all),
    optimizer: { m: new Map(), v: new Map() },
    recipe: recipeToYaml(recipe),
    modelConfig: recipe.model,
    tokenizer: readFileSync(recipe.model.tokenizer),
  });
  model.parameters.dispose();
  return path;
}

beforeAll(async () => {
  await startTestEngine();
});

describe('ground export onnx', () => {
  test('exports a checkpoint of the tiny recipe and shows how it compares', async () => {
    const folder = temporaryFolder();
    await checkpointIn(join(folder, 'stage3'), 3);
    const out = join(folder, 'onnx');
    const { code, stdout, stderr } = await ground(
      'export',
      'onnx',
      '--checkpoint',
      folder,
      '--out',
      out,
      '--single-file',
      '--json',
    );
    expect([code, stderr]).toEqual([0, '']);
    const report = JSON.parse(stdout);
    expect(report).toMatchObject({ out, views: 'global+local', length: 320 });
    expect(report.inputs).toContain('localPixels');
    expect(report.differences.length).toBe(3);
    for (const d of report.differences) expect(d.relative).toBeLessThanOrEqual(1e-5);
    expect(report.differences[0].sample).toMatch(/^scene-export-/);
    expect(report.differences[0].regions).toBeGreaterThan(0);
    expect(existsSync(join(out, 'model.onnx'))).toBe(true);
  });

  test('takes the views that the stage was trained with', async () => {
    const folder = temporaryFolder();
    const checkpoint = await checkpointIn(join(folder, 'stage1'), 1);
    const out = join(folder, 'onnx');
    const { code, stdout } = await ground(
      'export',
      'onnx',
      '--checkpoint',
      checkpoint,
      '--out',
      out,
      '--single-file',
      '--length',
      '200',
    );
    expect(code).toBe(0);
    expect(stdout).toMatch(/nodes, .* sequences up to 200/);
    expect(stdout).toMatch(/scene-export-\S+ +\d+ +0 /);
    const { inputs } = JSON.parse(
      (
        await ground(
          ...['export', 'onnx', '--checkpoint', checkpoint, '--out', out],
          ...['--single-file', '--no-check', '--json'],
        )
      ).stdout,
    );
    expect(inputs).not.toContain('localPixels');
  });

  test('complains about a length that is too long, and writes nothing', async () => {
    const folder = temporaryFolder();
    const checkpoint = await checkpointIn(join(folder, 'stage3'), 3);
    const out = join(folder, 'onnx');
    const { code, stderr } = await ground(
      'export',
      'onnx',
      '--checkpoint',
      checkpoint,
      '--out',
      out,
      '--length',
      '9999',
    );
    expect(code).toBe(2);
    expect(stderr).toMatch(/--length 9999: expected a whole number from 16 to 512/);
    expect(existsSync(out)).toBe(false);
  });
});
