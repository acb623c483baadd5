import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { regionsOf, textPiece } from '../../src/data/conversation.ts';
import type { Annotations, StoredConversation, StoredRound } from '../../src/data/record.ts';
import { piecesText } from '../../src/data/render.ts';
import { renderFitting, renderOf, type SampleContext, sequenceLength } from '../../src/data/sample.ts';
import { taskContext } from '../../src/data/tasks/context.ts';
import { conversationOf } from '../../src/data/tasks/index.ts';
import { GROUNDING_PROMPT } from '../../src/data/tasks/phrasings.ts';
import { SHORT_ANSWER_PROMPTS } from '../../src/data/tasks/stored.ts';
import { box, boxMask, model, tokenizer } from './loader-records.ts';

const round = (question: string, answer: string, accepted?: readonly string[]): StoredRound => ({
  question: [textPiece(question)],
  answer: [textPiece(answer)],
  ...(accepted ? { accepted } : {}),
});
const rounds = (count: number) =>
  Array.from({ length: count }, (_, i) => round(`a circle ${i}`, `a square ${i}`));

function recordOf(conversations: readonly StoredConversation[], image = true): Annotations {
  const [width, height] = image ? [64, 64] : [0, 0];
  return { id: 'r', width, height, captions: [], objects: [], relations: [], conversations };
}

const texts = (record: Annotations, task: Parameters<typeof conversationOf>[1], given = {}) =>
  conversationOf(record, task, taskContext(given))?.rounds.map(({ question, answer }) => [
    piecesText(question, record, 1000),
    piecesText(answer, record, 1000),
  ]) ?? null;

describe('conversation', () => {
  it('is taken as it is, in order', () => {
    const record = recordOf([{ kind: 'chat', rounds: rounds(3) }]);
    expect(texts(record, 'conversation')).toEqual([
      ['a circle 0', 'a square 0'],
      ['a circle 1', 'a square 1'],
      ['a circle 2', 'a square 2'],
    ]);
  });

  it('of more rounds than asked for is cut between rounds, and every part is drawn', () => {
    const record = recordOf([{ kind: 'chat', rounds: rounds(7) }]);
    const parts = new Set<string>();
    for (let seed = 0; seed < 60; seed++) {
      parts.add(
        (texts(record, 'conversation', { seed, rounds: 3 }) ?? [])
          .map(([question]) => question?.at(-1))
          .join(''),
      );
    }
    expect([...parts].sort()).toEqual(['012', '345', '6']);
  });

  it('of several is drawn by the seed', () => {
    const record = recordOf([
      { kind: 'chat', rounds: [round('one', 'a')] },
      { kind: 'chat', rounds: [round('two', 'b')] },
      { kind: 'vqa', rounds: [round('three', 'c')] },
    ]);
    const drawn = Array.from({ length: 40 }, (_, seed) => texts(record, 'conversation', { seed })?.[0]?.[0]);
    expect(new Set(drawn)).toEqual(new Set(['one', 'two']));
    expect(texts(record, 'conversation', { seed: 3 })).toEqual(texts(record, 'conversation', { seed: 3 }));
  });

  it('asks for boxes where the answer has them, and there alone', () => {
    const answer = [textPiece('a circle '), { kind: 'box' as const, box: box(0, 0, 32, 32) }];
    const record = recordOf([
      {
        kind: 'chat',
        rounds: [
          { question: [textPiece('What?')], answer },
          round('Sure?', 'yes'),
          { question: [textPiece(`And? ${GROUNDING_PROMPT}`)], answer },
        ],
      },
    ]);
    const conversation = conversationOf(
      record,
      'conversation',
      taskContext({ groundingPrompt: GROUNDING_PROMPT }),
    );
    expect(conversation?.rounds.map(({ question }) => piecesText(question, record, 1000))).toEqual([
      `What? ${GROUNDING_PROMPT}`,
      'Sure?',
      `And? ${GROUNDING_PROMPT}`,
    ]);
    expect(conversation?.rounds.map(({ truth }) => truth.boxes?.length)).toEqual([1, undefined, 1]);
    expect(texts(record, 'conversation')?.[0]?.[0]).toBe('What?');
  });

  it('points as Ferret does: boxes become points or stay, all of a turn alike; what is a point or free-form stays', () => {
    const mask = boxMask(box(8, 8, 24, 24), 64, 64);
    const region = {
      kind: 'region' as const,
      region: { kind: 'box' as const, box: box(8, 8, 24, 24), mask },
    };
    const point = { kind: 'region' as const, region: { kind: 'point' as const, point: { x: 3, y: 4 } } };
    const scribble = { kind: 'region' as const, region: { kind: 'free-form' as const, mask } };
    const record = recordOf([
      { kind: 'chat', rounds: [{ question: [region, point, scribble, region], answer: [textPiece('a')] }] },
    ]);
    const kinds = Array.from({ length: 60 }, (_, seed) => {
      const conversation = conversationOf(record, 'conversation', taskContext({ seed }));
      return (conversation ? regionsOf(conversation) : []).map(({ kind }) => kind).join(' ');
    });
    expect(new Set(kinds)).toEqual(new Set(['point point free-form point', 'box point free-form box']));
    const share = kinds.filter(kind => kind.startsWith('box')).length;
    expect(share).toBeGreaterThan(18);
    expect(share).toBeLessThan(42);
  });

  it('is none of a record without one, or without an image', () => {
    const chats = [{ kind: 'chat' as const, rounds: rounds(1) }];
    expect(texts(recordOf([]), 'conversation')).toBeNull();
    expect(texts(recordOf([{ kind: 'vqa', rounds: rounds(1) }]), 'conversation')).toBeNull();
    expect(texts(recordOf([{ kind: 'chat', rounds: [] }]), 'conversation')).toBeNull();
    expect(texts(recordOf(chats, false), 'conversation')).toBeNull();
    expect(texts(recordOf(chats), 'text-conversation')).toBeNull();
    expect(texts(recordOf(chats, false), 'text-conversation')).toEqual([['a circle 0', 'a square 0']]);
  });
});

describe('questions', () => {
  it('of vqa and ocr are asked for a short answer, in many words', () => {
    const record = recordOf([
      { kind: 'vqa', rounds: [round('How many?', '2', ['2', 'two'])] },
      { kind: 'ocr', rounds: [round('What does it say?', 'STOP')] },
      { kind: 'chat', rounds: rounds(2) },
    ]);
    expect(texts(record, 'vqa', { phrasing: 'literal' })).toEqual([
      ['How many?\nAnswer the question using a single word or phrase.', '2'],
      ['What does it say?\nAnswer the question using a single word or phrase.', 'STOP'],
    ]);
    const said = new Set(Array.from({ length: 200 }, (_, seed) => texts(record, 'vqa', { seed })?.[0]?.[0]));
    expect(said).toEqual(new Set(SHORT_ANSWER_PROMPTS.map(prompt => `How many?\n${prompt}`)));
    expect(SHORT_ANSWER_PROMPTS.length).toBeGreaterThanOrEqual(8);
    const conversation = conversationOf(record, 'vqa', taskContext());
    expect(conversation?.rounds[0]?.truth).toEqual({ label: '2', accepted: ['2', 'two'] });
  });

  it('are drawn without order where there are too many, each of them some time', () => {
    const record = recordOf([{ kind: 'vqa', rounds: rounds(9) }]);
    const seen = new Set<string>();
    for (let seed = 0; seed < 60; seed++) {
      const asked = texts(record, 'vqa', { seed, rounds: 2 }) ?? [];
      expect(asked).toHaveLength(2);
      const numbers = asked.map(([question = '']) => Number(/\d/.exec(question)?.[0]));
      expect(numbers[0]).toBeLessThan(numbers[1]!);
      for (const number of numbers) seen.add(String(number));
    }
    expect(seen.size).toBe(9);
    expect(texts(record, 'vqa', { rounds: 2, phrasing: 'literal' })?.map(([, answer]) => answer)).toEqual([
      'a square 0',
      'a square 1',
    ]);
  });

  it('of presence are asked as they are', () => {
    const record = recordOf([{ kind: 'presence', rounds: [round('Is there a dog?', 'no')] }]);
    expect(texts(record, 'presence')).toEqual([['Is there a dog?', 'no']]);
    expect(texts(record, 'vqa')).toBeNull();
    expect(texts(recordOf([{ kind: 'presence', rounds: rounds(1) }], false), 'presence')).toBeNull();
  });
});

describe('too long for the model', () => {
  const context: SampleContext = { model, tokenizer, views: 'global', seed: 0 };
  const size = { id: 'r', width: 64, height: 64 };
  const lengthOf = (record: Annotations, count: number) => {
    const conversation = conversationOf(record, 'conversation', taskContext({ rounds: count }));
    const { text, visual } = sequenceLength(renderOf(conversation!, size, context, false), size, context);
    return text + visual;
  };

  it('a conversation loses its last rounds, never a part of one', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 8 }), fc.integer({ min: 0, max: 200 }), (count, room) => {
        const record = recordOf([{ kind: 'chat', rounds: rounds(count) }]);
        const conversation = conversationOf(record, 'conversation', taskContext({ rounds: count }))!;
        const fitted = renderFitting(conversation, size, context, room);
        const lengths = Array.from({ length: count }, (_, i) =>
          lengthOf(recordOf([{ kind: 'chat', rounds: rounds(i + 1) }]), i + 1),
        );
        const fitting = lengths.filter(length => length <= room).length;
        if (typeof fitted === 'string') {
          expect(fitting).toBe(0);
          expect(fitted).toContain('exceed the packed length');
        } else {
          expect(fitted.conversation.rounds).toEqual(conversation.rounds.slice(0, fitting));
          expect(fitted.rendered.answers).toHaveLength(fitting);
        }
      }),
    );
  });

  it('a conversation that a task makes of objects is refused as a whole', () => {
    const conversation = {
      ...conversationOf(recordOf([{ kind: 'chat', rounds: rounds(4) }]), 'conversation', taskContext())!,
      task: 'rec' as const,
    };
    expect(renderFitting(conversation, size, context, 60)).toContain('exceed');
  });

  it('a text alone has no visual tokens, and no size', () => {
    const record = recordOf([{ kind: 'chat', rounds: rounds(1) }], false);
    const conversation = conversationOf(record, 'text-conversation', taskContext())!;
    const fitted = renderFitting(conversation, { id: 't', width: 0, height: 0 }, context);
    if (typeof fitted === 'string') throw new Error(fitted);
    expect(fitted.rendered.imageAt).toBeNull();
    expect(sequenceLength(fitted.rendered, { width: 0, height: 0 }, context).visual).toBe(0);
  });
});
