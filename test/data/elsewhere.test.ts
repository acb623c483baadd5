/** Other tools open what is written here: pyarrow and Hugging Face's `datasets`, where they are installed. */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { openDataset } from '../../src/data/dataset.ts';
import type { ImageRecord } from '../../src/data/record.ts';
import { writeShards } from '../../src/data/shards.ts';
import { arrow, parquet } from '../../src/data/sources/tables.ts';
import { exportDataset } from '../../src/data/tables/export.ts';
import { temporaryFolder } from '../helpers/folder.ts';
import { findPython, runPython } from '../helpers/python.ts';
import { fullRecord, textOnly } from './any-record.ts';
import { fakeRecord, plainImage } from './sample-records.ts';

const RECORDS = [fullRecord, textOnly, ...Array.from({ length: 12 }, (_, i) => fakeRecord(i)), fullRecord];

/** A dataset of several shards, and its exports. */
async function written(records: readonly ImageRecord[]) {
  const root = temporaryFolder();
  const dir = join(root, 'set');
  await writeShards(records, dir, { source: {}, builder: 'test', shardRows: 10, batchRows: 4 });
  const dataset = await openDataset(dir);
  const exports = { parquet: join(root, 'all.parquet'), arrow: join(root, 'all.arrow') };
  await exportDataset(dataset, exports.parquet, 'parquet');
  await exportDataset(dataset, exports.arrow, 'arrow');
  await dataset.close();
  const names = (await readdir(dir)).filter(name => name.endsWith('.arrow')).sort();
  return { root, shards: names.map(name => join(dir, name)), exports };
}

/** Every column of a record, as Python shows it. */
function pythonRow(record: ImageRecord) {
  const { image, objects, regions = [], conversations = [], ...rest } = record;
  const corners = (box: ImageRecord['objects'][number]['box']) => [box.x1, box.y1, box.x2, box.y2];
  const rle = (mask: ImageRecord['objects'][number]['mask']) =>
    mask ? { height: mask.size[0], width: mask.size[1], counts: mask.counts } : null;
  const pieceRow = (
    piece: NonNullable<ImageRecord['conversations']>[number]['rounds'][number]['answer'][number],
  ) => {
    const empty = { text: '', box: null, point: null, mask: null };
    if (piece.kind === 'text') return { ...empty, kind: 'text', text: piece.text };
    if (piece.kind === 'box') return { ...empty, kind: 'box', box: corners(piece.box) };
    const { region } = piece;
    if (region.kind === 'free-form') return { ...empty, kind: 'free-form', mask: rle(region.mask) };
    if (region.kind === 'box') {
      return { ...empty, kind: 'region-box', box: corners(region.box), mask: rle(region.mask) };
    }
    const { x, y } = region.point;
    const box = region.within ? corners(region.within) : null;
    return { ...empty, kind: 'point', point: [x, y], box, mask: rle(region.mask) };
  };
  return {
    media: 'image',
    split: '',
    path: '',
    spans: [],
    absent: [],
    ...rest,
    image: [...image],
    objects: objects.map(({ label, phrase, attributes, box, mask, crowd, expressions = [] }) => ({
      label,
      phrase,
      attributes,
      box: corners(box),
      mask: rle(mask),
      crowd: crowd === true,
      expressions,
    })),
    regions: regions.map(({ phrase, box }) => ({ phrase, box: corners(box) })),
    conversations: conversations.map(({ kind, rounds }) => ({
      kind,
      rounds: rounds.map(({ question, answer, accepted = [] }) => ({
        question: question.map(pieceRow),
        answer: answer.map(pieceRow),
        accepted,
      })),
    })),
  };
}

const python = findPython(['pyarrow']);

describe.skipIf(python === undefined)('pyarrow', () => {
  it('reads every column of shards and exports', async () => {
    const { shards, exports } = await written(RECORDS);
    const script = `
import json, sys
import pyarrow as pa
import pyarrow.parquet as pq
parquet, arrow, *shards = sys.argv[1:]
tables = [pa.concat_tables(pa.ipc.open_file(f).read_all() for f in shards), pa.ipc.open_file(arrow).read_all(), pq.read_table(parquet)]
for table in tables:
    table.validate(full=True)
    assert table.schema.metadata[b"ground.schema_version"] == b"2", table.schema.metadata
    assert not any(field.nullable for field in table.schema)
def rows(table):
    return [row | {"image": list(row["image"])} for row in table.to_pylist()]
print(json.dumps([rows(table) for table in tables]))`;
    const tables = JSON.parse(runPython(python ?? '', script, [exports.parquet, exports.arrow, ...shards]));
    const expected = RECORDS.map(pythonRow);
    for (const rows of tables) expect(rows).toEqual(expected);
  });

  it('what it writes in any codec is read here', async () => {
    const { root, exports } = await written([fullRecord, textOnly]);
    const script = `
import sys
import pyarrow.parquet as pq
table = pq.read_table(sys.argv[2])
for codec in sys.argv[3:]:
    pq.write_table(table, f"{sys.argv[1]}/{codec}.parquet", compression=codec, row_group_size=1)`;
    const codecs = ['none', 'snappy', 'gzip', 'zstd', 'brotli', 'lz4'];
    runPython(python ?? '', script, [root, exports.parquet, ...codecs]);
    for (const codec of codecs) {
      const reader = await parquet.open({ inputs: { files: [join(root, `${codec}.parquet`)] } });
      const records: ImageRecord[] = [];
      for await (const record of reader) records.push(record);
      expect(records).toEqual([fullRecord, textOnly]);
    }
  });
});

const huggingFace = findPython(['datasets', 'PIL']);

describe.skipIf(huggingFace === undefined)("Hugging Face's datasets", () => {
  it('load shards and exports, show the images, and what they save is read here', async () => {
    const image = await plainImage(8, 6);
    const records = RECORDS.map(record => (record === textOnly ? record : { ...record, image }));
    const { root, shards, exports } = await written(records);
    const script = `
import json, os, sys
root, parquet, arrow, *shards = sys.argv[1:]
os.environ |= {"HF_HUB_OFFLINE": "1", "HF_HOME": root + "/home"}
import datasets
datasets.disable_progress_bars()
load = lambda kind, files: datasets.load_dataset(kind, data_files=files, split="train")
sets = [load("arrow", shards), load("arrow", [arrow]), load("parquet", [parquet])]
for one in sets:
    shown = one.select([0]).cast_column("image", datasets.Image())[0]["image"]
    assert shown.size == (8, 6), shown
sets[0].to_parquet(root + "/back.parquet")
sets[2].save_to_disk(root + "/back")
rows = lambda one: [row | {"image": list(row["image"])} for row in one]
print(json.dumps([rows(one) for one in sets]))`;
    const found = JSON.parse(
      runPython(huggingFace ?? '', script, [root, exports.parquet, exports.arrow, ...shards]),
    );
    const expected = records.map(pythonRow);
    for (const rows of found) expect(rows).toEqual(expected);
    const saved = [
      [parquet, join(root, 'back.parquet')],
      [arrow, join(root, 'back', 'data-00000-of-00001.arrow')],
    ] as const;
    for (const [format, file] of saved) {
      const reader = await format.open({ inputs: { files: [file] } });
      const back: ImageRecord[] = [];
      for await (const record of reader) back.push(record);
      expect(back).toEqual(records);
    }
  });
});
