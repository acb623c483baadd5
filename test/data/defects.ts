/** Datasets with one defect each: what people's data has, seeded into rendered scenes. */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { crc32c } from '@node-rs/crc32';
import sharp, { type Sharp } from 'sharp';
import type { Manifest } from '../../src/data/manifest.ts';
import type { ImageRecord, ObjectAnnotation, StoredConversation } from '../../src/data/record.ts';
import { encodeMask } from '../../src/data/rle.ts';
import { hex, writeShards } from '../../src/data/shards.ts';
import { renderScenes } from '../../src/data/sources/scenes.ts';
import type { ProblemKind } from '../../src/data/validation/problem.ts';

/** What must come of a defect: `row` skipped or fatal, `dataset` refused at the start, `none` trained on. */
export type Damage = 'row' | 'dataset' | 'none';

export interface Defect {
  readonly name: string;
  readonly kind: ProblemKind;
  readonly damage: Damage;
  /** Words that the problem, and the error of training, must have. */
  readonly says: RegExp;
  /** Changes the record, */
  readonly record?: (record: ImageRecord) => ImageRecord | Promise<ImageRecord>;
  /** or the files that were written. */
  readonly files?: (dir: string) => Promise<void>;
}

export const ROWS = 12;
export const SHARD_ROWS = 4;
/** Where the defect is. */
export const BAD = { shard: 'shard-00001.arrow', row: 2 } as const;
const BAD_ROW = SHARD_ROWS + BAD.row;

const chat = (answers: readonly string[]): StoredConversation[] => [
  {
    kind: 'chat',
    rounds: answers.map(text => ({
      question: [{ kind: 'text', text: 'What is this?' }],
      answer: [{ kind: 'text', text }],
    })),
  },
];

const withFirst = (changes: Partial<ObjectAnnotation>) => (record: ImageRecord) => ({
  ...record,
  objects: record.objects.map((object, i) => (i === 0 ? { ...object, ...changes } : object)),
});

const withBox = (x1: number, y1: number, x2: number, y2: number) =>
  withFirst({ box: { space: 'pixels', x1, y1, x2, y2 } });

const reencoded =
  (change: (image: Sharp) => Sharp) =>
  async (record: ImageRecord): Promise<ImageRecord> => ({
    ...record,
    image: new Uint8Array(await change(sharp(record.image)).toBuffer()),
  });

/** The manifest's entry of a shard made true again, so that only the change itself can be found. */
async function rewriteShard(dir: string, change: (bytes: Buffer) => void): Promise<void> {
  const file = join(dir, BAD.shard);
  const bytes = await readFile(file);
  change(bytes);
  await writeFile(file, bytes);
  await editManifest(dir, manifest => ({
    ...manifest,
    shards: manifest.shards.map(entry =>
      entry.file === BAD.shard ? { ...entry, crc32c: hex(crc32c(bytes)) } : entry,
    ),
  }));
}

async function editManifest(dir: string, change: (manifest: Manifest) => object): Promise<void> {
  const file = join(dir, 'manifest.json');
  await writeFile(file, JSON.stringify(change(JSON.parse(await readFile(file, 'utf8')))));
}

/** Sets a byte wherever `find` stands. */
function patchAll(bytes: Buffer, find: Buffer, offset: number, value: number): void {
  let found = 0;
  for (let at = bytes.indexOf(find); at >= 0; at = bytes.indexOf(find, at + 1), found++) {
    bytes[at + offset] = value;
  }
  if (found === 0) throw new Error(`the shard has no ${find.toString('latin1')}`);
}

export const DEFECTS: readonly Defect[] = [
  {
    name: 'corrupt image',
    kind: 'image',
    damage: 'row',
    says: /cannot be decoded/,
    record: record => ({ ...record, image: record.image.slice(0, record.image.length / 2) }),
  },
  {
    name: 'inverted box',
    kind: 'box',
    damage: 'row',
    says: /object 0: box \[30, 10, 20, 40\] is inverted or empty/,
    record: withBox(30, 10, 20, 40),
  },
  {
    name: 'box out of range',
    kind: 'box',
    damage: 'row',
    says: /object 0: box \[10, 10, 20, 4000\] leaves the image/,
    record: withBox(10, 10, 20, 4000),
  },
  {
    name: 'wrong size',
    kind: 'size',
    damage: 'row',
    says: /record says 500 ?x ?400/,
    record: record => ({ ...record, width: 500, height: 400, objects: [], relations: [] }),
  },
  {
    name: 'empty answer',
    kind: 'answer',
    damage: 'row',
    says: /conversation 0: round 1: answer is empty/,
    record: record => ({ ...record, conversations: chat(['a scene.', ' ']) }),
  },
  {
    name: 'all-masked sample',
    kind: 'untrained',
    damage: 'row',
    says: /conversation 0: .*nothing of it is trained on/,
    record: record => ({ ...record, conversations: [{ kind: 'chat', rounds: [] }] }),
  },
  {
    name: 'duplicate id',
    kind: 'id',
    damage: 'none',
    says: /has the same id as shard-00000\.arrow row 0/,
    record: record => ({ ...record, id: 'scene-0' }),
  },
  {
    name: 'missing image',
    kind: 'image',
    damage: 'row',
    says: /linked image .*gone\.png is missing/,
    record: record => ({ ...record, image: new Uint8Array(0), path: join('/nowhere', 'gone.png') }),
  },
  {
    name: 'truncated shard',
    kind: 'shard',
    damage: 'dataset',
    says: /is truncated: \d+ bytes, the manifest says \d+/,
    files: async dir => {
      const bytes = await readFile(join(dir, BAD.shard));
      await writeFile(join(dir, BAD.shard), bytes.subarray(0, bytes.length >> 1));
    },
  },
  {
    name: 'bad checksum',
    kind: 'shard',
    damage: 'dataset',
    says: /checksum is [0-9a-f]{8}, the manifest says 00000000/,
    files: dir =>
      editManifest(dir, manifest => ({
        ...manifest,
        shards: manifest.shards.map(entry =>
          entry.file === BAD.shard ? { ...entry, crc32c: '00000000' } : entry,
        ),
      })),
  },
  {
    name: 'wrong schema version of a shard',
    kind: 'shard',
    damage: 'dataset',
    says: /schema version is 7, this version of ground reads 2/,
    // A text of one letter, "2", as flatbuffers write it.
    files: dir =>
      rewriteShard(dir, bytes => {
        patchAll(bytes, Buffer.from('\x01\0\0\x002\0\0\0\x15\0\0\0ground.schema', 'latin1'), 4, 0x37);
      }),
  },
  {
    name: 'non-UTF-8 text',
    kind: 'row',
    damage: 'row',
    says: /a text is not UTF-8: "caf\ufffd"/,
    record: record => ({ ...record, captions: ['caf#'] }),
    files: dir => rewriteShard(dir, bytes => patchAll(bytes, Buffer.from('caf#'), 3, 0xe9)),
  },
  {
    name: 'text that was not UTF-8 once',
    kind: 'text',
    damage: 'row',
    says: /caption 0 has characters that are no text: "caf\ufffd"/,
    record: record => ({ ...record, captions: ['caf\ufffd'] }),
  },
  {
    name: '1x1 image',
    kind: 'odd-image',
    damage: 'none',
    says: /image is 1 x 1 pixels/,
    record: async record => ({
      ...record,
      ...{ width: 1, height: 1, objects: [], relations: [] },
      image: new Uint8Array(
        await sharp({ create: { width: 1, height: 1, channels: 3, background: '#888' } })
          .png()
          .toBuffer(),
      ),
    }),
  },
  {
    name: 'CMYK JPEG',
    kind: 'colours',
    damage: 'none',
    says: /image is CMYK/,
    record: reencoded(image => image.toColourspace('cmyk').jpeg()),
  },
  ...[3, 6].map(
    (orientation): Defect => ({
      name: `JPEG with EXIF orientation ${orientation}`,
      kind: 'orientation',
      damage: 'none',
      says: new RegExp(`EXIF orientation ${orientation}: its pixels are used as they are stored`),
      record: reencoded(image => image.jpeg().withMetadata({ orientation })),
    }),
  ),
  {
    name: 'mask of the wrong size',
    kind: 'mask',
    damage: 'row',
    says: /object 0: mask is 2 x 3 pixels, the image \d+ x \d+/,
    record: withFirst({ mask: encodeMask({ width: 2, height: 3, data: new Uint8Array(6).fill(1) }) }),
  },
];

/** Scenes that differ, each with a conversation; the defects are at the rows given. */
export async function writeDefects(dir: string, at: ReadonlyMap<number, Defect>): Promise<void> {
  const records: ImageRecord[] = [];
  for await (const scene of renderScenes(1, ROWS, { sizes: [{ width: 64, height: 64 }] })) {
    const row = records.length;
    const sound: ImageRecord = { ...scene, id: `scene-${row}`, conversations: chat(['a scene.', 'shapes.']) };
    const change = at.get(row)?.record;
    records.push(change ? await change(sound) : sound);
  }
  await writeShards(records, dir, { source: {}, builder: 'test', shardRows: SHARD_ROWS });
  for (const defect of at.values()) await defect.files?.(dir);
}

/** The scenes with one defect, at `BAD`. */
export function writeDefect(dir: string, defect: Defect): Promise<void> {
  return writeDefects(dir, new Map([[BAD_ROW, defect]]));
}
