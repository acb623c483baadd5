/** Checking a dataset: every shard's bytes and every row's content. */
import { createReadStream } from 'node:fs';
import { join } from 'node:path';
import { crc32c } from '@node-rs/crc32';
import sharp from 'sharp';
import { messageOf } from '../errors.ts';
import { boxProblem, type PixelBox } from './box.ts';
import { checkSize, openDataset } from './dataset.ts';
import { inOrder } from './in-order.ts';
import { MANIFEST_FILE, readManifest, type ShardEntry } from './manifest.ts';
import { type ImageRecord, isTextAlone, type ObjectAnnotation, type Relation } from './record.ts';
import { boundsOf, boxIou } from './rle.ts';
import { hex } from './shards.ts';

export interface Problem {
  /** File name of the shard, or of the manifest where the dataset as a whole is at fault. */
  readonly shard: string;
  /** Row inside the shard; null where the shard as a whole is at fault. */
  readonly row: number | null;
  readonly id: string | null;
  readonly problem: string;
}

export interface ValidationReport {
  readonly rows: number;
  readonly shards: number;
  /** In the order of the shards and rows. */
  readonly problems: readonly Problem[];
}

/** Rows in the making at once: images are decoded on other threads. */
const IN_FLIGHT = 8;
/** A mask fits its box, made larger by so many pixels, when this share of the mask's own box lies in it. */
const MASK_MARGIN = 2;
const MASK_INSIDE = 0.5;

/**
 * Reads all of a dataset and lists everything that is wrong with it: shards that are missing, cut or altered, images
 * that cannot be decoded or have another size, boxes that are inverted or leave the image, masks that do not fit, text
 * that is empty or garbled, ids that occur twice. Throws `data` only where there is no readable manifest.
 */
export async function validateDataset(
  dir: string,
  onProgress: (rows: number) => void = () => {},
): Promise<ValidationReport> {
  const manifest = await readManifest(dir);
  const dataset = await openDataset(dir, { checkSizes: false });
  const problems: Problem[] = [];
  if (manifest.rows === 0) {
    problems.push({ shard: MANIFEST_FILE, row: null, id: null, problem: 'the dataset has no rows' });
  }
  const owners = new Map<string, string>();
  let first = 0;
  try {
    for (const shard of manifest.shards) {
      const shardProblem = await problemOfShard(dir, shard);
      if (shardProblem) problems.push(ofShard(shard, shardProblem));
      else {
        const rows = Array.from({ length: shard.rows }, (_, row) => row);
        const base = first;
        let row = -1;
        for await (const result of inOrder(rows, IN_FLIGHT, row =>
          checkRow(() => dataset.read(base + row)),
        )) {
          row++;
          if ('failure' in result) {
            problems.push({ shard: shard.file, row, id: null, problem: result.failure });
          } else {
            const place = `${shard.file} row ${row}`;
            const twin = owners.get(result.id);
            if (twin) result.problems.push(`has the same id as ${twin}`);
            else owners.set(result.id, place);
            for (const problem of result.problems) {
              problems.push({ shard: shard.file, row, id: result.id, problem });
            }
          }
          onProgress(base + row + 1);
        }
      }
      first += shard.rows;
      onProgress(first);
    }
  } finally {
    await dataset.close();
  }
  return { rows: manifest.rows, shards: manifest.shards.length, problems };
}

/** What is wrong with one record; nothing where all is well. */
export async function problemsOf(record: ImageRecord): Promise<string[]> {
  const problems: string[] = [];
  const add = (problem: string | null) => {
    if (problem) problems.push(problem);
  };
  add(problemOfText('id', record.id));
  add(await problemOfImage(record));
  for (const [i, caption] of record.captions.entries()) add(problemOfText(`caption ${i}`, caption));
  for (const [i, object] of record.objects.entries()) {
    for (const problem of problemsOfObject(object, record)) problems.push(`object ${i}: ${problem}`);
  }
  for (const [i, relation] of record.relations.entries()) {
    const problem = problemOfRelation(relation, record.objects.length);
    add(problem && `relation ${i}: ${problem}`);
  }
  return problems;
}

type Checked = { readonly id: string; readonly problems: string[] } | { readonly failure: string };

async function checkRow(read: () => Promise<ImageRecord>): Promise<Checked> {
  try {
    const record = await read();
    return { id: record.id, problems: await problemsOf(record) };
  } catch (thrown) {
    return { failure: messageOf(thrown) };
  }
}

async function problemOfShard(dir: string, shard: ShardEntry): Promise<string | null> {
  try {
    await checkSize(dir, shard);
    let checksum = 0;
    for await (const chunk of createReadStream(join(dir, shard.file), { highWaterMark: 2 ** 20 })) {
      checksum = crc32c(chunk, checksum);
    }
    if (hex(checksum) === shard.crc32c) return null;
    return `checksum is ${hex(checksum)}, the manifest says ${shard.crc32c}: the file was altered`;
  } catch (thrown) {
    return messageOf(thrown);
  }
}

function ofShard(shard: ShardEntry, problem: string): Problem {
  return {
    shard: shard.file,
    row: null,
    id: null,
    problem: `${problem} (its ${shard.rows} rows were not read)`,
  };
}

async function problemOfImage(record: ImageRecord): Promise<string | null> {
  const { image, width, height, conversations = [] } = record;
  if (isTextAlone(record) && image.length === 0 && conversations.length > 0) return null;
  try {
    const { info } = await sharp(image, { failOn: 'error' }).raw().toBuffer({ resolveWithObject: true });
    if (info.width === width && info.height === height) return null;
    return `image is ${info.width} x ${info.height} pixels, the record says ${width} x ${height}`;
  } catch (thrown) {
    return `image cannot be decoded: ${messageOf(thrown).split('\n')[0]}`;
  }
}

function problemsOfObject(object: ObjectAnnotation, { width, height }: ImageRecord): string[] {
  const { box, mask } = object;
  const wrong = boxProblem(box, { width, height });
  const problems = [
    problemOfText('label', object.label),
    problemOfText('phrase', object.phrase),
    ...object.attributes.map((word, i) => problemOfText(`attribute ${i}`, word)),
  ];
  if (wrong !== null) problems.push(`box ${wrong}`);
  else if (mask) problems.push(problemOfMask(object, width, height));
  return problems.filter(problem => problem !== null);
}

function problemOfMask({ box, mask }: ObjectAnnotation, width: number, height: number): string | null {
  if (!mask) return null;
  if (mask.size[0] !== height || mask.size[1] !== width) {
    return `mask is ${mask.size[1]} x ${mask.size[0]} pixels, the image ${width} x ${height}`;
  }
  try {
    const bounds = boundsOf(mask);
    if (!bounds) return 'mask is empty';
    // Annotators outline loosely: this is to find masks of other objects, not strokes beside the line.
    return boxIou(bounds, grown(box), true) >= MASK_INSIDE ? null : 'mask lies elsewhere than its box';
  } catch (thrown) {
    return messageOf(thrown);
  }
}

function grown({ x1, y1, x2, y2 }: PixelBox): PixelBox {
  return {
    space: 'pixels',
    x1: x1 - MASK_MARGIN,
    y1: y1 - MASK_MARGIN,
    x2: x2 + MASK_MARGIN,
    y2: y2 + MASK_MARGIN,
  };
}

function problemOfRelation({ subject, predicate, object }: Relation, objects: number): string | null {
  const known = (index: number) => Number.isInteger(index) && index >= 0 && index < objects;
  if (!known(subject) || !known(object)) return `objects ${subject} and ${object} of ${objects}`;
  if (subject === object) return `object ${subject} stands in relation to itself`;
  return problemOfText('predicate', predicate);
}

function problemOfText(what: string, text: string): string | null {
  if (text.trim() === '') return `${what} is empty`;
  // U+FFFD is what broken UTF-8 turns into when it is read.
  if (/\p{Cc}|\ufffd/u.test(text)) return `${what} has characters that are no text: ${JSON.stringify(text)}`;
  return null;
}
