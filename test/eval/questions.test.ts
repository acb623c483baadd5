import { describe, expect, it } from 'vitest';
import { textPiece } from '../../src/data/conversation.ts';
import type { ImageRecord } from '../../src/data/record.ts';
import { type Question, type QuestionOptions, questionsOf } from '../../src/eval/questions.ts';
import { memoryDataset, pixelBox, squaresRecord } from './tiny.ts';

const options: QuestionOptions = { task: 'rec', limit: 100, seed: 1, groundingPrompt: '' };

async function ask(
  records: readonly ImageRecord[],
  changes: Partial<QuestionOptions> = {},
): Promise<Question[]> {
  return await collected(questionsOf(memoryDataset(records), { ...options, ...changes }));
}

async function collected(questions: AsyncIterable<Question>): Promise<Question[]> {
  const all: Question[] = [];
  for await (const question of questions) all.push(question);
  return all;
}

const squares = (count: number): Promise<ImageRecord[]> =>
  Promise.all(Array.from({ length: count }, (_, i) => squaresRecord(i)));

describe('questionsOf', () => {
  it('asks one question of every image before it asks a second one', async () => {
    const questions = await ask(await squares(4));
    expect(questions).toHaveLength(12);
    expect(new Set(questions.slice(0, 4).map(q => q.row)).size).toBe(4);
    expect(new Set(questions.map(q => `${q.row} ${q.round.truth.label}`)).size).toBe(12);
  });

  it('never asks more than the limit, also where an object takes three questions', async () => {
    const records = await squares(3);
    for (const limit of [1, 2, 7]) expect(await ask(records, { task: 'roc', limit })).toHaveLength(limit);
    expect(await ask(records, { limit: 0 })).toEqual([]);
  });

  it('stops at the limit and reads no further', async () => {
    const records = await squares(6);
    const dataset = memoryDataset(records);
    const questions = await collected(questionsOf(dataset, { ...options, limit: 2 }));
    expect(questions).toHaveLength(2);
    expect(dataset.reads.length).toBeLessThanOrEqual(records.length + 2);
  });

  it('keeps to the first records where told to', async () => {
    const questions = await ask(await squares(6), { maxRecords: 2 });
    expect(new Set(questions.map(q => q.row))).toEqual(new Set([0, 1]));
  });

  it('is the same for a seed, and another order for another', async () => {
    const records = await squares(6);
    const ids = async (seed: number) => (await ask(records, { seed })).map(q => q.id);
    expect(await ids(7)).toEqual(await ids(7));
    expect(await ids(7)).not.toEqual(await ids(8));
  });

  it('uses the literal wording, with the grounding prompt behind it', async () => {
    const [question] = await ask(await squares(1), { groundingPrompt: 'With boxes.' });
    const text = question?.round.question.map(piece => (piece.kind === 'text' ? piece.text : '')).join('');
    expect(text).toMatch(/^What is the location of the \w+ one in the image\? With boxes\.$/);
  });

  it('asks REC only for objects that their phrase names alone', async () => {
    const record = await squaresRecord(0);
    const [first] = record.objects;
    const twin = { ...record, objects: [...record.objects, { ...first!, box: pixelBox(0, 0, 4, 4) }] };
    const phrases = (await ask([twin])).map(q => q.round.truth.label);
    expect(phrases).toHaveLength(2);
    expect(phrases).not.toContain(first?.phrase);
  });

  it('asks REC every expression that people wrote, also where phrases are shared', async () => {
    const record = await squaresRecord(0);
    const [first] = record.objects;
    const written = {
      ...first!,
      box: pixelBox(0, 0, 4, 4),
      expressions: ['the corner', 'upper left', 'tiny'],
    };
    const asked = await ask([{ ...record, objects: [...record.objects, written] }]);
    const texts = asked.map(q => q.round.truth.label);
    expect(texts).toEqual(expect.arrayContaining(['the corner', 'upper left', 'tiny']));
    expect(new Set(texts).size).toBe(texts.length);
    expect(texts).toHaveLength(5);
  });

  it('asks ROC about the same object in three ways', async () => {
    const questions = await ask(await squares(3), { task: 'roc', limit: 9 });
    expect(questions).toHaveLength(9);
    for (let i = 0; i < 9; i += 3) {
      const group = questions.slice(i, i + 3);
      expect(group.map(q => q.round.truth.region)).toEqual(['point', 'box', 'free-form']);
      expect(new Set(group.map(q => `${q.row} ${q.round.truth.label}`)).size).toBe(1);
      expect(group[0]?.object).toEqual(group[1]?.object);
      expect(group[0]?.object).not.toBeNull();
    }
  });

  it('asks annotated questions in no fixed order, each once', async () => {
    const pope = ['yes', 'no', 'yes', 'no', 'yes', 'no'].map((answer, i) => ({
      question: [textPiece(`Is there a thing ${i}?`)],
      answer: [textPiece(answer)],
    }));
    const records = (await squares(40)).map((record, i): ImageRecord => {
      return { ...record, id: `pope-${i}`, conversations: [{ kind: 'presence', rounds: pope }] };
    });
    const first = await ask(records, { task: 'presence', limit: 40 });
    const yes = first.filter(question => question.round.truth.label === 'yes').length;
    expect(new Set(first.map(question => question.row)).size).toBe(40);
    expect(yes).toBeGreaterThan(10);
    expect(yes).toBeLessThan(30);
    const all = await ask(records, { task: 'presence', limit: 1000 });
    expect(new Set(all.map(question => question.id)).size).toBe(240);
    // The id names the question, whatever its turn.
    const again = await ask(records, { task: 'presence', limit: 1000, seed: 2 });
    const texts = (questions: Question[]) => new Map(questions.map(q => [q.id, q.round.truth.label]));
    expect(again.map(q => q.id)).not.toEqual(all.map(q => q.id));
    expect(texts(again)).toEqual(texts(all));
  });

  it('knows the object of a REC question, and none of a caption', async () => {
    const records = await squares(1);
    const [where] = await ask(records);
    expect(where?.object).toEqual(where?.round.truth.boxes?.[0]);
    const [caption] = await ask(records, { task: 'caption' });
    expect(caption?.object).toBeNull();
  });

  it('yields nothing where the records have nothing to ask for', async () => {
    const record = { ...(await squaresRecord(0)), objects: [], captions: [] };
    for (const task of ['rec', 'roc', 'caption'] as const) expect(await ask([record], { task })).toEqual([]);
    expect(await ask([])).toEqual([]);
  });
});
