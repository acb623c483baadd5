/** Datasets made one: the records that several of them have of an image become a single record. */
import { createHash } from 'node:crypto';
import { resolve } from 'node:path';
import { GroundError } from '../errors.ts';
import type { BuildOptions } from './build.ts';
import { type Dataset, openDataset } from './dataset.ts';
import { fingerprintImage, isSameImage } from './image-hash.ts';
import { readLink } from './links.ts';
import type { Manifest } from './manifest.ts';
import { mergeRecords, SAME_OBJECT_IOU } from './merge-records.ts';
import type { ImageRecord } from './record.ts';
import { existingParent, replaceDataset } from './replace.ts';
import { writeShards } from './shards.ts';
import { type GroupOptions, Groups } from './sources/group.ts';
import { emptyReport, note, type SourceReport, tally } from './sources/source.ts';

/** What becomes of two records of one id whose images differ: kept as two, the later one left out, or no merge at all. */
export const CONFLICT_RULES = ['apart', 'skip', 'fail'] as const;
export type ConflictRule = (typeof CONFLICT_RULES)[number];

export interface MergeOptions extends BuildOptions {
  readonly out: string;
  /** Also join records of different ids whose image files are the same to the byte. */
  readonly byContent?: boolean;
  /** `apart` by default. */
  readonly conflicts?: ConflictRule;
  /** IoU from which on two boxes of one label are one object; 0.95 by default. */
  readonly sameObject?: number;
  readonly spill?: GroupOptions;
}

/** A row of one of the datasets. */
type RowOf = readonly [dataset: number, row: number];

/**
 * Merges datasets by image id. Records come in the order of the datasets and their rows, each joined by what later rows say
 * of its image (`mergeRecords`). Memory holds the records of one image at a time. An id whose images are of different
 * sizes, or look different, is a conflict. Throws `usage` on fewer than two datasets, `data` on a conflict that should
 * fail, and what `openDataset` and `writeShards` throw; a dataset at `out` is then untouched.
 */
export async function mergeDatasets(
  dirs: readonly string[],
  options: MergeOptions,
): Promise<{ manifest: Manifest; report: SourceReport }> {
  if (dirs.length < 2) {
    throw new GroundError('usage', `there is nothing to merge: ${dirs.length} dataset is given`, {
      hint: 'name two datasets or more: ground data merge A B --out C',
    });
  }
  const datasets: Dataset[] = [];
  const report = emptyReport();
  const spill = { folder: existingParent(options.out), ...options.spill };
  try {
    for (const dir of dirs) datasets.push(await openDataset(dir, { readLinks: false }));
    const { byContent, conflicts = 'apart', sameObject = SAME_OBJECT_IOU } = options;
    return await replaceDataset(options.out, options.overwrite === true, async folder => {
      const total = datasets.reduce((sum, { rows }) => sum + rows, 0);
      const manifest = await writeShards(mergedRecords(datasets, options, spill, report), folder, {
        builder: 'merge',
        source: {
          datasets: dirs.map(dir => resolve(dir)),
          byContent: byContent === true,
          conflicts,
          sameObject,
        },
        overwrite: true,
        onProgress: () => options.onProgress?.(report.counts['records read'] ?? 0, total),
      });
      report.counts.records = manifest.rows;
      return { manifest, report };
    });
  } finally {
    for (const dataset of datasets) await dataset.close();
  }
}

async function* mergedRecords(
  datasets: readonly Dataset[],
  options: MergeOptions,
  spill: GroupOptions,
  report: SourceReport,
): AsyncGenerator<ImageRecord, void, undefined> {
  const renamed =
    options.byContent === true ? await idsByContent(datasets, spill) : new Map<string, string>();
  const byId = new Groups(spill);
  const byPlace = new Groups(spill);
  try {
    for await (const { record, at } of allRows(datasets)) {
      await byId.add(renamed.get(record.id) ?? record.id, JSON.stringify(at));
    }
    const starts: number[] = [];
    for (const [i, { rows }] of datasets.entries()) starts[i + 1] = (starts[i] ?? 0) + rows;
    for await (const { entries } of byId) {
      const rows = entries.map(({ value }) => rowOf(value));
      const [dataset, row] = rows[0]!;
      await byPlace.add((starts[dataset] ?? 0) + row, JSON.stringify(rows));
    }
    await byId.close();
    for await (const { entries } of byPlace) {
      const rows: RowOf[] = (Array.isArray(entries[0]?.value) ? entries[0].value : []).map(rowOf);
      yield* await mergeGroup(rows, datasets, options, report);
    }
  } finally {
    await byId.close();
    await byPlace.close();
  }
}

/** The records of one id: one, or several where they are of different images. */
async function mergeGroup(
  rows: readonly RowOf[],
  datasets: readonly Dataset[],
  { conflicts = 'apart', sameObject }: MergeOptions,
  report: SourceReport,
): Promise<ImageRecord[]> {
  const merged: ImageRecord[] = [];
  for (const [number, row] of rows) {
    const dataset = datasets[number]!;
    const record = await dataset.read(row);
    tally(report.counts, 'records read');
    const problems: string[] = [];
    let at = -1;
    for (const [i, other] of merged.entries()) {
      const problem = await conflictOf(other, record);
      if (problem === null) {
        at = i;
        break;
      }
      problems.push(problem);
    }
    const other = merged[at];
    if (other) {
      if (other.split !== record.split && record.split !== undefined && other.split !== undefined) {
        note(report, 'mended', 'split differs: the first one is kept', placeOf(dataset, row, record));
      }
      merged[at] = mergeRecords(other, record, report.counts, sameObject);
      tally(report.counts, 'records joined');
      continue;
    }
    const [problem] = problems;
    if (problem !== undefined) {
      const place = placeOf(dataset, row, record);
      if (conflicts === 'fail') {
        throw new GroundError('data', `${place}: ${problem} as a record of the same id before it`, {
          hint: 'pass --on-conflict apart to keep both, or --on-conflict skip to leave the later one out',
        });
      }
      note(report, conflicts === 'skip' ? 'skipped' : 'mended', `${problem}${CONFLICT[conflicts]}`, place);
      if (conflicts === 'skip') continue;
    }
    merged.push(problem === undefined ? record : { ...record, id: `${record.id}@${number + 1}` });
  }
  // What links stays a link.
  return merged.map(record => (record.path === undefined ? record : { ...record, image: new Uint8Array(0) }));
}

const CONFLICT = { apart: ': kept apart', skip: '', fail: '' };

/** Why two records of an id are of different images; null where they are of one. */
async function conflictOf(a: ImageRecord, b: ImageRecord): Promise<string | null> {
  if (a.width !== b.width || a.height !== b.height) return 'image of another size';
  if (a.path !== undefined && a.path === b.path) return null;
  const [first, second] = [await bytesOf(a), await bytesOf(b)];
  if (Buffer.compare(first, second) === 0) return null;
  // Files that were saved anew still show the same.
  const [one, two] = [await fingerprintImage(first, a.id), await fingerprintImage(second, b.id)];
  return isSameImage(one, two) ? null : 'another image';
}

async function bytesOf({ image, path }: ImageRecord): Promise<Uint8Array> {
  return path === undefined ? image : readLink(path);
}

/** For every id whose image's bytes came under another id before: that id. */
async function idsByContent(datasets: readonly Dataset[], spill: GroupOptions): Promise<Map<string, string>> {
  const groups = new Groups(spill);
  try {
    for await (const { record } of allRows(datasets)) {
      const bytes = await bytesOf(record);
      if (bytes.length === 0) continue;
      await groups.add(createHash('sha256').update(bytes).digest('base64'), JSON.stringify(record.id));
    }
    const first = new Map<string, string>();
    const rootOf = (id: string): string => {
      let root = id;
      for (let next = first.get(root); next !== undefined; next = first.get(root)) root = next;
      return root;
    };
    for await (const { entries } of groups) {
      const [id, ...others] = entries.map(({ value }) => String(value));
      for (const other of others) {
        const [a, b] = [rootOf(id ?? other), rootOf(other)];
        if (a !== b) first.set(b, a);
      }
    }
    return new Map([...first.keys()].map(id => [id, rootOf(id)]));
  } finally {
    await groups.close();
  }
}

async function* allRows(
  datasets: readonly Dataset[],
): AsyncGenerator<{ record: ImageRecord; at: RowOf }, void, undefined> {
  for (const [number, dataset] of datasets.entries()) {
    for (let row = 0; row < dataset.rows; row++) yield { record: await dataset.read(row), at: [number, row] };
  }
}

/** A row as it came back from grouping. */
function rowOf(value: unknown): RowOf {
  const [dataset, row]: unknown[] = Array.isArray(value) ? value : [];
  return [Number(dataset), Number(row)];
}

function placeOf(dataset: Dataset, row: number, { id }: ImageRecord): string {
  const place = dataset.placeOf(row);
  return `${dataset.dir} ${place.shard} row ${place.row} (${id})`;
}
