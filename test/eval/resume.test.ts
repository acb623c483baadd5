import {
  appendFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createTokenizer } from '../../src/data/tokenizer.ts';
import { askedModel } from '../../src/eval/answer.ts';
import { comparePredictions } from '../../src/eval/compare.ts';
import { openJournal } from '../../src/eval/journal.ts';
import { findPredictions, predictionsFile } from '../../src/eval/kept.ts';
import { lineOfPrediction, readPredictions } from '../../src/eval/predictions.ts';
import { type EvaluateOptions, evaluate } from '../../src/eval/run.ts';
import { intervalsOf } from '../../src/eval/scores.ts';
import { Ferret } from '../../src/models/ferret.ts';
import { startTestEngine } from '../helpers/engine.ts';
import { characterTokenizer, memoryDataset, squaresRecord, TINY } from './tiny.ts';

let folder: string;
let model: Ferret;
let options: EvaluateOptions;

beforeAll(async () => {
  await startTestEngine();
  folder = mkdtempSync(join(tmpdir(), 'ground-resume-'));
  model = new Ferret(TINY);
  model.parameters.allocate(1);
  const tokenizer = createTokenizer(characterTokenizer(), null, 'test');
  options = {
    model: askedModel(model, tokenizer),
    tokenizer,
    stage: { views: 'global+local', grounding_prompt: '' },
    dataset: memoryDataset(await Promise.all([0, 1, 2, 3].map(squaresRecord))),
    task: 'rec',
    samples: 6,
    seed: 3,
    batch: 2,
    maxNewTokens: 4,
  };
});

afterAll(() => {
  model.parameters.dispose();
  rmSync(folder, { recursive: true, force: true });
});

describe('an evaluation that was cut off', () => {
  it('goes on where it was and gives the same result', async () => {
    const whole = await evaluate(options);
    const file = join(folder, 'journal');
    const first = openJournal(file);
    const cut = { ...first.of('rec'), add: cutOffAfter(first.of('rec').add, 2) };
    await expect(evaluate({ ...options, journal: cut })).rejects.toThrow('killed');
    first.close();
    appendFileSync(file, '{"source":"rec","ids":["torn');
    const second = openJournal(file);
    expect(second.known).toBe(2);
    let asked = 0;
    const own = second.of('rec');
    const counted = {
      ...own,
      add: (...args: Parameters<typeof own.add>) => {
        asked++;
        own.add(...args);
      },
    };
    expect(await evaluate({ ...options, journal: counted })).toEqual(whole);
    const batches = asked + 2;
    second.close();
    const third = openJournal(file);
    expect(third.known).toBe(batches);
    expect(third.of('roc').find(whole.predictions.slice(0, 2).map(p => p.id))).toBeUndefined();
    await third.remove();
    expect(existsSync(file)).toBe(false);
  });
});

function cutOffAfter<A extends unknown[]>(add: (...args: A) => void, count: number): (...args: A) => void {
  let left = count;
  return (...args) => {
    if (left-- === 0) throw new Error('killed');
    add(...args);
  };
}

describe('predictions', () => {
  it('are read back, judged again and compared in pairs', async () => {
    const { predictions, judged } = await evaluate(options);
    const right = predictions.map(prediction => ({
      ...prediction,
      boxes: prediction.truth.boxes ?? [],
    }));
    const [a, b] = [join(folder, 'a.jsonl'), join(folder, 'b.jsonl')];
    writeFileSync(a, predictions.map(p => lineOfPrediction(p, '/x/val')).join(''));
    writeFileSync(
      b,
      right
        .slice(1)
        .map(p => lineOfPrediction(p, '/y/val'))
        .join(''),
    );
    const [linesA, linesB] = [await readPredictions(a), await readPredictions(b)];
    const draws = { seed: 0, resamples: 50 };
    const { scores, unpaired } = comparePredictions(linesA, linesB, draws);
    expect(unpaired).toEqual({ a: 1, b: 0 });
    const accuracy = scores.find(score => score.score === 'rec_accuracy');
    expect(accuracy).toMatchObject({ a: 0, b: 1, difference: 1, low: 1, high: 1, questions: 5 });
    expect(accuracy?.p).toBeCloseTo(2 / 51, 12);
    const same = comparePredictions(linesA, linesA, draws).scores;
    for (const score of same) expect(score).toMatchObject({ difference: 0, low: 0, high: 0, p: 1 });
    expect(comparePredictions(linesA, linesB, draws).scores).toEqual(scores);
    expect(comparePredictions(linesA, [], draws).scores).toEqual([]);
    const intervals = intervalsOf(judged, draws);
    expect(intervals.rec_accuracy).toEqual({ low: 0, high: 0 });
    expect(intervals.rec_ceiling).toEqual({ low: 1, high: 1 });
    expect(intervalsOf(judged, { seed: 0, resamples: 0 })).toEqual({});
  });

  it('count once where a question was asked again, with the answer written last', async () => {
    const { predictions } = await evaluate(options);
    const kept = join(folder, 'again', 'eval');
    mkdirSync(kept, { recursive: true });
    const write = (name: string, time: number, right: boolean): void => {
      const lines = predictions.map(p =>
        lineOfPrediction(right ? { ...p, boxes: p.truth.boxes ?? [] } : p, '/x/val'),
      );
      writeFileSync(join(kept, name), lines.join(''));
      utimesSync(join(kept, name), time, time);
    };
    write('checkpoint-000005-rec.jsonl', 1000, false);
    write('checkpoint-000005-all.jsonl', 2000, true);
    const files = await findPredictions(join(folder, 'again'));
    expect(files.map(file => basename(file))).toEqual([
      'checkpoint-000005-rec.jsonl',
      'checkpoint-000005-all.jsonl',
    ]);
    const lines = (await Promise.all(files.map(readPredictions))).flat();
    const { scores, unpaired } = comparePredictions(lines, lines, { seed: 0, resamples: 20 });
    expect(unpaired).toEqual({ a: 0, b: 0 });
    expect(scores[0]).toMatchObject({ score: 'rec_accuracy', a: 1, b: 1, difference: 0 });
  });

  it('are compared for each dataset alone', async () => {
    const { predictions } = await evaluate(options);
    const file = join(folder, 'two.jsonl');
    const [near, far] = ['/x/near', '/x/far'].map(data => predictions.map(p => lineOfPrediction(p, data)));
    writeFileSync(file, [...(near ?? []), ...(far ?? []).slice(2)].join(''));
    const lines = await readPredictions(file);
    const { scores } = comparePredictions(lines, lines, { seed: 0, resamples: 2 });
    const accuracies = scores.filter(({ score }) => score === 'rec_accuracy');
    expect(accuracies).toMatchObject([
      { data: 'near', questions: predictions.length },
      { data: 'far', questions: predictions.length - 2 },
    ]);
  });

  it('about another image are of another question', async () => {
    const { predictions } = await evaluate({ ...options, task: 'caption' });
    const lines = async (caption: string) => {
      const file = join(folder, 'captions.jsonl');
      writeFileSync(
        file,
        predictions.map(p => lineOfPrediction({ ...p, captions: [caption] }, '/x/val')).join(''),
      );
      return await readPredictions(file);
    };
    const [dogs, cats] = [await lines('A dog.'), await lines('A cat.')];
    const draws = { seed: 0, resamples: 2 };
    expect(comparePredictions(dogs, dogs, draws).scores).not.toEqual([]);
    expect(comparePredictions(dogs, cats, draws).scores).toEqual([]);
  });

  it('that are none are refused with their place', async () => {
    const file = join(folder, 'bad.jsonl');
    writeFileSync(file, '\n{"id": 3}\n');
    await expect(readPredictions(file)).rejects.toThrow(/bad\.jsonl:2 is no prediction/);
    writeFileSync(file, '{');
    await expect(readPredictions(file)).rejects.toThrow(/bad\.jsonl:1 is no prediction: it is no JSON/);
    await expect(findPredictions(join(folder, 'nowhere'))).rejects.toThrow(/there is no/);
    await expect(findPredictions(folder)).rejects.toThrow(/holds no predictions/);
    expect(await findPredictions(file)).toEqual([file]);
    expect(readFileSync(file, 'utf8')).toBe('{');
  });

  it('lie beside the checkpoint of a run', () => {
    expect(predictionsFile('/r/stage3/checkpoint-000005', ['rec', 'roc'])).toBe(
      '/r/stage3/eval/checkpoint-000005-rec+roc.jsonl',
    );
    expect(predictionsFile('/models/published', null)).toBeNull();
  });
});
