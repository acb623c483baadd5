import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Phase } from '../../src/fault.ts';
import {
  ground,
  killWhen,
  metricsOf,
  newestCheckpoint,
  QUICK,
  renderScenes,
  succeed,
  weightsOf,
} from './ground.ts';

const STEPS = 6;
const TRAINED: Record<number, string[]> = {
  0: ['encoder', 'text_encoder', 'contrastive', 'llm'],
  1: ['projector.global'],
  2: ['projector', 'sampler'],
  3: ['projector', 'sampler', 'llm'],
};
/** As the paper's last stage does, which the tiny recipe leaves to the reader. */
const EVERYTHING = ['encoder', 'projector', 'sampler', 'llm'];
const TRAIN = ['train', '--stage', '0-3', ...QUICK, '--set', `steps=${STEPS}`];

let folder = '';

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'ground-e2e-'));
  renderScenes(folder);
  succeed(folder, ...TRAIN, '--run', 'whole');
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

const inGroups = (name: string, groups: readonly string[]): boolean =>
  groups.some(g => name.startsWith(`${g}.`));

describe('the curriculum, end to end', () => {
  it.each([
    [1, 'whole', TRAINED[1]],
    [2, 'whole', TRAINED[2]],
    [3, 'whole', TRAINED[3]],
    [3, 'everything', EVERYTHING],
  ] as const)(
    'stage %i of the run %s changes what it trains and leaves the rest as it was, byte for byte',
    async (stage, run, groups = []) => {
      const from = newestCheckpoint(folder, 'whole', stage - 1);
      if (run === 'everything') {
        const set = [`from=${from}`, `train=${EVERYTHING.join(',')}`, 'lr=1e-3', `steps=${STEPS}`];
        const flags = set.flatMap(value => ['--set', value]);
        succeed(folder, 'train', '--stage', '3', '--run', run, ...QUICK, ...flags);
      }
      const before = await weightsOf(from);
      const after = await weightsOf(newestCheckpoint(folder, run, stage));
      expect([...after.keys()]).toEqual([...before.keys()]);
      // Only there so that published checkpoints round-trip: no loss reads them.
      const unused = [
        'encoder.local.embeddings.mask_token',
        'encoder.local.layernorm',
        'encoder.global.vision_model.post_layernorm',
      ];
      for (const [name, bytes] of after) {
        const trained = inGroups(name, groups) && !unused.some(u => name.startsWith(u));
        expect(
          bytes.equals(before.get(name) as Buffer),
          `${name} ${trained ? 'did not change' : 'changed'}`,
        ).toBe(!trained);
      }
    },
  );

  it('logs every step, the scores and the end of each stage', () => {
    for (const stage of [0, 1, 2, 3]) {
      const events = metricsOf(folder, 'whole', stage);
      const steps = events.filter(e => e.type === 'step');
      expect(steps.map(e => e.step)).toEqual(Array.from({ length: STEPS }, (_, i) => i + 1));
      for (const { loss, gradNorm } of steps) {
        expect(Number.isFinite(loss)).toBe(true);
        expect(gradNorm).toBeGreaterThan(0);
      }
      expect(new Set(steps.slice(1).map(e => e.tensors)).size, 'tensors from step 2 on').toBe(1);
      expect(events.at(-1)?.type).toBe('end');
      expect(Object.keys(events.findLast(e => e.type === 'scores')?.scores ?? {}).length).toBeGreaterThan(0);
    }
  });

  it('leaves a finished stage alone, and refuses another recipe in the same run', () => {
    const again = succeed(folder, ...TRAIN, '--run', 'whole');
    expect(again.stderr).toContain('finished');
    const other = ground(folder, ...TRAIN, '--run', 'whole', '--set', 'lr=0.5');
    expect(other.code).toBe(2);
    expect(other.stderr).toMatch(/lr: .* became 0.5/);
    expect(other.stderr).toContain('--fresh');
  });

  it('ends with the same bytes after kill -9, again and again, as when it runs through', async () => {
    const args = [...TRAIN, '--run', 'killed'];
    const stageDir = (stage: number) => join(folder, 'checkpoints/killed', `stage${stage}`);
    const stepsOf = (stage: number) =>
      metricsOf(folder, 'killed', stage).filter(event => event.type === 'step').length;
    // While a checkpoint is written, or, where that took less time than looking, just after.
    const saving = (stage: number, step: number) =>
      existsSync(stageDir(stage)) &&
      readdirSync(stageDir(stage)).some(name => name.startsWith(`checkpoint-00000${step}`));
    // One of each kind of moment: before the first checkpoint, between two, while one is written (the first of a stage, a
    // later one, the last), and after the last one while the stage is not over: when an older one is about to be deleted.
    const moments: readonly (readonly [moment: string, due: () => boolean, phase?: Phase])[] = [
      ['stage 0, step 1', () => stepsOf(0) >= 1],
      ['stage 0, first checkpoint', () => saving(0, 2)],
      ['stage 0, step 5', () => stepsOf(0) >= 5],
      ['stage 1, last checkpoint', () => saving(1, 6)],
      ['stage 2, step 3', () => stepsOf(2) >= 3],
      ['stage 2, second checkpoint', () => saving(2, 4)],
      [
        'stage 3, behind the last checkpoint',
        () => existsSync(join(stageDir(3), 'checkpoint-000006')),
        'prune',
      ],
    ];
    for (const [moment, due, phase] of moments) {
      expect(await killWhen(folder, args, due, phase), moment).toBe(true);
    }
    succeed(folder, ...args);
    for (const stage of [0, 1, 2, 3]) {
      const [whole, killed] = ['whole', 'killed'].map(run => newestCheckpoint(folder, run, stage)) as [
        string,
        string,
      ];
      const files = readdirSync(whole).filter(name => /^(model|frozen|optimizer|state)\./.test(name));
      expect(files.length).toBeGreaterThanOrEqual(3);
      for (const file of files) {
        const same = readFileSync(join(whole, file)).equals(readFileSync(join(killed, file)));
        expect(same, `stage ${stage}: ${file}`).toBe(true);
      }
    }
  });

  it('trains a finished stage further with --resume and more steps', () => {
    succeed(
      folder,
      'train',
      '--stage',
      '3',
      '--run',
      'killed',
      '--resume',
      ...QUICK,
      '--set',
      `steps=${STEPS + 2}`,
    );
    expect(newestCheckpoint(folder, 'killed', 3)).toMatch(/checkpoint-000008$/);
  });

  it('scores, answers and exports what it trained, in JSON for scripts', () => {
    const scores = JSON.parse(
      succeed(folder, 'eval', '--run', 'whole', '--task', 'rec,roc,caption', '--limit', '8', '--json').stdout,
    );
    expect(JSON.stringify(scores)).toMatch(/roc_accuracy/);
    succeed(folder, 'data', 'preview', 'data/scenes/val', '--out', 'sheet.png');
    const answer = JSON.parse(
      succeed(
        folder,
        ...['predict', '--run', 'whole', '--image', 'sheet.png', '--prompt', 'What is in the image?'],
        ...['--max-tokens', '4', '--out', 'answer.png', '--json'],
      ).stdout,
    );
    expect(typeof answer.answer).toBe('string');
    expect([...readFileSync(join(folder, 'answer.png')).subarray(1, 4)]).toEqual([...Buffer.from('PNG')]);
  });

  it('is accepted whole by ground checkpoints verify', () => {
    const { stdout } = succeed(folder, 'checkpoints', 'verify', '--run', 'whole', '--json');
    expect(JSON.stringify(JSON.parse(stdout))).not.toMatch(/missing|damaged/);
  });
});
