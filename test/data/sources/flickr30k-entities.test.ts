import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { CaptionSpan } from '../../../src/data/record.ts';
import { parseEntityBoxes } from '../../../src/data/sources/entity-boxes.ts';
import { parseEntitySentence } from '../../../src/data/sources/entity-sentence.ts';
import { flickr30kEntities } from '../../../src/data/sources/flickr30k-entities.ts';
import { barePhrase, headOf, namesOf } from '../../../src/data/sources/phrase-heads.ts';
import type { SourceOptions } from '../../../src/data/sources/source.ts';
import { tidyCaption, utf16Offsets } from '../../../src/data/sources/tidy-caption.ts';
import { plainImage } from '../sample-records.ts';
import { filesIn, readAll } from './files.ts';

/** An annotation file; each object is its names and its corners, or what stands for them. */
function xmlOf(
  objects: readonly (readonly [names: readonly number[], inside: readonly number[] | string])[],
): string {
  const box = ([x1, y1, x2, y2]: readonly number[]) =>
    `<bndbox><xmin>${x1}</xmin><ymin>${y1}</ymin><xmax>${x2}</xmax><ymax>${y2}</ymax></bndbox>`;
  const object = ([names, inside]: (typeof objects)[number]) =>
    `<object>${names.map(name => `<name>${name}</name>`).join('')}${typeof inside === 'string' ? inside : box(inside)}</object>`;
  return `<annotation>\n<filename>12.jpg</filename><size><width>40</width><height>30</height><depth>3</depth></size>
${objects.map(object).join('\n')}\n</annotation>`;
}

const SENTENCES = `[/EN#1/people Two young men] in [/EN#2/clothing red hats] look at [/EN#0/notvisual each other] in [/EN#9/scene the yard] .
[/EN#1/people The men] and [/EN#3/animals a small 🐈] wait , says [/EN#4/people a boy] .

[/EN#3/animals A cat] watches [/EN#5/other nothing at all] .
`;
const BOXES = xmlOf([
  [[1], [1, 1, 11, 21]],
  [[1], [21, 1, 31, 21]],
  [
    [2, 7],
    [1, 1, 11, 5],
  ],
  [[3], [30, 20, 41, 31]],
  [[9], '<scene>1</scene><nobndbox>0</nobndbox>'],
  [[4], '<scene>0</scene><nobndbox>1</nobndbox>'],
]);

async function folderOf(
  files: Readonly<Record<string, unknown>>,
  ids = [12],
  size = [40, 30],
): Promise<SourceOptions> {
  const png = await plainImage(size[0] ?? 1, size[1] ?? 1);
  const images = Object.fromEntries(ids.map(id => [`images/${id}.jpg`, png]));
  const folder = filesIn({ ...files, ...images });
  return { inputs: { entities: [folder], images: [`${folder}/images`] } };
}

const said = (captions: readonly string[], spans: readonly CaptionSpan[] | undefined) =>
  spans?.map(({ caption, start, end, objects }) => [captions[caption]?.slice(start, end), objects]);

describe('sentences and annotations', () => {
  it('become captions whose phrases name objects', async () => {
    const options = await folderOf({ 'Sentences/12.txt': SENTENCES, 'Annotations/12.xml': BOXES });
    const { records, report, listed } = await readAll(flickr30kEntities, options);
    expect(listed).toBe(1);
    const [record] = records;
    expect(record).toMatchObject({ id: 'flickr30k-12', width: 40, height: 30 });
    expect(record?.split).toBeUndefined();
    expect(record?.captions).toEqual([
      'Two young men in red hats look at each other in the yard.',
      'The men and a small 🐈 wait, says a boy.',
      'A cat watches nothing at all.',
    ]);
    expect(said(record?.captions ?? [], record?.spans)).toEqual([
      ['Two young men', [0, 1]],
      ['red hats', [2]],
      ['The men', [0, 1]],
      ['a small 🐈', [3]],
      ['A cat', [3]],
    ]);
    expect(
      record?.objects.map(({ label, phrase, box }) => [label, phrase, box.x1, box.y1, box.x2, box.y2]),
    ).toEqual([
      ['men', 'young men', 0, 0, 10, 20],
      ['men', 'young men', 20, 0, 30, 20],
      ['hats', 'red hats', 0, 0, 10, 4],
      ['🐈', 'small 🐈', 29, 19, 40, 30],
    ]);
    expect(report).toEqual({
      counts: { images: 1, captions: 3, objects: 4, phrases: 9, 'phrases with boxes': 5, spans: 5 },
      skipped: { 'empty caption': 1 },
      mended: { 'phrase of a chain that has no annotation': 1 },
      examples: expect.anything(),
    });
  });

  it('are those of a split where its list is asked for', async () => {
    const one = { 'Sentences/12.txt': SENTENCES, 'Annotations/12.xml': BOXES };
    const two = { 'Sentences/5.txt': 'A yard .\n', 'Annotations/5.xml': xmlOf([]) };
    const three = { 'Sentences/100.txt': 'A street .' };
    const lists = { 'train.txt': '12\n5\n', 'test.txt': '100.jpg\n77\n' };
    const options = await folderOf({ ...one, ...two, ...three, ...lists }, [12, 5, 100]);
    const all = await readAll(flickr30kEntities, options);
    expect(all.records.map(({ id, split }) => [id, split]).sort()).toEqual([
      ['flickr30k-100', 'test'],
      ['flickr30k-12', 'train'],
      ['flickr30k-5', 'train'],
    ]);
    expect(all.report.mended).toMatchObject({ 'captions without a file of boxes': 1 });
    const test = await readAll(flickr30kEntities, { ...options, split: 'test' });
    expect(test.records.map(({ id }) => id)).toEqual(['flickr30k-100']);
    expect(test.report.skipped).toEqual({ 'image without a file of sentences': 1 });
    await expect(readAll(flickr30kEntities, { ...options, split: 'val' })).rejects.toMatchObject({
      code: 'usage',
      hint: 'there are lists of train, test',
    });
  });

  it('may be odd: missing or broken files, boxes at and beyond the edge, boxes that nobody names', async () => {
    const odd = xmlOf([
      [[1], [0, 0, 41, 31]],
      [[2], [10, 10, 10, 20]],
      [[2], [20, 10, 10, 20]],
      [[2], '<bndbox><xmin>a</xmin></bndbox>'],
      [[3], [35, 5, 60, 9]],
      [[3], [50, 5, 60, 9]],
      [[8], [1, 1, 9, 9]],
    ]);
    const line =
      '[/EN#1/scene A street] with [/EN#2/other a car] , [/EN#3/vehicles a bus] and [/EN#1/people oops';
    const options = await folderOf(
      {
        'Sentences/12.txt': `${line}\n[/EN#3/vehicles ] .`,
        'Annotations/12.xml': odd,
        'Sentences/13.txt': 'A [/EN#1/other dog] .',
        'Annotations/13.xml': '<annotation><object>',
        'Sentences/14.txt': '\n\n',
        'Annotations/14.xml': odd,
        'Sentences/15.txt': 'No image .',
      },
      [12, 13, 14],
    );
    const { records, report } = await readAll(flickr30kEntities, options);
    expect(records.map(({ id, captions }) => [id, captions])).toEqual([
      ['flickr30k-12', ['A street with a car, a bus and oops', '.']],
      ['flickr30k-13', ['A dog.']],
    ]);
    expect(records[0]?.objects.map(({ label, box }) => [label, box.x1, box.y1, box.x2, box.y2])).toEqual([
      ['street', 0, 0, 40, 30],
      ['bus', 34, 4, 40, 8],
    ]);
    expect(said(records[0]?.captions ?? [], records[0]?.spans)).toEqual([
      ['A street', [0]],
      ['a bus', [1]],
    ]);
    expect(records[1]?.spans).toEqual([]);
    expect(report.skipped).toEqual({
      'image file missing': 1,
      'image without a sentence': 1,
      'empty caption': 1,
      'box without area': 2,
      'inverted box': 2,
      'box that is not four numbers': 2,
      'box outside of the image': 2,
      'box that no caption names': 1,
    });
    expect(report.mended).toEqual({
      'box cut at the edge of the image': 2,
      'broken markup of a phrase left as text': 1,
      'file of boxes that is no XML dropped': 1,
    });
  });

  it('in another encoding are read all the same, and counted', async () => {
    const sentences = Buffer.from('[/EN#1/scene A caf\xe9] .\r\n', 'latin1');
    const options = await folderOf({
      'Sentences/12.txt': sentences,
      'Annotations/12.xml': `\uFEFF${xmlOf([[[1], [1, 1, 9, 9]]])}`,
    });
    const { records, report } = await readAll(flickr30kEntities, options);
    expect(records[0]).toMatchObject({ captions: ['A café.'], objects: [{ label: 'café' }] });
    expect(report.mended).toEqual({ 'text that is no UTF-8 read as Latin-1': 1 });
  });

  it('of an image of another size are of another image', async () => {
    const options = await folderOf(
      { 'Sentences/12.txt': SENTENCES, 'Annotations/12.xml': BOXES },
      [12],
      [30, 40],
    );
    await expect(readAll(flickr30kEntities, options)).rejects.toThrow(
      /image of another size than annotated: 1/,
    );
  });

  it('want one of two inputs', async () => {
    const options = await folderOf({ 'Sentences/12.txt': SENTENCES });
    const { entities: _, ...inputs } = options.inputs;
    await expect(readAll(flickr30kEntities, { inputs })).rejects.toMatchObject({ code: 'usage' });
    const both = { ...options.inputs, annotations: ['x.json'] };
    await expect(readAll(flickr30kEntities, { inputs: both })).rejects.toMatchObject({ code: 'usage' });
    const nowhere = { ...options.inputs, entities: ['/nowhere'] };
    await expect(readAll(flickr30kEntities, { inputs: nowhere })).rejects.toMatchObject({ code: 'io' });
  });
});

describe('the MDETR-style form', () => {
  const caption = 'A cat 🐈 chases two red balls .';
  // As Python counts: a character is one, whatever it takes in UTF-16.
  const at = (part: string): [number, number] => {
    const start = [...caption.slice(0, caption.indexOf(part))].length;
    return [start, start + [...part].length];
  };
  const image = (id: number, text: string, more: object = {}) => ({
    file_name: '12.jpg',
    height: '30',
    width: '40',
    id,
    caption: text,
    dataset_name: 'flickr',
    tokens_negative: [[0, text.length]],
    sentence_id: id,
    original_img_id: 12,
    tokens_positive_eval: [[at('A cat 🐈')], [at('two red balls')]],
    ...more,
  });
  const box = (id: number, sentence: number, bbox: readonly number[], tokens: unknown) => ({
    area: 1,
    iscrowd: 0,
    image_id: sentence,
    category_id: 1,
    id,
    bbox,
    tokens_positive: tokens,
  });

  it('gives the same captions, spans and objects', async () => {
    const json = {
      images: [image(0, caption), image(1, 'A ball\n.', {})],
      annotations: [
        box(0, 0, [1, 1, 10, 10], [at('A cat 🐈')]),
        box(1, 0, [20, 1, 5, 5], [at('two red balls')]),
        box(2, 0, [30, 1, 5, 5], [at('two red balls'), at('red balls')]),
        box(3, 1, [20, 1, 5, 5], [[0, 6], [3, 99], 'x']),
        box(4, 1, [2, 2, 4, 4], []),
      ],
      categories: [{ id: 1, name: 'object' }],
    };
    const { inputs } = await folderOf({ 'final_flickr_mergedGT_test.json': json });
    const options = {
      inputs: {
        images: inputs.images ?? [],
        annotations: [`${inputs.entities?.[0]}/final_flickr_mergedGT_test.json`],
      },
    };
    const { records, report } = await readAll(flickr30kEntities, options);
    expect(records).toHaveLength(1);
    const [record] = records;
    expect(record).toMatchObject({ id: 'flickr30k-12', split: 'test' });
    expect(record?.captions).toEqual(['A cat 🐈 chases two red balls.', 'A ball.']);
    expect(said(record?.captions ?? [], record?.spans)).toEqual([
      ['A cat 🐈', [0]],
      ['two red balls', [1, 2]],
      ['red balls', [2]],
      ['A ball', [1]],
    ]);
    expect(record?.objects.map(({ label, phrase }) => [label, phrase])).toEqual([
      ['🐈', 'cat 🐈'],
      ['ball', 'ball'],
      ['balls', 'red balls'],
    ]);
    expect(report.skipped).toEqual({ 'box that no caption names': 1 });
    expect(report.mended).toEqual({ 'phrase outside of its caption dropped': 2 });
    expect((await readAll(flickr30kEntities, { ...options, split: 'test' })).records).toHaveLength(1);
    await expect(readAll(flickr30kEntities, { ...options, split: 'val' })).rejects.toMatchObject({
      code: 'usage',
    });
  });
});

describe('a sentence', () => {
  it('has its phrases where they stand, whatever surrounds them', () => {
    const word = fc.stringMatching(/^[a-zé🐈]{1,6}$/u);
    const part = fc.record({
      words: fc.array(word, { minLength: 1, maxLength: 4 }),
      chain: fc.option(fc.nat(9999)),
    });
    const blanks = fc.constantFrom(' ', '  ', '\t');
    fc.assert(
      fc.property(
        fc.array(part, { maxLength: 8 }),
        blanks,
        fc.constantFrom('', ' .', ' !'),
        (parts, blank, stop) => {
          const written = parts.map(({ words, chain }) =>
            chain === null ? words.join(blank) : `[/EN#${chain}/other ${words.join(blank)}]`,
          );
          const { text, phrases, broken } = parseEntitySentence(blank + written.join(blank) + stop);
          const marked = parts.filter(({ chain }) => chain !== null);
          expect(phrases.map(({ start, end }) => text.slice(start, end))).toEqual(
            marked.map(({ words }) => words.join(' ')),
          );
          expect(phrases.map(({ chain }) => chain)).toEqual(marked.map(({ chain }) => String(chain)));
          expect(text).toBe((parts.flatMap(({ words }) => words).join(' ') + stop.trim()).trim());
          expect(broken).toBe(false);
        },
      ),
    );
  });

  it('may hold brackets of its own, several types, and marks within marks', () => {
    expect(parseEntitySentence("[/EN#1/people/clothing A man 's hat] [sic] .")).toMatchObject({
      text: "A man's hat [sic].",
      phrases: [{ start: 0, end: 11, types: ['people', 'clothing'] }],
    });
    expect(parseEntitySentence('[/EN#1/people A [/EN#2/other red] man] walks')).toMatchObject({
      text: 'A red man walks',
      phrases: [{ start: 2, end: 5, chain: '2' }],
      broken: true,
    });
  });
});

describe('tidied captions', () => {
  it('map every offset of a word to where it now is', () => {
    const token = fc.constantFrom('a', 'dog', '.', ',', "'s", "n't", 'ça', '🐈', '(b)', '...');
    fc.assert(
      fc.property(fc.array(fc.tuple(token, fc.constantFrom(' ', '\n', '  ')), { maxLength: 12 }), parts => {
        const text = parts.map(([word, blank]) => word + blank).join('');
        const tidy = tidyCaption(text);
        expect(tidy.text).not.toMatch(/^\s|\s$|\s\s|\n/);
        let offset = 0;
        for (const [word, blank] of parts) {
          expect(tidy.text.slice(tidy.at(offset), tidy.at(offset + word.length))).toBe(word);
          offset += word.length + blank.length;
        }
        expect(tidy.at(text.length)).toBe(tidy.text.length);
      }),
    );
    expect(utf16Offsets('a🐈b')).toEqual([0, 1, 3, 4]);
  });
});

describe('labels', () => {
  it.each([
    ['A young man in a red hat', 'man', 'young man in a red hat'],
    ['two men', 'men', 'men'],
    ['a group of young people', 'people', 'group of young people'],
    ['the statue of a lion', 'statue', 'statue of a lion'],
    ['playing cards', 'cards', 'playing cards'],
    ['a wooden, old chair', 'chair', 'wooden, old chair'],
    ['The', 'the', 'the'],
    ['Of', 'of', 'of'],
  ])('of "%s" is "%s"', (phrase, head, bare) => {
    expect(headOf(phrase)).toBe(head);
    expect(barePhrase(phrase)).toBe(bare);
  });

  it('come from the phrases that name fewest objects, the most frequent first', () => {
    const captions = ['two dogs and a brown hound', 'a dog', 'the dog'];
    const span = (caption: number, part: string, objects: number[]) => {
      const start = captions[caption]?.indexOf(part) ?? -1;
      return { caption, start, end: start + part.length, objects };
    };
    const spans = [
      span(0, 'two dogs', [0, 1]),
      span(0, 'a brown hound', [0]),
      span(1, 'a dog', [0]),
      span(2, 'the dog', [0]),
    ];
    expect(namesOf(3, captions, spans)).toEqual([
      { label: 'dog', phrase: 'brown hound' },
      { label: 'dogs', phrase: 'dogs' },
      null,
    ]);
  });
});

describe('XML', () => {
  it('of another kind holds no boxes; entities are not expanded', () => {
    expect(parseEntityBoxes('')).toBeNull();
    expect(parseEntityBoxes('hello')).toBeNull();
    expect(parseEntityBoxes('<a/>')).toBeNull();
    expect(parseEntityBoxes('<annotation></annotation>')).toMatchObject({ boxes: [], width: null });
    const bomb = `<!DOCTYPE a [<!ENTITY x "${'y'.repeat(50)}"><!ENTITY z "&x;&x;&x;">]><annotation><object><name>&z;</name></object></annotation>`;
    expect([...(parseEntityBoxes(bomb)?.chains ?? [])].join('').length).toBeLessThan(10);
  });
});
