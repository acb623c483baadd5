import { join } from 'node:path';
import fc from 'fast-check';
import sharp from 'sharp';
import { describe, expect, it } from 'vitest';
import { type Dataset, openDataset } from '../../src/data/dataset.ts';
import { linesOf, printable } from '../../src/data/preview/lines.ts';
import { partsOf, Transcriber, tokensOf } from '../../src/data/preview/transcript.ts';
import { type PreviewOptions, previewDataset } from '../../src/data/preview.ts';
import type { ImageRecord, StoredRound } from '../../src/data/record.ts';
import { decodeMask, encodeMask } from '../../src/data/rle.ts';
import { writeShards } from '../../src/data/shards.ts';
import { renderScenes } from '../../src/data/sources/scenes.ts';
import type { TaskName } from '../../src/data/tasks/names.ts';
import { temporaryFolder } from '../helpers/folder.ts';
import { box, model, tokenizer } from './loader-records.ts';
import { soundRecord } from './sample-records.ts';

const RED = [229, 56, 59];
const TRAINED = [10, 130, 50];
const FAINT = [120, 120, 120];
const MARGIN = 8;

async function withDataset<T>(
  records: readonly ImageRecord[],
  work: (dataset: Dataset) => Promise<T>,
): Promise<T> {
  const dir = join(temporaryFolder(), 'set');
  await writeShards(records, dir, { source: {}, builder: 'test' });
  const dataset = await openDataset(dir);
  try {
    return await work(dataset);
  } finally {
    await dataset.close();
  }
}

const transcriberOf = (dataset: Dataset, ...tasks: TaskName[]) =>
  Transcriber.open(
    dataset,
    {
      model,
      stage: {
        ...{ views: 'global', grounding_prompt: '', data: [], steps: 1000, seed: 1 },
        batch: { samples: 1, accumulate: 1 },
      },
    },
    tasks,
  );

/** The sheet, and its pixels by place. */
async function sheetOf(dataset: Dataset, options: PreviewOptions) {
  const png = await previewDataset(dataset, options);
  const { data, info } = await sharp(png).raw().toBuffer({ resolveWithObject: true });
  const pixel = (x: number, y: number) => [
    ...data.subarray((y * info.width + x) * 3, (y * info.width + x) * 3 + 3),
  ];
  const has = (colour: readonly number[]) => {
    for (let i = 0; i < data.length; i += 3) {
      if (colour.every((level, c) => data[i + c] === level)) return true;
    }
    return false;
  };
  return { ...info, pixel, has };
}

const far = (a: readonly number[], b: readonly number[]) =>
  Math.max(...a.map((level, c) => Math.abs(level - (b[c] ?? 0))));

describe('boxes on the sheet', () => {
  it('lie on their objects: scenes of flat colour, every edge between what is the object and what is not', async () => {
    const scale = 8;
    const options = { sizes: [{ width: 48, height: 40 }], preset: 'easy' } as const;
    const scenes: ImageRecord[] = [];
    for await (const scene of renderScenes(4, 12, options)) scenes.push(scene);
    // One object a record, drawn alone: its colour, taken from the image, ends where the box does.
    const records = scenes.map(({ objects, ...scene }) => ({
      ...scene,
      captions: [],
      relations: [],
      objects: objects.slice(-1).map(({ mask: _, ...object }) => object),
    }));
    await withDataset(records, async dataset => {
      const side = 48 * scale;
      let edges = 0;
      for (let row = 0; row < records.length; row++) {
        const { pixel } = await sheetOf(dataset, { rows: [row], side });
        const { x1, y1, x2, y2 } = records[row]!.objects[0]!.box;
        const bitmap = decodeMask(scenes[row]!.objects.at(-1)!.mask!);
        const inside = (x: number, y: number) => bitmap.data[y * bitmap.width + x] === 1;
        const [left, top] = [MARGIN + x1 * scale, MARGIN + y1 * scale];
        const [right, bottom] = [MARGIN + x2 * scale - 1, MARGIN + y2 * scale - 1];
        const middle = Math.round((left + right) / 2);
        // The outline is there, of its colour, and no pixel farther out.
        for (const [x, y] of [
          [left, bottom],
          [right, bottom],
          [middle, bottom],
          [right, bottom - 20],
        ]) {
          expect(pixel(x!, y!)).toEqual(RED);
          edges++;
        }
        expect(pixel(middle, bottom + 1)).not.toEqual(RED);
        expect(pixel(left - 1, bottom)).not.toEqual(RED);
        expect(pixel(left - 1, top)).not.toEqual(RED);
        // The object touches each side from within, and nothing of it is beyond.
        const columns = Array.from({ length: x2 - x1 }, (_, i) => x1 + i);
        const rows = Array.from({ length: y2 - y1 }, (_, i) => y1 + i);
        expect(columns.some(x => inside(x, y1)) && columns.some(x => inside(x, y2 - 1))).toBe(true);
        expect(rows.some(y => inside(x1, y)) && rows.some(y => inside(x2 - 1, y))).toBe(true);
        // What is seen just above the bottom line is the object, just below it the background.
        const touching = columns.find(x => inside(x, y2 - 1))!;
        const [x, above] = [MARGIN + touching * scale + 3, bottom - 3];
        const { data, info } = await sharp(records[row]!.image)
          .removeAlpha()
          .raw()
          .toBuffer({ resolveWithObject: true });
        const stored = [...data.subarray(((y2 - 1) * info.width + touching) * 3).subarray(0, 3)];
        expect(far(pixel(x, above), stored)).toBeLessThan(4);
      }
      expect(edges).toBe(4 * 12);
    });
  });

  it.each([3, 6, 8])('lie on their objects in images with EXIF orientation %i', async orientation => {
    // A white square at the upper left of black pixels as they are stored.
    const pixels = new Uint8Array(32 * 32 * 3);
    for (let y = 4; y < 12; y++) pixels.fill(255, (y * 32 + 4) * 3, (y * 32 + 12) * 3);
    const image = await sharp(pixels, { raw: { width: 32, height: 32, channels: 3 } })
      .withMetadata({ orientation })
      .jpeg({ quality: 100 })
      .toBuffer();
    const object = { label: 'a', phrase: 'a', attributes: [], box: box(4, 4, 12, 12) };
    const record = {
      ...(await soundRecord('r')),
      ...{ width: 32, height: 32, objects: [object], relations: [], captions: [] },
      image: new Uint8Array(image),
    };
    await withDataset([record], async dataset => {
      const { pixel } = await sheetOf(dataset, { side: 320 });
      expect(pixel(MARGIN + 119, MARGIN + 119)).toEqual(RED);
      expect(Math.min(...pixel(MARGIN + 110, MARGIN + 110))).toBeGreaterThan(220);
      expect(Math.max(...pixel(MARGIN + 130, MARGIN + 130))).toBeLessThan(40);
    });
  });
});

describe('conversations on the sheet', () => {
  const text = (words: string) => ({ kind: 'text', text: words }) as const;
  const square = (left: number, top: number, side: number) => {
    const data = new Uint8Array(40 * 40).map((_, i) => {
      const [x, y] = [i % 40, Math.floor(i / 40)];
      return Number(x >= left && x < left + side && y >= top && y < top + side);
    });
    return encodeMask({ width: 40, height: 40, data });
  };
  const rounds: readonly StoredRound[] = [
    { question: [text('Where is it?')], answer: [text('Here '), { kind: 'box', box: box(4, 4, 12, 12) }] },
    {
      question: [
        text('And '),
        { kind: 'region', region: { kind: 'point', point: { x: 30, y: 8 } } },
        { kind: 'region', region: { kind: 'free-form', mask: square(10, 20, 10) } },
      ],
      answer: [text('An été.')],
    },
  ];
  const talk = async (): Promise<ImageRecord> => {
    const background = '#101010';
    const png = sharp({ create: { width: 40, height: 40, channels: 3, background } }).png();
    return {
      ...{ id: 'talk', width: 40, height: 40, captions: [], objects: [], relations: [] },
      image: new Uint8Array(await png.toBuffer()),
      conversations: [{ kind: 'chat', rounds }],
    };
  };
  const alone: ImageRecord = {
    ...{ id: 'alone', width: 0, height: 0, captions: [], objects: [], relations: [] },
    image: new Uint8Array(0),
    conversations: [{ kind: 'chat', rounds: [{ question: [text('Hello.')], answer: [text('Good day.')] }] }],
  };

  it('show boxes of the turns, points and free forms, and what is trained in its colour', async () => {
    await withDataset([await talk()], async dataset => {
      const transcriber = await transcriberOf(dataset, 'conversation');
      const plain = await sheetOf(dataset, { side: 320 });
      expect(plain.has(TRAINED)).toBe(false);
      const { pixel, has, height } = await sheetOf(dataset, { side: 320, transcriber });
      expect(has(TRAINED) && has(FAINT)).toBe(true);
      expect(height).toBeGreaterThan(plain.height);
      const at = (x: number, y: number) => pixel(MARGIN + x * 8, MARGIN + y * 8);
      expect(at(11.875, 11)).toEqual(RED);
      expect(at(12, 11)).toEqual([16, 16, 16]);
      expect(at(30, 8)).toEqual([34, 116, 229]);
      const [r = 0, g = 0, b = 0] = at(15, 25);
      expect(g).toBeGreaterThan(Math.max(r, b) + 40);
      expect(at(21, 25)).toEqual([16, 16, 16]);
    });
  });

  it('of text alone are drawn as text, beside images', async () => {
    await withDataset([alone, await talk()], async dataset => {
      const transcriber = await transcriberOf(dataset, 'conversation', 'text-conversation');
      const one = await sheetOf(dataset, { side: 160, rows: [0], transcriber });
      expect(one.has(TRAINED)).toBe(true);
      expect(one.height).toBeLessThan(100);
      expect((await sheetOf(dataset, { side: 160, transcriber })).width).toBe(8 + 2 * 168);
      // Without a task there is nothing to say of it but its name.
      expect((await sheetOf(dataset, { side: 160, rows: [0] })).has(TRAINED)).toBe(false);
    });
  });

  it('say which tokens are trained: those of the answers and their ends, no others', async () => {
    await withDataset([await talk(), alone], async dataset => {
      const transcriber = await transcriberOf(dataset, 'conversation', 'text-conversation');
      const transcript = transcriber.transcribe(await dataset.read(0), 0)!;
      const parts = partsOf(transcript.tokens);
      expect(parts.map(part => part.trained)).toEqual([false, true, false, true]);
      expect(parts[0]!.text).toMatch(/<image>\nWhere is it\? ASSISTANT:$/);
      expect(parts[1]!.text).toBe(' Here [6, 6, 19, 19]</s>');
      expect(parts[2]!.text).toMatch(
        /^USER: And \[48, 12\] <region_fea>\[16, 32, .*<region_fea> ASSISTANT:$/,
      );
      expect(parts[3]!.text).toBe(' An été.</s>');
      expect(transcript.visual).toBe(16);
      expect(transcript.tokens.filter(({ id }) => id === null)).toHaveLength(1);
      expect(transcriber.transcribe(await dataset.read(1), 1)?.task).toBe('text-conversation');
      expect(transcriber.tasksOf(await dataset.read(1), 1)).toEqual(['text-conversation']);
    });
  });

  it('are cut to so many lines, and sheets have a largest size', async () => {
    const long = { ...alone, conversations: [{ kind: 'chat', rounds: [round(3000)] }] } as ImageRecord;
    await withDataset([long], async dataset => {
      const transcriber = await transcriberOf(dataset, 'text-conversation');
      const sheet = await sheetOf(dataset, { side: 120, transcriber });
      expect(sheet.height).toBe(8 + 8 + 60 * 10 + 8);
      // Longer than the model takes: said, and shown all the same.
      expect(sheet.has([200, 30, 30]) && sheet.has(TRAINED)).toBe(true);
      const side = 4096;
      const rows = Array.from({ length: 9 }, () => 0);
      await withDataset([await talk()], async images => {
        await expect(previewDataset(images, { rows, side, columns: 3 })).rejects.toMatchObject({
          code: 'usage',
          message: expect.stringContaining('the sheet would have'),
        });
        await expect(previewDataset(images, { rows: [1] })).rejects.toMatchObject({
          code: 'usage',
          message: expect.stringContaining('there is no row 1'),
        });
      });
    });
  });

  function round(words: number): StoredRound {
    return { question: [text('Go on.')], answer: [text('word '.repeat(words).trim())] };
  }
});

describe('lines', () => {
  const colours = [
    [1, 1, 1],
    [2, 2, 2],
  ] as const;

  it('keep every letter and its colour, none longer than the width', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.string({ unit: 'grapheme' }), fc.nat(1)), { maxLength: 6 }),
        fc.integer({ min: 6, max: 120 }),
        (parts, width) => {
          const inks = parts.map(([text, colour]) => ({ text, colour: colours[colour]! }));
          const lines = linesOf(inks, width);
          const letters = (which: typeof inks) =>
            which.flatMap(({ text, colour }) =>
              [...printable(text).replaceAll(/[ \n]/g, '')].map(letter => `${letter}${colour[0]}`),
            );
          expect(letters(lines.flat().map(ink => ({ ...ink, colour: colours[ink.colour[0] - 1]! })))).toEqual(
            letters(inks),
          );
          for (const line of lines) {
            expect(line.reduce((sum, { text }) => sum + text.length, 0)).toBeLessThanOrEqual(
              Math.max(1, Math.floor(width / 6)),
            );
          }
        },
      ),
    );
  });

  it('break at blanks and line breaks', () => {
    const written = (text: string, width: number) =>
      linesOf([{ text, colour: colours[0] }], width).map(line => line.map(ink => ink.text).join(''));
    expect(written('a cat on a mat', 6 * 6)).toEqual(['a cat', 'on a', 'mat']);
    expect(written('abcdef gh', 6 * 6)).toEqual(['abcdef', 'gh']);
    expect(written('one\n\ntwo', 60)).toEqual(['one', '', 'two']);
    expect(written('incomprehensible', 6 * 6)).toEqual(['incomp', 'rehens', 'ible']);
    expect(printable('été 你')).toBe('\\u{e9}t\\u{e9} \\u{4f60}');
  });
});

it('a letter of several tokens is whole in its part', () => {
  const ids = tokenizer.encode(' été');
  const tokens = tokensOf(
    { tokens: ids, imageAt: null, regionsAt: [], answers: [[0, ids.length]] },
    tokenizer,
  );
  expect(partsOf(tokens)).toEqual([{ text: ' été', trained: true }]);
});
