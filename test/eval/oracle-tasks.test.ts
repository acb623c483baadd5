import { describe, expect, it } from 'vitest';
import type { ImageRecord } from '../../src/data/record.ts';
import { piecesText } from '../../src/data/render.ts';
import type { ConversationTask } from '../../src/data/tasks/index.ts';
import { questionsOf } from '../../src/eval/questions.ts';
import { judge, verdictOf } from '../../src/eval/score.ts';
import { scoresOf } from '../../src/eval/scores.ts';
import { memoryDataset, pixelBox } from './tiny.ts';

/** An image of 1000 x 1000 pixels, so that bins are pixels, from which every task has questions. */
function record(number: number): ImageRecord {
  const [x, y] = [100 * number, 50 * number];
  return {
    id: `street-${number}`,
    image: new Uint8Array([1]),
    width: 1000,
    height: 1000,
    captions: [`A dog beside the number ${number}7.`, `Street ${number} with a dog.`],
    objects: [
      { label: 'dog', phrase: 'dog', attributes: [], box: pixelBox(x, y, x + 200, y + 200) },
      {
        label: 'digit',
        phrase: `digit ${number}7`,
        attributes: [`${number}7`],
        box: pixelBox(x + 300, y + 300, x + 400, y + 420),
      },
    ],
    relations: [],
    spans: [{ caption: 0, start: 0, end: 5, objects: [0] }],
    conversations: [
      { kind: 'vqa', rounds: [0, 1, 2].map(n => round(`Question ${n}?`, `answer ${n}`)) },
      { kind: 'presence', rounds: [round('Is there a dog?', 'yes'), round('Is there a cat?', 'no')] },
    ],
  };
}

function round(question: string, answer: string) {
  return {
    question: [{ kind: 'text' as const, text: question }],
    answer: [{ kind: 'text' as const, text: answer }],
  };
}

async function scoresWith(task: ConversationTask, answerOf: (truth: string) => string) {
  const dataset = memoryDataset([1, 2, 3].map(record));
  const judged = [];
  for await (const question of questionsOf(dataset, { task, limit: 100, seed: 0, groundingPrompt: '' })) {
    const { record, round, object } = question;
    const answer = piecesText(round.answer, record, 1000);
    const { captions, objects } = record;
    const asked = {
      task,
      truth: { answer, ...round.truth },
      object,
      image: record,
      captions,
      objects: objects.map(({ label, box }) => ({ label, box, crowd: false })),
    };
    const one = judge(asked, answerOf(answer), { space: 'bins', bins: 1000 });
    verdictOf(one);
    judged.push(one);
  }
  return { count: judged.length, scores: scoresOf(judged) };
}

/** Scores that the truth itself reaches, with the number of questions. */
const BEST: readonly [ConversationTask, number, Readonly<Record<string, number>>][] = [
  ['rec', 6, { rec_accuracy: 1, rec_mean_box_accuracy: 1, rec_any_accuracy: 1, rec_ceiling: 1 }],
  ['roc', 18, { roc_accuracy: 1, roc_accuracy_point: 1, roc_accuracy_free_form: 1 }],
  ['phrase-grounding', 3, { phrase_grounding_merged_r1: 1, phrase_grounding_any_r10: 1 }],
  [
    'dense-detection',
    3,
    { dense_detection_ap: 1, dense_detection_ar100: 1, dense_detection_raster_order: 1 },
  ],
  [
    'grounded-caption',
    3,
    { grounded_caption_box_f1: 1, grounded_caption_f1_all: 1, grounded_caption_bleu4: 1 },
  ],
  ['caption', 3, { caption_bleu1: 1, caption_bleu4: 1 }],
  ['presence', 6, { presence_accuracy: 1, presence_f1: 1, presence_yes_ratio: 0.5, presence_neither: 0 }],
  ['vqa', 9, { vqa_accuracy: 1, vqa_exact: 1, vqa_anls: 1 }],
  ['count', 6, { count_accuracy: 1 }],
];

describe('every task', () => {
  it.each(BEST)('%s gives the truth all points, asking all there is', async (task, count, best) => {
    const found = await scoresWith(task, truth => truth);
    for (const [name, value] of Object.entries(best))
      expect([name, found.scores[name]]).toEqual([name, expect.closeTo(value, 8)]);
    expect(found.count).toBe(count);
  });

  it.each(BEST.map(([task]) => task))('%s gives nothing for garbage', async task => {
    for (const garbage of ['', '[[[', '[1, 2, 3]', '\u0000', '[9999, 0, 1, 2] <box>']) {
      const { scores } = await scoresWith(task, () => garbage);
      const points = Object.entries(scores).filter(([name]) => !/ceiling|neither|bleu/.test(name));
      expect(points.length).toBeGreaterThan(0);
      for (const [name, value] of points) expect([name, value]).toEqual([name, 0]);
    }
  });
});
