import { readdir, readFile, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  Binary,
  Field,
  Int64,
  List,
  makeBuilder,
  RecordBatch,
  RecordBatchStreamWriter,
  Schema,
  Struct,
  Utf8,
} from 'apache-arrow';
import fc from 'fast-check';
import type { SchemaElement } from 'hyparquet';
import { parquetMetadata } from 'hyparquet';
import { parquetWriteBuffer } from 'hyparquet-writer';
import { describe, expect, it } from 'vitest';
import { RECORD_SCHEMA, storedRow } from '../../src/data/arrow.ts';
import { openDataset } from '../../src/data/dataset.ts';
import type { ImageRecord } from '../../src/data/record.ts';
import { encodeMask } from '../../src/data/rle.ts';
import { writeShards } from '../../src/data/shards.ts';
import { jsonl } from '../../src/data/sources/jsonl.ts';
import type { SourceOptions, SourceReport } from '../../src/data/sources/source.ts';
import { arrow, parquet } from '../../src/data/sources/tables.ts';
import { exportDataset } from '../../src/data/tables/export.ts';
import { isOwnTable, recordsOfOwnRows } from '../../src/data/tables/own-rows.ts';
import type { Table } from '../../src/data/tables/table.ts';
import { writeArrow } from '../../src/data/tables/write-arrow.ts';
import { writeParquet } from '../../src/data/tables/write-parquet.ts';
import { temporaryFolder } from '../helpers/folder.ts';
import { anyRecord, fullRecord, textOnly } from './any-record.ts';
import { fakeRecord, plainImage } from './sample-records.ts';

const FORMATS = { parquet, arrow };
type TableFormat = keyof typeof FORMATS;

async function exported(records: readonly ImageRecord[], format: TableFormat, root: string): Promise<string> {
  const dir = join(root, 'set');
  await writeShards(records, dir, {
    source: {},
    builder: 'test',
    overwrite: true,
    shardRows: 4,
    batchRows: 3,
  });
  const dataset = await openDataset(dir);
  const file = join(root, `all.${format}`);
  await exportDataset(dataset, file, format);
  await dataset.close();
  return file;
}

async function* each<T>(items: readonly T[]): AsyncGenerator<T> {
  yield* items;
}

async function built(
  format: TableFormat,
  inputs: SourceOptions['inputs'],
  more: Omit<SourceOptions, 'inputs'> = {},
): Promise<{ records: ImageRecord[]; report: SourceReport; count: number }> {
  const reader = await FORMATS[format].open({ inputs, ...more });
  const records: ImageRecord[] = [];
  for await (const record of reader) records.push(record);
  return { records, report: reader.report, count: await reader.count() };
}

describe.each(['parquet', 'arrow'] as const)('%s', format => {
  it('an export built again gives the same records', async () => {
    const records = [fullRecord, textOnly, fakeRecord(1), fakeRecord(2), fullRecord, textOnly, fakeRecord(3)];
    const file = await exported(records, format, temporaryFolder());
    const again = await built(format, { files: [file] });
    expect(again.records).toStrictEqual(records);
    expect(again.count).toBe(7);
    expect(again.report.counts).toMatchObject({ images: 5, texts: 2, conversations: 6, masks: 4 });
  });

  it('any record survives', async () => {
    const root = temporaryFolder();
    await fc.assert(
      fc.asyncProperty(fc.array(anyRecord, { minLength: 1, maxLength: 6 }), async records => {
        const file = join(root, 'any');
        await { parquet: writeParquet, arrow: writeArrow }[format](each(records), file);
        expect((await built(format, { files: [file] })).records).toStrictEqual(records);
      }),
      { numRuns: 15 },
    );
  });

  it('of no rows is a file that opens, and nothing to build from', async () => {
    const file = await exported([], format, temporaryFolder());
    await expect(built(format, { files: [file] })).rejects.toThrow(/not one record in the files \(no rows\)/);
  });

  it('holds linked images itself', async () => {
    const root = temporaryFolder();
    const path = join(root, '1.jpg');
    await writeFile(path, 'bytes');
    const file = await exported([{ ...fakeRecord(1), image: new Uint8Array(), path }], format, root);
    const { records } = await built(format, { files: [file] });
    expect(records).toStrictEqual([{ ...fakeRecord(1), image: new Uint8Array(Buffer.from('bytes')) }]);
  });

  it('limit, split and masks are kept to, over several files', async () => {
    const file = await exported([fullRecord, fakeRecord(1), fullRecord], format, temporaryFolder());
    const inputs = { files: [file, file] };
    expect((await built(format, inputs, { limit: 4 })).records.map(record => record.id)).toEqual([
      'full-1',
      'record-1',
      'full-1',
      'full-1',
    ]);
    const { records, report } = await built(format, inputs, { split: 'testA', masks: false });
    expect(records).toHaveLength(4);
    expect(report.skipped).toEqual({ 'row of another split': 2 });
    expect(records.flatMap(record => record.objects).some(object => object.mask)).toBe(false);
    await expect(built(format, inputs, { split: 'val' })).rejects.toThrow(/row of another split: 6/);
  });

  it('a file that is cut, empty, of another kind or missing is named', async () => {
    const root = temporaryFolder();
    const file = await exported([fullRecord], format, root);
    const bytes = await readFile(file);
    await truncate(file, bytes.length - 20);
    const kind = format === 'parquet' ? 'Parquet' : 'Arrow';
    await expect(built(format, { files: [file] })).rejects.toMatchObject({
      code: 'data',
      message: expect.stringContaining(`${file} cannot be read as ${kind}`),
      hint: 'was the file copied completely?',
    });
    const other = join(root, format === 'parquet' ? 'x.arrow' : 'x.parquet');
    await writeFile(other, 'PAR1 or so');
    await expect(built(format, { files: [other] })).rejects.toMatchObject({
      hint: expect.stringContaining(`--from ${format === 'parquet' ? 'arrow' : 'parquet'}`),
    });
    await expect(built(format, { files: [join(root, 'none')] })).rejects.toMatchObject({ code: 'io' });
    await expect(built(format, {})).rejects.toMatchObject({ code: 'usage' });
  });
});

describe('shards', () => {
  it('are Arrow files to build from, links found beside them', async () => {
    const root = temporaryFolder();
    const path = join(root, '1.jpg');
    await writeFile(path, 'bytes');
    const linked = { ...fakeRecord(1), image: new Uint8Array(), path };
    await exported([linked], 'arrow', root);
    const inputs = { files: [join(root, 'set', 'shard-00000.arrow')] };
    expect((await built('arrow', inputs, { link: true })).records).toStrictEqual([linked]);
    const held = (await built('arrow', inputs)).records[0];
    expect(Buffer.from(held?.image ?? []).toString()).toBe('bytes');
    expect(held?.path).toBeUndefined();
  });
});

describe('writing Parquet', () => {
  it('cuts row groups, and leaves no file where the source fails', async () => {
    const root = temporaryFolder();
    async function* records(count: number, fails: boolean) {
      for (let i = 0; i < count; i++) yield fakeRecord(i, 2 ** 20);
      if (fails) throw new Error('gone');
    }
    const file = join(root, 'a.parquet');
    await expect(writeParquet(records(3, true), file)).rejects.toThrow('gone');
    expect(await readdir(root)).toEqual([]);
    await writeParquet(records(40, false), file);
    const bytes = await readFile(file);
    const { row_groups: groups } = parquetMetadata(
      bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length),
    );
    expect(groups.map(group => Number(group.num_rows))).toEqual([31, 9]);
    const { records: back } = await built('parquet', { files: [file] });
    expect(back.map(record => record.id)).toEqual(Array.from({ length: 40 }, (_, i) => `record-${i}`));
    expect(back[39] && Buffer.compare(back[39].image, fakeRecord(39, 2 ** 20).image)).toBe(0);
  });
});

describe('a table with the columns of a record', () => {
  const names = RECORD_SCHEMA.fields.map(({ name }) => name);
  const table = (row: object, metadata: Record<string, string> = {}): Table => ({
    file: 'x.parquet',
    rows: 1,
    columns: names,
    metadata: new Map(Object.entries(metadata)),
    read: () => each([{ ...storedRow(fullRecord), ...row }]),
  });

  it('of another schema version is refused', () => {
    expect(isOwnTable(table({}))).toBe(true);
    expect(isOwnTable(table({}, { 'ground.schema_version': '2' }))).toBe(true);
    expect(() => isOwnTable(table({}, { 'ground.schema_version': '1' }))).toThrow(
      /x\.parquet has schema_version 1/,
    );
    expect(isOwnTable({ ...table({}), columns: names.slice(1) })).toBe(false);
  });

  it.each([
    [{ width: 1.5 }, /x\.parquet, row 7: column width/],
    [{ captions: ['a', null] }, /row 7: column captions\.1/],
    [{ image: 'text' }, /row 7: column image/],
    [{ objects: [{ label: 'cat' }] }, /row 7: column objects\.0\.phrase/],
    [{ regions: [{ phrase: 'x', box: [1, 2, 3] }] }, /row 7: column regions\.0\.box/],
    [{ conversations: [{ kind: 'song', rounds: [] }] }, /is of kind "song"/],
  ])('but other values, %j, is refused', (row, message) => {
    expect(() => recordsOfOwnRows([{ ...storedRow(fullRecord), ...row }], 'x.parquet', 7)).toThrow(message);
  });
});

describe('JSON Lines', () => {
  it('an export built again gives the same records', async () => {
    const root = temporaryFolder();
    const [png, jpeg] = [await plainImage(64, 48), await plainImage(64, 48, 'jpeg')];
    const mask = encodeMask({ width: 64, height: 48, data: new Uint8Array(64 * 48).fill(1, 100, 900) });
    const masked = JSON.parse(JSON.stringify(fullRecord), (key, value) => (key === 'mask' ? mask : value));
    const conversations = masked.conversations.filter(
      ({ rounds }: { rounds: unknown[] }) => rounds.length > 0,
    );
    const first: ImageRecord = {
      ...masked,
      image: png,
      conversations,
      objects: masked.objects.slice(0, 1),
      spans: [{ caption: 0, start: 2, end: 5, objects: [0] }],
      relations: [],
    };
    const plain: ImageRecord = {
      id: 'a/b.jpg',
      image: jpeg,
      width: 64,
      height: 48,
      captions: ['x'],
      objects: [],
      relations: [],
    };
    const records = [first, plain, textOnly];
    const dir = join(root, 'set');
    await writeShards(records, dir, { source: {}, builder: 'test' });
    const dataset = await openDataset(dir);
    const out = join(root, 'out');
    await exportDataset(dataset, out, 'jsonl');
    await expect(exportDataset(dataset, out, 'jsonl')).rejects.toThrow(/out is not empty/);
    await dataset.close();
    expect(await readdir(join(out, 'images/00000'))).toEqual(['00000000.png', '00000001.jpg']);
    const reader = await jsonl.open({ inputs: { annotations: [join(out, 'records.jsonl')] } });
    const back: ImageRecord[] = [];
    for await (const record of reader) back.push(record);
    await reader.close?.();
    const byId = (all: readonly ImageRecord[]) => Object.fromEntries(all.map(record => [record.id, record]));
    expect(byId(back)).toEqual(byId(records));
    expect(reader.report).toMatchObject({ skipped: {}, mended: {} });
  });
});

/** A table as Hugging Face's `datasets` writes them. */
const HF_SCHEMA: SchemaElement[] = [
  { name: 'schema', num_children: 4 },
  { name: 'image_id', type: 'INT64', repetition_type: 'OPTIONAL' },
  { name: 'image', num_children: 2, repetition_type: 'OPTIONAL' },
  { name: 'bytes', type: 'BYTE_ARRAY', repetition_type: 'OPTIONAL' },
  { name: 'path', type: 'BYTE_ARRAY', converted_type: 'UTF8', repetition_type: 'OPTIONAL' },
  { name: 'text', type: 'BYTE_ARRAY', converted_type: 'UTF8', repetition_type: 'OPTIONAL' },
  { name: 'objects', num_children: 2, repetition_type: 'OPTIONAL' },
  { name: 'bbox', num_children: 1, converted_type: 'LIST', repetition_type: 'OPTIONAL' },
  { name: 'list', num_children: 1, repetition_type: 'REPEATED' },
  { name: 'element', num_children: 1, converted_type: 'LIST', repetition_type: 'OPTIONAL' },
  { name: 'list', num_children: 1, repetition_type: 'REPEATED' },
  { name: 'element', type: 'FLOAT', repetition_type: 'OPTIONAL' },
  { name: 'category', num_children: 1, converted_type: 'LIST', repetition_type: 'OPTIONAL' },
  { name: 'list', num_children: 1, repetition_type: 'REPEATED' },
  { name: 'element', type: 'INT64', repetition_type: 'OPTIONAL' },
];
const HF_FEATURES = {
  info: {
    features: {
      image: { _type: 'Image' },
      objects: {
        feature: { category: { feature: { names: ['cat', 'traffic_light'], _type: 'ClassLabel' } } },
      },
    },
  },
};

interface HfRow {
  readonly image_id: bigint | null;
  readonly image: unknown;
  readonly text: string | null;
  readonly objects: unknown;
}

async function hfFile(rows: readonly HfRow[], features: unknown = HF_FEATURES): Promise<string> {
  const file = join(temporaryFolder(), 'hf.parquet');
  const columnData = (['image_id', 'image', 'text', 'objects'] as const).map(name => ({
    name,
    data: rows.map(row => row[name]),
  }));
  const kvMetadata = [{ key: 'huggingface', value: JSON.stringify(features) }];
  const buffer = parquetWriteBuffer({ columnData, schema: HF_SCHEMA, kvMetadata, statistics: false });
  await writeFile(file, new Uint8Array(buffer));
  return file;
}

const objects = { bbox: [[1, 2, 3, 2]], category: [1n] };

describe("Hugging Face's tables", () => {
  it('images, captions and boxes become records; names of classes come from the file', async () => {
    const bytes = await plainImage(8, 6);
    const file = await hfFile([
      { image_id: 7n, image: { bytes, path: null }, text: ' a\n wall ', objects },
      { image_id: 2n ** 60n, image: { bytes, path: 'a/b.png' }, text: null, objects: null },
      {
        image_id: null,
        image: { bytes, path: 'a/000000000123.jpg' },
        text: '',
        objects: { bbox: [], category: [] },
      },
      { image_id: null, image: { bytes, path: null }, text: 'x', objects },
    ]);
    const { records } = await built('parquet', { files: [file], column: ['caption=text'] });
    const box = { space: 'pixels', x1: 1, y1: 2, x2: 4, y2: 4 };
    const light = { label: 'traffic light', phrase: 'traffic light', attributes: [], box };
    const image = { image: bytes, width: 8, height: 6 };
    expect(records).toEqual([
      { id: '7', ...image, captions: ['a wall'], objects: [light], relations: [] },
      { id: '1152921504606846976', ...image, captions: [], objects: [], relations: [] },
      { id: 'coco-123', ...image, captions: [], objects: [], relations: [] },
      { id: 'hf.parquet-3', ...image, captions: ['x'], objects: [light], relations: [] },
    ]);
  });

  it('what cannot be used is counted with its place', async () => {
    const bytes = await plainImage(8, 6);
    const image = { bytes, path: null };
    const file = await hfFile([
      { image_id: 1n, image: { bytes: new Uint8Array(9), path: null }, text: null, objects },
      { image_id: 2n, image: { bytes: null, path: 'nowhere.png' }, text: null, objects },
      { image_id: 3n, image: null, text: 'text', objects },
      {
        image_id: 4n,
        image,
        text: null,
        objects: { bbox: [[1, 2, 3], null, [5, 4, 9, 9], [1, 1, 0, 2]], category: [0n, 0n, 0n, 1n] },
      },
      {
        image_id: 5n,
        image,
        text: null,
        objects: {
          bbox: [
            [0, 0, 4, 4],
            [0, 0, 4, 4],
          ],
          category: [9n],
        },
      },
    ]);
    const { records, report } = await built('parquet', { files: [file] });
    expect(records.map(({ id, objects }) => [id, objects.map(object => object.box)])).toEqual([
      ['4', [{ space: 'pixels', x1: 5, y1: 4, x2: 8, y2: 6 }]],
      ['5', []],
    ]);
    expect(report.skipped).toEqual({
      'image file not readable': 1,
      'image file missing': 1,
      'row with neither an image nor a conversation': 1,
      'box that is not four numbers': 2,
      'box without area': 1,
      'object without a category': 2,
    });
    expect(report.mended).toEqual({ 'box cut at the edge of the image': 1 });
    expect(report.examples['box without area']).toEqual(['hf.parquet, row 3, object 3']);
  });

  it('boxes in other forms and spaces, labels from a file', async () => {
    const bytes = await plainImage(8, 4);
    const labels = join(temporaryFolder(), 'labels.txt');
    await writeFile(labels, 'dog\r\nbird\r\n');
    const bbox = [[0.25, 0.25, 0.75, 0.75]];
    const file = await hfFile([
      { image_id: 1n, image: { bytes, path: null }, text: null, objects: { bbox, category: [1n] } },
    ]);
    const inputs = { files: [file], 'box-corners': ['xyxy'], labels: [labels] };
    const square = await built('parquet', { ...inputs, boxes: ['padded-square'] });
    expect(square.records[0]?.objects).toEqual([
      { label: 'bird', phrase: 'bird', attributes: [], box: { space: 'pixels', x1: 2, y1: 0, x2: 6, y2: 4 } },
    ]);
    const unit = await built('parquet', { ...inputs, boxes: ['unit'] });
    expect(unit.records[0]?.objects[0]?.box).toEqual({ space: 'pixels', x1: 2, y1: 1, x2: 6, y2: 3 });
    const bins = await built('parquet', { ...inputs, boxes: ['bins'] });
    expect(bins.report.skipped).toEqual({ 'box that is none in bins': 1 });
  });

  it.each([
    [['caption=nope'], /has no column nope/],
    [['capt=text'], /--column "capt=text" makes no sense/],
    [['caption'], /--column "caption" makes no sense/],
  ])('--column %s is refused', async (column, message) => {
    const file = await hfFile([]);
    await expect(built('parquet', { files: [file], column })).rejects.toThrow(message);
  });

  it('a stream of conversations and images in bytes, lists of structs', async () => {
    const turn = new Struct([new Field('from', new Utf8()), new Field('value', new Utf8())]);
    const thing = new Struct([
      new Field('bbox', new List(new Field('item', new Int64()))),
      new Field('label', new Utf8()),
    ]);
    const fields = [
      new Field('img', new Binary(), true),
      new Field('conversations', new List(new Field('item', turn)), true),
      new Field('objects', new List(new Field('item', thing)), true),
    ];
    const bytes = await plainImage(8, 6);
    const builder = makeBuilder({ type: new Struct(fields), nullValues: [null] });
    const rows: unknown[] = [
      {
        img: bytes,
        conversations: [
          { from: 'human', value: '<image>\nWhat?' },
          { from: 'gpt', value: 'A wall.' },
        ],
        objects: [{ bbox: [1n, 1n, 2n, 2n], label: 'wall_clock' }],
      },
      {
        img: null,
        conversations: [
          { from: 'user', value: 'Hi' },
          { from: 'assistant', value: 'Ho' },
        ],
        objects: null,
      },
      { img: bytes, conversations: [{ from: 'robot', value: 'Hi' }], objects: [] },
    ];
    for (const row of rows) builder.append(row as Struct['TValue']);
    const writer = new RecordBatchStreamWriter();
    writer.write(new RecordBatch(new Schema(fields), builder.finish().flush()));
    writer.close();
    const file = join(temporaryFolder(), 'data-00000-of-00001.arrow');
    await writeFile(file, await writer.toUint8Array());
    const { records, report } = await built('arrow', { files: [file] });
    expect(
      records.map(({ id, width, objects, conversations }) => ({ id, width, objects, conversations })),
    ).toEqual([
      {
        id: 'data-00000-of-00001.arrow-0',
        width: 8,
        objects: [
          {
            label: 'wall clock',
            phrase: 'wall clock',
            attributes: [],
            box: { space: 'pixels', x1: 1, y1: 1, x2: 3, y2: 3 },
          },
        ],
        conversations: [
          {
            kind: 'chat',
            rounds: [
              {
                question: [{ kind: 'text', text: 'What?' }],
                answer: [{ kind: 'text', text: 'A wall.' }],
              },
            ],
          },
        ],
      },
      {
        id: 'data-00000-of-00001.arrow-1',
        width: 0,
        objects: [],
        conversations: [
          {
            kind: 'chat',
            rounds: [{ question: [{ kind: 'text', text: 'Hi' }], answer: [{ kind: 'text', text: 'Ho' }] }],
          },
        ],
      },
      { id: 'data-00000-of-00001.arrow-2', width: 8, objects: [], conversations: undefined },
    ]);
    expect(Object.values(report.skipped)).toEqual([1]);
  });
});
