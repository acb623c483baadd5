import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import * as tf from '../../src/engine/tf.ts';
import { boxesOf, evaluateStage, mergeScores } from '../../src/eval/stage.ts';
import { Ferret } from '../../src/models/ferret.ts';
import type { RunEvent } from '../../src/telemetry/events.ts';
import { startTestEngine } from '../helpers/engine.ts';
import { temporaryFolder } from '../helpers/folder.ts';
import { recipeIn, writeSquares } from './checkpoint.ts';
import { characterTokenizer, pixelBox, TINY } from './tiny.ts';

beforeAll(async () => {
  await startTestEngine();
});

describe('evaluateStage', () => {
  it('scores every held-out source, and shows answers and boxes', async () => {
    const folder = temporaryFolder();
    const dataset = await writeSquares(folder, 5);
    await writeFile(join(folder, 'tokenizer.json'), JSON.stringify(characterTokenizer()));
    const recipe = recipeIn(folder);
    const data = [...recipe.stage.eval.data, { dataset, task: 'contrastive' as const, weight: 1 }];
    const model = new Ferret(TINY);
    model.parameters.allocate(1);
    const events: RunEvent[] = [];
    const before = tf.memory().numTensors;
    const scores = await evaluateStage(
      model,
      { ...recipe, stage: { ...recipe.stage, eval: { ...recipe.stage.eval, data } } },
      40,
      event => events.push(event),
    );
    expect(tf.memory().numTensors).toBe(before);
    model.parameters.dispose();
    expect(Object.keys(scores)).toEqual(
      expect.arrayContaining(['rec_accuracy', 'rec_loss', 'caption_loss', 'grounding_gap']),
    );
    const probes = events.flatMap(event => (event.type === 'probe' ? [event] : []));
    expect(probes.map(event => event.tag)).toEqual([
      ...[0, 1, 2, 3].map(i => `eval/rec/${i}`),
      ...[0, 1, 2, 3].map(i => `eval/caption/${i}`),
    ]);
    expect(probes[0]).toMatchObject({ step: 40, task: 'rec', picture: { width: 384, height: 384 } });
    expect(probes[0]?.trueBoxes).toHaveLength(1);
    expect(new Set(probes.slice(0, 4).map(event => event.id)).size).toBe(4);
    const texts = events.flatMap(event => (event.type === 'text' ? [event] : []));
    expect(texts.map(event => event.tag)).toEqual(['eval/rec', 'eval/caption']);
    expect(texts[0]?.text).toMatch(
      /^- \*\*What is the location of the \w+ one in the image\? With boxes\.\*\*$/m,
    );
    expect(events.filter(event => event.type === 'note')).toEqual([
      { type: 'note', message: expect.stringMatching(/contrastive task asks no questions/) },
    ]);
  });
});

describe('mergeScores', () => {
  it('takes the mean where several datasets were asked for one task', () => {
    const merged = mergeScores([
      { task: 'rec', scores: { rec_accuracy: 0.25, rec_accuracy_small: 0.5 } },
      { task: 'rec', scores: { rec_accuracy: 0.75 } },
    ]);
    expect(merged).toEqual({ rec_accuracy: 0.5, rec_accuracy_small: 0.5 });
  });

  it('averages the gaps of the tasks that have one', () => {
    expect(
      mergeScores([
        { task: 'rec', scores: { rec_accuracy: 0.5, rec_grounding_gap: 1 } },
        { task: 'caption', scores: { caption_loss: 2, caption_grounding_gap: 2 } },
        { task: 'scene-text', scores: { scene_text_loss: 3 } },
      ]),
    ).toEqual({
      rec_accuracy: 0.5,
      rec_grounding_gap: 1,
      caption_loss: 2,
      caption_grounding_gap: 2,
      scene_text_loss: 3,
      grounding_gap: 1.5,
    });
  });

  it('has none where no task has one', () => {
    expect(mergeScores([{ task: 'scene-text', scores: { scene_text_loss: 3 } }])).toEqual({
      scene_text_loss: 3,
    });
  });
});

it('boxesOf colours the question blue, the truth green and what was read red, malformed groups left out', () => {
  const drawn = boxesOf({
    truth: { answer: '', boxes: [pixelBox(1, 1, 2, 2)] },
    regions: [pixelBox(0, 0, 0, 0)],
    boxes: [null, pixelBox(3, 3, 4, 4)],
  });
  expect(drawn.map(({ box, color }) => [box.x1, color])).toEqual([
    [0, '#2274e5'],
    [1, '#18a558'],
    [3, '#e5383b'],
  ]);
});
