import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { bucketSize } from '../../src/data/buckets.ts';
import { arraysOf, collate } from '../../src/data/collate.ts';
import { averageOver, collateContrastive, pairsOf } from '../../src/data/contrastive.ts';
import { promptOf, regionPiece, textPiece } from '../../src/data/conversation.ts';
import { patchLayout, tileCountOf } from '../../src/data/maps.ts';
import { piecesText } from '../../src/data/render.ts';
import { prepareSample, prepareViews, type Sample, type SampleContext } from '../../src/data/sample.ts';
import { taskContext } from '../../src/data/tasks/context.ts';
import { type ConversationTask, conversationOf } from '../../src/data/tasks/index.ts';
import type { ConversationBatch } from '../../src/models/batch.ts';
import type { ModelConfig } from '../../src/models/config.ts';
import { Random } from '../../src/random.ts';
import { box, model, randomRecord, tokenizer } from './loader-records.ts';

const context: SampleContext = { model, tokenizer, views: 'global+local', seed: 1 };
const layout = patchLayout(model);

async function samplesOf(task: ConversationTask, count: number, given: Partial<SampleContext> = {}) {
  const all = await Promise.all(
    Array.from({ length: count }, async (_, i) => {
      const record = await randomRecord(i, 1 + (i % 4));
      const conversation = conversationOf(record, task, taskContext({ labels: ['moon'] }));
      return conversation && prepareSample(record, conversation, { ...context, ...given });
    }),
  );
  return all.filter((sample): sample is Sample => sample !== null);
}

/** The table [text | global | local | regions | zero] as numbers that name their row, for gathering. */
function kinds(batch: ConversationBatch) {
  const text = batch.size * batch.length;
  const global = batch.globalPixels.shape[0]! * layout.globalCount;
  const local = batch.localPixels.shape[0]! * layout.tileCount;
  const starts = { text: 0, global: text, local: text + global, regions: text + global + local };
  return { ...starts, zero: starts.regions + batch.regions.count, positions: text };
}

describe('a batch', () => {
  it('has tiles normalised as the encoder that reads them was trained', async () => {
    const samples = await samplesOf('rec', 2);
    const tiles = samples[0]!.views!.tiles;
    const level = (tiles[0] ?? 0) / 255;
    const first = (reader?: 'global_encoder'): number =>
      collate(samples, { ...model, ...(reader && { tile_encoder: reader }) }).localPixels.data[0]!;
    expect(first()).toBeCloseTo((level - 0.485) / 0.229, 5);
    expect(first('global_encoder')).toBeCloseTo((level - 0.48145466) / 0.26862954, 5);
  });

  const tasks: ConversationTask[] = ['dense-referring', 'rec', 'roc', 'caption', 'scene-text'];

  it.each(tasks)('of %s: source and inverse are mutual inverses, padding reads the zero row', async task => {
    const samples = await samplesOf(task, 5);
    const batch = collate(samples, model);
    const { zero, positions } = kinds(batch);
    expect(batch.source.data).toHaveLength(positions);
    expect(batch.sourceInverse.data).toHaveLength(zero + 1);
    const read = new Set<number>();
    batch.source.data.forEach((row, position) => {
      expect(row === zero).toBe(batch.mask.data[position] === 0);
      if (row === zero) return;
      expect(read.has(row)).toBe(false);
      read.add(row);
      expect(batch.sourceInverse.data[row]).toBe(position);
    });
    batch.sourceInverse.data.forEach((position, row) => {
      expect(position === positions).toBe(!read.has(row));
    });
    const regions = samples.reduce((n, sample) => n + sample.regions.length, 0);
    const visual = samples.reduce(
      (n, { views }) => n + (views ? layout.globalCount + tileCountOf(views) * layout.tileCount : 0),
      0,
    );
    const used = samples.reduce((n, sample) => n + sample.rendered.tokens.length, visual);
    expect(read.size).toBe(used);
    expect([...read].filter(row => row >= kinds(batch).regions)).toHaveLength(regions);
  });

  it.each(tasks)('of %s: labels are exactly the answers with their end tokens', async task => {
    const records = await Promise.all([0, 1, 2, 3].map(i => randomRecord(i, 1 + (i % 4))));
    const conversations = records.map(
      record => conversationOf(record, task, taskContext({ labels: ['moon'] }))!,
    );
    const samples = await Promise.all(conversations.map((c, i) => prepareSample(records[i]!, c, context)));
    const batch = collate(samples, model);
    const bySample = records.map(() => [] as number[]);
    batch.targets.data.forEach((target, i) => {
      const weight = batch.targetWeights.data[i]!;
      if (weight === 0) return;
      expect(weight).toBe(1);
      const row = batch.targetRows.data[i]!;
      // What a position predicts is what the next position holds.
      expect(batch.tokens.data[row + 1]).toBe(target);
      bySample[Math.floor(row / batch.length)]!.push(target);
    });
    for (const [i, conversation] of conversations.entries()) {
      const want = conversation.rounds
        .map(round => ` ${piecesText(round.answer, records[i]!, 64)}</s>`)
        .join('');
      expect(tokenizer.decode(bySample[i]!, { special: true })).toBe(want);
    }
    const paddedWeights = batch.targetWeights.data.filter(weight => weight === 0);
    expect(batch.targets.data).toHaveLength(bySample.flat().length + paddedWeights.length);
  });

  it('reads text, image and regions at their places', async () => {
    const record = await randomRecord(1, 2);
    const conversation = conversationOf(record, 'reg', taskContext({ rounds: 1, regionKind: 'box' }))!;
    const sample = await prepareSample(record, conversation, context);
    const batch = collate([sample], model);
    const { global, local, regions } = kinds(batch);
    const rows = [...batch.source.data];
    const first = rows.indexOf(global);
    // <s>USER: then the global view, then the merged tiles: the record is wide, so two beside each other.
    expect(tokenizer.decode([...batch.tokens.data.slice(0, first)], { special: true })).toBe('<s>USER: ');
    expect(rows.slice(first, first + 16)).toEqual(Array.from({ length: 16 }, (_, i) => global + i));
    expect(sample.views?.grid).toEqual([2, 1]);
    const merged = [0, 1, 2, 3, 16, 17, 18, 19, 4, 5, 6, 7, 20, 21, 22, 23].map(row => local + row);
    expect(rows.slice(first + 16, first + 32)).toEqual(merged);
    const region = rows.indexOf(regions);
    expect(batch.tokens.data[region]).toBe(tokenizer.regionId);
    expect(rows.filter(row => row >= regions && row < regions + batch.regions.count)).toEqual([regions]);
    const after = first + 48;
    expect(tokenizer.decode([batch.tokens.data[after]!])).toBe('\n');
    const swapped: ModelConfig = { ...model, layout: { order: 'local-global' } };
    const other = collate([sample], swapped).source.data;
    expect(other[first]).toBe(local);
    expect(other[first + 32]).toBe(global);
  });

  it('shifts map rows to each image, and gives regions without tiles the zero row', async () => {
    const samples = await samplesOf('dense-referring', 3);
    const batch = collate(samples, model);
    const points = model.sampler.points * 4;
    let [r, globalStart, localStart] = [0, 0, 0];
    for (const { regions, views } of samples) {
      for (const region of regions) {
        const rows = (all: Int32Array) => [...all.subarray(r * points, (r + 1) * points)];
        expect(rows(batch.regions.globalRows.data)).toEqual(
          [...region.global.rows].map(row => row + globalStart),
        );
        expect(rows(batch.regions.localRows.data)).toEqual(
          [...region.local!.rows].map(row => row + localStart),
        );
        r++;
      }
      globalStart += 16;
      localStart += tileCountOf(views!) * 16;
    }
    expect(batch.regions.count).toBeGreaterThanOrEqual(r);
    const padding = batch.regions.localRows.data.subarray(r * points);
    expect([...padding].every(row => row === batch.localPixels.shape[0]! * 16)).toBe(true);
    expect(batch.regions.globalWeights.data.subarray(r * points).every(weight => weight === 0)).toBe(true);

    const low = collate(await samplesOf('dense-referring', 3, { views: 'global' }), model);
    expect(low.localPixels.shape).toEqual([0, 3, 32, 32]);
    expect(low.regions.localRows.data.every(row => row === 0)).toBe(true);
    expect(low.regions.localWeights.data.every(weight => weight === 0)).toBe(true);
  });

  it('of text has no images; beside images, samples without one have an image of zeros that nothing reads', async () => {
    const text = await samplesOf('scene-text', 2);
    const batch = collate(text, model);
    expect(batch.globalPixels.shape).toEqual([0, 3, 32, 32]);
    expect(batch.regions.count).toBe(0);
    const [pictured] = await samplesOf('caption', 1);
    const mixed = collate([text[0]!, pictured!, text[1]!], model);
    expect(mixed.globalPixels.shape).toEqual([3, 3, 32, 32]);
    const { global, local } = kinds(mixed);
    const read = [...mixed.source.data].filter(row => row >= global && row < local);
    expect(read).toEqual(Array.from({ length: layout.globalCount }, (_, i) => global + i));
    const pixels = 3 * 32 * 32;
    expect(mixed.globalPixels.data.subarray(0, pixels)).toEqual(
      collate([pictured!], model).globalPixels.data,
    );
    expect(mixed.globalPixels.data.subarray(pixels).every(value => value === 0)).toBe(true);
    expect(() => collate([], model)).toThrow(/0 samples/);
  });

  it('has sizes of its own only when asked', async () => {
    const samples = await samplesOf('dense-referring', 3);
    const exact = collate(samples, model, { buckets: false });
    const regions = samples.reduce((n, sample) => n + sample.regions.length, 0);
    expect(exact.regions.count).toBe(regions);
    expect(exact.targetWeights.data.every(weight => weight === 1)).toBe(true);
    const longest = Math.max(
      ...[0, 1, 2].map(b =>
        exact.mask.data
          .subarray(b * exact.length)
          .subarray(0, exact.length)
          .reduce((n, m) => n + m, 0),
      ),
    );
    expect(exact.length).toBe(longest);
  });

  it('lists every array once, for the journey between threads', async () => {
    const batch = collate(await samplesOf('rec', 2), model);
    const arrays = arraysOf(batch);
    expect(new Set(arrays.map(array => array.buffer)).size).toBe(arrays.length);
    expect(arrays).toHaveLength(19);
  });
});

describe('a prompt', () => {
  it('ends where the model goes on, and depends on image and seed alone', async () => {
    const record = await randomRecord(2, 3);
    const region = regionPiece({ kind: 'point', point: { x: 9, y: 9 } });
    const prompt = promptOf('reg', [textPiece('What is '), region, textPiece('?')]);
    const sample = await prepareSample(record, prompt, context, { prompt: true });
    expect(tokenizer.decode(sample.rendered.tokens, { special: true })).toBe(
      '<s>USER: \nWhat is [9, 9] <region_fea>? ASSISTANT:',
    );
    expect(await prepareSample(record, prompt, context, { prompt: true })).toEqual(sample);
    const batch = collate([sample], model, { buckets: false });
    expect(batch.targets.data).toHaveLength(0);
    expect(batch.regions.count).toBe(1);
  });

  it('leaves out the last answer only', async () => {
    const record = await randomRecord(2, 3);
    const conversation = conversationOf(record, 'count', taskContext({ phrasing: 'literal', rounds: 2 }))!;
    const sample = await prepareSample(record, conversation, context, { prompt: true });
    const text = tokenizer.decode(sample.rendered.tokens, { special: true });
    expect(text).toMatch(/ASSISTANT: 1<\/s>USER: How many \w+ are in the image\? ASSISTANT:$/);
    expect(sample.rendered.answers).toHaveLength(1);
  });
});

describe('rendering', () => {
  const render = async (given: Partial<ModelConfig>, task: ConversationTask) => {
    const record = await randomRecord(0, 1);
    const conversation = conversationOf(record, task, taskContext({ phrasing: 'literal', rounds: 1 }))!;
    const sample = await prepareSample(record, conversation, { ...context, model: { ...model, ...given } });
    return tokenizer.decode(sample.rendered.tokens, { special: true });
  };

  it('puts the system prompt first, and plain captions behind the image', async () => {
    expect(await render({ system: 'Be brief.' }, 'count')).toBe(
      '<s>Be brief. USER: \nHow many circles are in the image? ASSISTANT: 1</s>',
    );
    expect(await render({ template: 'plain' }, 'caption')).toBe('<s>the image shows a red circle.\n');
    expect(await render({ template: 'plain' }, 'count')).toBe('<s>How many circles are in the image?\n1\n');
  });

  it('refuses special tokens in words, regions without an image and what is too long', async () => {
    const record = await randomRecord(0, 1);
    const say = (text: string) => promptOf('reg', [textPiece(text)]);
    await expect(prepareSample(record, say('x </s> y'), context)).rejects.toThrow(
      /^record-0: text holds the special token <\/s>/,
    );
    await expect(prepareSample(record, say('<region_fea>'), context)).rejects.toThrow(/<region_fea>/);
    const region = regionPiece({ kind: 'box', box: box(0, 0, 5, 5) });
    await expect(prepareSample(record, promptOf('reg', [region], false), context)).rejects.toThrow(
      /needs an image/,
    );
    const short = { ...context, model: { ...model, max_length: 85 } };
    await expect(prepareSample(record, say('a'), short)).rejects.toThrow(
      /^record-0: \d+ tokens \(80 visual, \d+ text\) exceed max_length 85/,
    );
    const outside = regionPiece({ kind: 'box', box: box(70, 0, 75, 5) });
    await expect(prepareSample(record, promptOf('reg', [outside]), context)).rejects.toThrow(
      /^record-0: a box/,
    );
  });
});

describe('contrastive batches', () => {
  it('pair images with captions and regions with phrases', async () => {
    const records = await Promise.all([0, 1, 2].map(i => randomRecord(i, 3)));
    const samples = await Promise.all(
      records.map(async record => ({
        id: record.id,
        views: await prepareViews(record, context),
        pairs: pairsOf(record, 2, new Random(record.id))!,
      })),
    );
    const batch = collateContrastive(samples, model, tokenizer);
    const text = (data: Int32Array, row: number, length: number) =>
      tokenizer.decode([...data.subarray(row * length, (row + 1) * length)], { special: true });
    const length = batch.captions.shape[1]!;
    expect(text(batch.captions.data, 0, length)).toMatch(/^<s> (the image shows a|3 objects:) .*\.(<\/s>)+$/);
    expect(text(batch.phrases.data, 1, batch.phrases.shape[1]!)).toMatch(
      /^<s> (red|green|blue) \w+( \d)?(<\/s>)+$/,
    );
    expect([...batch.phraseClasses.data].filter(c => c >= 0)).toHaveLength(6);
    const phrases = samples.flatMap(sample => sample.pairs.phrases.map(phrase => phrase.text));
    batch.phraseClasses.data.forEach((c, r) => {
      expect(c).toBe(r < 6 ? phrases.indexOf(phrases[r]!) : -1);
    });
    // 64x64 has four tiles, 80x40 two.
    expect([...batch.tileImages.data].filter(b => b >= 0)).toEqual([0, 0, 0, 0, 1, 1, 2, 2, 2, 2]);
    const k = batch.localRows.shape[1]!;
    for (let r = 0; r < batch.phraseClasses.data.length; r++) {
      const weight = batch.localWeights.data.subarray(r * k, (r + 1) * k).reduce((a, b) => a + b, 0);
      expect(weight).toBeCloseTo(r < 6 ? 1 : 0, 5);
    }
    expect(Math.max(...batch.localRows.data)).toBe(batch.localPixels.shape[0]! * 16);
  });

  it('name regions by their label alone in most batches, with the number they show where encoders learn to read', async () => {
    const record = await randomRecord(0, 1);
    const objects = [
      { ...record.objects[0]!, label: 'digit', attributes: ['red', '7'], phrase: 'digit 7' },
      { ...record.objects[0]!, label: 'star', attributes: ['blue'], phrase: 'star' },
    ];
    const pairs = pairsOf({ ...record, objects }, 2, new Random('x'))!;
    const views = await prepareViews(record, context);
    const { pretraining, ...rest } = model;
    const namesIn = (read_text: boolean): Set<string> => {
      const reading = { ...rest, pretraining: { ...pretraining!, read_text } };
      return new Set(
        Array.from({ length: 40 }, (_, i) => {
          const { phrases } = collateContrastive([{ id: `${i}`, views, pairs }], reading, tokenizer);
          const length = phrases.shape[1]!;
          return [0, 1]
            .map(row => tokenizer.decode([...phrases.data.subarray(row * length, (row + 1) * length)]))
            .map(said => said.replaceAll('</s>', '').replace('<s>', '').trim())
            .join('|');
        }),
      );
    };
    expect(namesIn(false)).toEqual(new Set(['digit|star', 'red 7 digit|blue star']));
    expect(namesIn(true)).toEqual(new Set(['digit 7|star', 'red 7 digit|blue star']));
  });

  it('cut captions as CLIP does, end token last', async () => {
    const record = { ...(await randomRecord(0, 1)), captions: ['red circle '.repeat(40)] };
    const pairs = pairsOf(record, 1, new Random('x'))!;
    const sample = { id: 'long', views: await prepareViews(record, context), pairs };
    const { captions } = collateContrastive([sample], model, tokenizer);
    expect(captions.shape).toEqual([1, 32]);
    expect([captions.data[0], captions.data[31]]).toEqual([tokenizer.beginId, tokenizer.endId]);
    expect([...captions.data.subarray(1, 31)]).not.toContain(tokenizer.endId);
  });

  it('need a text tower, and something to say', async () => {
    const record = await randomRecord(0, 1);
    const { pretraining: _, ...without } = model;
    expect(() => collateContrastive([], without, tokenizer)).toThrow(/pretraining/);
    expect(pairsOf({ ...record, captions: [], objects: [] }, 4, new Random('x'))).toBeNull();
    expect(pairsOf({ ...record, captions: [] }, 4, new Random('x'))?.caption).toBe('red circle');
  });

  it('average the patches that a box covers', async () => {
    const views = await prepareViews(await randomRecord(0, 1), context);
    const whole = averageOver(box(0, 0, 64, 64), views, 'global', layout);
    expect([...whole.rows]).toEqual(Array.from({ length: 16 }, (_, i) => i));
    expect(whole.weights.every(w => Math.abs(w - 1 / 16) < 1e-6)).toBe(true);
    // A quarter of the first patch and an eighth of its right neighbour: 16 pixels a patch.
    const part = averageOver(box(8, 8, 20, 16), views, 'global', layout);
    expect([...part.rows]).toEqual([0, 1]);
    expect([...part.weights]).toEqual([Math.fround(2 / 3), Math.fround(1 / 3)]);
    expect([...averageOver(box(63, 63, 63, 63), views, 'local', layout).rows]).toEqual([63]);
  });
});

describe('bucket sizes', () => {
  it('are at least as large, few, and waste less than a step', () => {
    fc.assert(
      fc.property(
        fc.nat(5000),
        fc.integer({ min: 1, max: 64 }),
        fc.constantFrom(1, 2, 4),
        (size, least, steps) => {
          const bucket = bucketSize(size, least, steps);
          expect(bucket).toBeGreaterThanOrEqual(size);
          expect(bucketSize(bucket, least, steps)).toBe(bucket);
          if (size > least) expect(bucket).toBeLessThan(size + size / steps + 1);
          if (size === 0) expect(bucket).toBe(0);
        },
      ),
    );
    const sizes = new Set(Array.from({ length: 1024 }, (_, n) => bucketSize(n + 1, 16, 4)));
    expect(sizes.size).toBe(25);
  });
});
