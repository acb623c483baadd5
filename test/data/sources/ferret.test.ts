import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import type { Box } from '../../../src/data/box.ts';
import { regionsOf } from '../../../src/data/conversation.ts';
import type { Annotations, ImageRecord } from '../../../src/data/record.ts';
import { piecesText } from '../../../src/data/render.ts';
import { encodeMask } from '../../../src/data/rle.ts';
import { ferret } from '../../../src/data/sources/ferret.ts';
import { taskContext } from '../../../src/data/tasks/context.ts';
import { conversationOf } from '../../../src/data/tasks/index.ts';
import { GROUNDING_PROMPT } from '../../../src/data/tasks/phrasings.ts';
import { boxMask } from '../loader-records.ts';
import { plainImage } from '../sample-records.ts';
import { filesIn, readAll } from './files.ts';

let png: Uint8Array;
beforeAll(async () => {
  png = await plainImage(640, 480);
});

const human = (value: string) => ({ from: 'human', value });
const gpt = (value: string) => ({ from: 'gpt', value });
const CAT = [32, 48, 160, 240] as const;
const BALL = [480, 60, 520, 100] as const;
const DOG = [320, 240, 480, 400] as const;
const pixels = ([x1, y1, x2, y2]: readonly [number, number, number, number]): Box<'pixels'> => ({
  space: 'pixels',
  x1,
  y1,
  x2,
  y2,
});

async function read(samples: readonly unknown[], options: { readonly masks?: boolean } = {}) {
  const folder = filesIn({ 'ferret.json': samples, 'images/a.png': png });
  return readAll(ferret, {
    inputs: { annotations: [join(folder, 'ferret.json')], images: [join(folder, 'images')] },
    ...options,
  });
}

const sample = (conversations: readonly unknown[], boxes: unknown, more: object = {}) => ({
  id: 's',
  image: 'a.png',
  image_w: 640,
  image_h: 480,
  conversations,
  box_x1y1x2y2: boxes,
  ...more,
});

/** What the task makes of a record, as text in 1000 bins. */
function rendered(record: Annotations, seed: number, kind?: 'point' | 'box'): string[][] {
  const conversation = conversationOf(
    record,
    'conversation',
    taskContext({ seed, groundingPrompt: GROUNDING_PROMPT, ...(kind ? { regionKind: kind } : {}) }),
  );
  return (conversation?.rounds ?? []).map(({ question, answer }) => [
    piecesText(question, record, 1000),
    piecesText(answer, record, 1000),
  ]);
}

describe('the worked example', () => {
  const DETECTION = sample(
    [
      human('<image>\nPlease localize visible objects in the image in a raster scan order.'),
      gpt('The objects are: 1: cat <bbox_location0>, 2: ball <bbox_location1>, 3: dog <bbox_location2>'),
    ],
    [[], [CAT, BALL, DOG]],
  );
  const REFERRING = sample(
    [
      human(
        '<image>\nPlease classify the objects in the following locations. 1: <bbox_location0>, 2: <bbox_location1>, 3: <bbox_location2>.',
      ),
      gpt('Here are the categories: 1: cat, 2: ball, 3: dog'),
    ],
    [[CAT, BALL, DOG], []],
  );

  it('of dense detection', async () => {
    const { records, report } = await read([DETECTION]);
    expect(rendered(records[0]!, 0)).toEqual([
      [
        `Please localize visible objects in the image in a raster scan order. ${GROUNDING_PROMPT}`,
        'The objects are: 1: cat [50, 100, 250, 500], 2: ball [750, 125, 812, 208], 3: dog [500, 500, 750, 833]',
      ],
    ]);
    expect(report).toEqual({
      counts: { images: 1, conversations: 1, rounds: 1, boxes: 3 },
      skipped: {},
      mended: {},
      examples: {},
    });
  });

  it('of dense referring', async () => {
    const { records, report } = await read([REFERRING]);
    expect(rendered(records[0]!, 0, 'box')).toEqual([
      [
        'Please classify the objects in the following locations. 1: [50, 100, 250, 500] <region_fea>, 2: [750, 125, 812, 208] <region_fea>, 3: [500, 500, 750, 833] <region_fea>.',
        'Here are the categories: 1: cat, 2: ball, 3: dog',
      ],
    ]);
    expect(report.counts).toEqual({ images: 1, conversations: 1, rounds: 1, regions: 3 });
  });

  it('of a question about what is next to the cat: the prompt is not said twice', async () => {
    const { records } = await read([
      sample(
        [human(`<image>\nWhat is next to the cat? ${GROUNDING_PROMPT}`), gpt('A ball <bbox_location0>.')],
        [[], [BALL]],
      ),
    ]);
    expect(rendered(records[0]!, 0)).toEqual([
      [`What is next to the cat? ${GROUNDING_PROMPT}`, 'A ball [750, 125, 812, 208].'],
    ]);
  });

  it('points in half of the turns, all regions of a turn alike, and inside the masks', async () => {
    const masks = [[CAT, BALL, DOG].map(box => boxMask(pixels(box), 640, 480))];
    const { records } = await read([{ ...REFERRING, masks }]);
    const kinds = Array.from({ length: 60 }, (_, seed) => {
      const conversation = conversationOf(records[0]!, 'conversation', taskContext({ seed }));
      const regions = conversation ? regionsOf(conversation) : [];
      expect(regions).toHaveLength(3);
      for (const [i, region] of regions.entries()) {
        const { x1, y1, x2, y2 } = pixels([CAT, BALL, DOG][i]!);
        expect(region.mask).toEqual(masks[0]![i]);
        if (region.kind !== 'point') continue;
        expect(
          region.point.x >= x1 && region.point.x < x2 && region.point.y >= y1 && region.point.y < y2,
        ).toBe(true);
      }
      expect(new Set(regions.map(({ kind }) => kind)).size).toBe(1);
      return regions[0]?.kind;
    });
    const points = kinds.filter(kind => kind === 'point').length;
    expect(points).toBeGreaterThan(15);
    expect(points).toBeLessThan(45);
    expect(kinds.filter(kind => kind === 'box')).toHaveLength(60 - points);
  });
});

describe('what is wrong in a turn', () => {
  const two = (answer: string, boxes: unknown, more: object = {}) =>
    sample(
      [human('<image>\nWhere?'), gpt(answer), human('And what is <bbox_location0>?'), gpt('A cat.')],
      [[], boxes, [CAT], []],
      more,
    );

  it.each([
    [
      'a placeholder without a box',
      'at <bbox_location1>',
      [CAT],
      'round left out: placeholder without a box',
    ],
    ['an inverted box', 'at <bbox_location0>', [[160, 48, 32, 240]], 'round left out: inverted box'],
    ['a box without area', 'at <bbox_location0>', [[32, 48, 32, 240]], 'round left out: box without area'],
    [
      'a box outside',
      'at <bbox_location0>',
      [[700, 48, 800, 240]],
      'round left out: box outside of the image',
    ],
    [
      'three numbers',
      'at <bbox_location0>',
      [[700, 48, 800]],
      'round left out: box that is not four numbers',
    ],
    ['a text', 'at <bbox_location0>', ['here'], 'round left out: box that is not four numbers'],
    ['no list of boxes', 'at <bbox_location0>', null, 'round left out: placeholder without a box'],
  ])('%s takes its round along, not the others', async (_, answer, boxes, reason) => {
    const { records, report } = await read([two(answer, boxes)]);
    expect(rendered(records[0]!, 0, 'box')).toEqual([
      ['And what is [50, 100, 250, 500] <region_fea>?', 'A cat.'],
    ]);
    expect(report.mended).toEqual({ [reason]: 1 });
    expect(report.examples[reason]).toEqual(['ferret.json:1, sample s, turn 1']);
  });

  it('a box beyond the edge is cut, a box nobody speaks of ignored', async () => {
    const { records, report } = await read([two('at <bbox_location0>', [[-8, 48, 160, 500], BALL])]);
    expect(records[0]?.conversations?.[0]?.rounds[0]?.answer[1]).toEqual({
      kind: 'box',
      box: pixels([0, 48, 160, 480]),
    });
    expect(report.mended).toEqual({
      'box cut at the edge of the image': 1,
      'box without a placeholder left out': 1,
    });
  });

  it('a mask that cannot be used leaves the region its box', async () => {
    const given = [
      [{ size: [480, 600], counts: '0' }, 'mask of another size dropped'],
      [{ size: [480, 640], counts: 'broken\u0001' }, 'mask that is no run-length encoding dropped'],
      ['mask', 'mask that is no run-length encoding dropped'],
      [{ size: [480, 640], counts: [480 * 640] }, 'mask without a pixel dropped'],
      [{ size: [480, 640], counts: [0, 480 * 640] }, null],
      [null, null],
    ] as const;
    for (const [mask, reason] of given) {
      const { records, report } = await read([
        sample([human('<image>\nWhat is <bbox_location0>?'), gpt('A cat.')], [[CAT], []], {
          masks: [[mask], []],
        }),
      ]);
      const region = records[0]?.conversations?.[0]?.rounds[0]?.question[1];
      const whole = {
        mask: encodeMask({ width: 640, height: 480, data: new Uint8Array(640 * 480).fill(1) }),
      };
      const isWhole = reason === null && mask !== null;
      expect(region).toEqual({
        kind: 'region',
        region: { kind: 'box', box: pixels(CAT), ...(isWhole ? whole : {}) },
      });
      expect(report.mended).toEqual(reason === null ? {} : { [reason]: 1 });
    }
  });

  it('masks are left out where asked', async () => {
    const mask = boxMask(pixels(CAT), 640, 480);
    const { records } = await read(
      [sample([human('<image>\n<bbox_location0>?'), gpt('A cat.')], [[CAT], []], { masks: [[mask], []] })],
      { masks: false },
    );
    expect(records[0]?.conversations?.[0]?.rounds[0]?.question[0]).toEqual({
      kind: 'region',
      region: { kind: 'box', box: pixels(CAT) },
    });
  });

  it('a sample made for another size of image goes, one without sizes and boxes stays', async () => {
    const { records, report } = await read([
      sample([human('<image>\nA?'), gpt('B')], [], { image_w: 480, image_h: 640 }),
      { id: 'plain', image: 'a.png', conversations: [human('<image>\nC? <region_fea>'), gpt('D')] },
    ]);
    expect((records as ImageRecord[]).map(record => rendered(record, 0))).toEqual([[['C?', 'D']]]);
    expect(report.skipped).toEqual({ 'image of another size than annotated': 1 });
  });
});
