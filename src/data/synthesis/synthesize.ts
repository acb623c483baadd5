/**
 * A dataset of aligned text, boxes and crops made of annotated images, as TinyGroundingGPT's (arXiv 2411.09691) is built:
 * two passes over the images, the first to count what there is and to choose a balanced part of it, the second to write.
 */
import { resolve } from 'node:path';
import sharp from 'sharp';
import { GroundError } from '../../errors.ts';
import { hashSeed } from '../../random.ts';
import type { PixelBox } from '../box.ts';
import { type Dataset, openDataset } from '../dataset.ts';
import { decodeImage } from '../image.ts';
import { inOrder } from '../in-order.ts';
import type { Manifest } from '../manifest.ts';
import type { ImageRecord, ObjectAnnotation } from '../record.ts';
import { replaceDataset } from '../replace.ts';
import type { Rgb } from '../resample.ts';
import { writeShards } from '../shards.ts';
import { balance, CandidateList } from './balance.ts';
import { compose, cutCrop } from './crops.ts';
import { IN_FLIGHT, LeakGuard, lookOf, rowsOf, SeenImages } from './guard.ts';
import { chooseObjects } from './objects.ts';
import { type Candidate, candidatesOf, type OtherObjects } from './samples.ts';
import { SYNTHESIS_TASKS, type SynthesisTask } from './wording.ts';

export interface SynthesizeOptions {
  /** Folders of the datasets that samples are made of. */
  readonly datasets: readonly string[];
  /** Folders of datasets whose images must not occur. */
  readonly exclude: readonly string[];
  readonly out: string;
  readonly seed: number;
  /** Most samples; all that are balanced where absent. */
  readonly count?: number;
  readonly overwrite?: boolean;
  /** Told how many of how many images are looked at, */
  readonly onScan?: (done: number, total: number) => void;
  /** and how many of how many samples are written. */
  readonly onWrite?: (done: number, total: number) => void;
}

export interface SynthesisReport {
  readonly rows: number;
  /** Images that samples were made of. */
  readonly images: number;
  /** Samples by task, and how many there were to choose from. */
  readonly tasks: Readonly<Record<SynthesisTask, number>>;
  readonly candidates: Readonly<Record<SynthesisTask, number>>;
  /** Labels that samples are about, the largest share of all samples that one has, and the largest it might have. */
  readonly labels: number;
  readonly largestLabel: number;
  readonly labelShare: number;
  /** Images that were not used, by reason. */
  readonly leftOut: Readonly<Record<string, number>>;
}

/** Objects of a label that are remembered to be shown beside other images. */
const REMEMBERED = 64;

/**
 * Writes the dataset: one sample a row, a conversation of one round. A sample with crops is a picture of its own, the
 * scene with the crops in a strip to its right; all boxes are pixels of that picture. Equal inputs and an equal seed give
 * equal bytes. Throws `data` where nothing can be made, and what reading and writing throw; then `out` is untouched.
 */
export async function synthesize(
  options: SynthesizeOptions,
): Promise<{ manifest: Manifest; report: SynthesisReport }> {
  return replaceDataset(options.out, options.overwrite === true, async folder => {
    const open: Dataset[] = [];
    try {
      const guard = new LeakGuard();
      const inputs: Dataset[] = [];
      for (const dir of options.datasets) inputs.push(await opened(dir, open));
      const excluded: Dataset[] = [];
      for (const dir of options.exclude) excluded.push(await opened(dir, open));
      const total = open.reduce((sum, dataset) => sum + dataset.rows, 0);
      let scanned = 0;
      const onRow = () => options.onScan?.(++scanned, total);
      for (const dataset of excluded) await guard.add(dataset, onRow);
      const scan = await scanImages(inputs, guard, options.seed, onRow);
      const { kept, labelShare } = balance(
        scan.candidates,
        SYNTHESIS_TASKS.length,
        options.count ?? Number.MAX_SAFE_INTEGER,
      );
      if (kept.length === 0) throw nothingToMake(scan);
      const report = reportOf(scan, kept, labelShare, guard);
      const manifest = await writeShards(writtenRows(inputs, scan, kept, options.seed), folder, {
        builder: 'synthesis',
        source: sourceOf(options, report),
        overwrite: true,
        onProgress: rows => options.onWrite?.(rows, kept.length),
      });
      return { manifest, report };
    } finally {
      await Promise.all(open.map(dataset => dataset.close()));
    }
  });
}

async function opened(dir: string, open: Dataset[]): Promise<Dataset> {
  const dataset = await openDataset(dir);
  open.push(dataset);
  return dataset;
}

/** What the first pass found. */
interface Scan {
  /** The images that can be used: which dataset, which row. */
  readonly images: { readonly dataset: number; readonly row: number }[];
  readonly candidates: CandidateList;
  readonly pool: LabelPool;
  readonly leftOut: Record<string, number>;
}

async function scanImages(
  inputs: readonly Dataset[],
  guard: LeakGuard,
  seed: number,
  onRow: () => void,
): Promise<Scan> {
  const scan: Scan = { images: [], candidates: new CandidateList(), pool: new LabelPool(seed), leftOut: {} };
  const seen = new SeenImages();
  const leaveOut = (reason: string) => {
    scan.leftOut[reason] = (scan.leftOut[reason] ?? 0) + 1;
  };
  for (const [number, dataset] of inputs.entries()) {
    let row = -1;
    const looks = inOrder(rowsOf(dataset), IN_FLIGHT, async at => {
      const record = await dataset.read(at);
      const print = await lookOf(record);
      return { record: { ...record, image: NO_BYTES }, print };
    });
    for await (const { record, print } of looks) {
      row++;
      onRow();
      if (!print) {
        leaveOut(print === null ? 'not readable' : 'no image');
        continue;
      }
      const reason = guard.reasonAgainst(record.id, print) ?? seen.reasonAgainst(record.id, print);
      if (reason !== null) {
        leaveOut(reason);
        continue;
      }
      const candidates = candidatesOf(record, seed);
      if (candidates.length === 0) {
        leaveOut('no object large enough');
        continue;
      }
      const image = scan.images.push({ dataset: number, row }) - 1;
      for (const [ordinal, { task, label }] of candidates.entries()) {
        const priority = hashSeed(seed, 'synthesis-order', record.id, ordinal);
        scan.candidates.add(image, ordinal, SYNTHESIS_TASKS.indexOf(task), label, priority);
      }
      for (const { object, index } of chooseObjects(record)) scan.pool.add(record.id, image, index, object);
    }
  }
  return scan;
}

const NO_BYTES = new Uint8Array(0);

/** A few objects of each label, the same ones whatever the order they came in. */
class LabelPool {
  readonly #seed: number;
  readonly #objects = new Map<
    string,
    { readonly hash: number; readonly image: number; readonly box: PixelBox }[]
  >();

  constructor(seed: number) {
    this.#seed = seed;
  }

  add(id: string, image: number, index: number, { label, box }: ObjectAnnotation): void {
    const hash = hashSeed(this.#seed, 'synthesis-pool', id, index);
    const known = this.#objects.get(label) ?? [];
    this.#objects.set(label, known);
    if (known.length === REMEMBERED && hash >= known.at(-1)!.hash) return;
    const at = known.findIndex(other => other.hash > hash);
    known.splice(at < 0 ? known.length : at, 0, { hash, image, box });
    if (known.length > REMEMBERED) known.pop();
  }

  /** Objects of a label on other images than `image`, one an image, in hash order from a random one on. */
  except(image: number): OtherObjects {
    return (label, random) => {
      const known = (this.#objects.get(label) ?? []).filter(other => other.image !== image);
      const first = known.length === 0 ? 0 : random.int(0, known.length);
      const turned = [...known.slice(first), ...known.slice(0, first)];
      return turned
        .filter((one, i) => turned.findIndex(other => other.image === one.image) === i)
        .slice(0, 3);
    };
  }
}

/** The kept samples as records, those of an image together, images in their order. */
async function* writtenRows(
  inputs: readonly Dataset[],
  scan: Scan,
  kept: Uint32Array,
  seed: number,
): AsyncGenerator<ImageRecord> {
  const read = (image: number) => {
    const { dataset, row } = scan.images[image]!;
    return inputs[dataset]!.read(row);
  };
  const jobs = inOrder(byImage(scan.candidates, kept), 2, async ({ image, ordinals }) => {
    const record = await read(image);
    const candidates = candidatesOf(record, seed);
    let scene: Promise<Rgb> | undefined;
    const pixelsOf = async (other: number | undefined): Promise<Rgb> => {
      if (other !== undefined) return decodeImage(await read(other));
      scene ??= decodeImage(record);
      return scene;
    };
    const rows: ImageRecord[] = [];
    for (const ordinal of ordinals) {
      rows.push(await rowOf(record, candidates[ordinal]!, ordinal, scan.pool.except(image), pixelsOf));
    }
    return rows;
  });
  for await (const rows of jobs) yield* rows;
}

function* byImage(
  candidates: CandidateList,
  kept: Uint32Array,
): Generator<{ image: number; ordinals: number[] }> {
  let group: { image: number; ordinals: number[] } | undefined;
  for (const at of kept) {
    const image = candidates.image(at);
    if (group && group.image !== image) {
      yield group;
      group = undefined;
    }
    group ??= { image, ordinals: [] };
    group.ordinals.push(candidates.ordinal(at));
  }
  if (group) yield group;
}

async function rowOf(
  record: ImageRecord,
  candidate: Candidate,
  ordinal: number,
  others: OtherObjects,
  pixelsOf: (image: number | undefined) => Promise<Rgb>,
): Promise<ImageRecord> {
  const { round, crops } = candidate.write(others);
  const picture = { image: record.image, width: record.width, height: record.height };
  if (crops.length > 0) {
    const scene = await pixelsOf(undefined);
    const parts: Rgb[] = [];
    for (const crop of crops) parts.push(cutCrop(await pixelsOf(crop.image), crop, scene));
    const canvas = compose(scene, parts);
    Object.assign(picture, {
      image: await encode(canvas, isPng(record.image)),
      width: canvas.width,
      height: canvas.height,
    });
  }
  return {
    id: `${record.id}#${candidate.task}-${ordinal}`,
    ...picture,
    captions: [],
    // Without masks, which have the size of the scene.
    objects: candidate.objects.map(index => {
      const { label, phrase, attributes, box } = record.objects[index]!;
      return { label, phrase, attributes, box };
    }),
    relations: [],
    ...(record.split === undefined ? {} : { split: record.split }),
    conversations: [{ kind: 'chat', rounds: [round] }],
  };
}

function isPng(image: Uint8Array): boolean {
  return image[0] === 0x89 && image[1] === 0x50;
}

/** PNG where the scene was one, else JPEG of a quality that leaves small crops alone. */
async function encode({ width, height, data }: Rgb, png: boolean): Promise<Uint8Array> {
  const picture = sharp(data, { raw: { width, height, channels: 3 } });
  const encoded = png
    ? picture.png({ compressionLevel: 6 })
    : picture.jpeg({ quality: 92, chromaSubsampling: '4:4:4' });
  return new Uint8Array(await encoded.toBuffer());
}

function reportOf(scan: Scan, kept: Uint32Array, labelShare: number, guard: LeakGuard): SynthesisReport {
  const { candidates } = scan;
  const counts = (rows: Iterable<number>) => {
    const byTask = Object.fromEntries(SYNTHESIS_TASKS.map(task => [task, 0])) as Record<
      SynthesisTask,
      number
    >;
    for (const at of rows) byTask[SYNTHESIS_TASKS[candidates.task(at)]!]++;
    return byTask;
  };
  const byLabel = new Map<number, number>();
  const images = new Set<number>();
  for (const at of kept) {
    images.add(candidates.image(at));
    const label = candidates.label(at);
    if (label > 0) byLabel.set(label, (byLabel.get(label) ?? 0) + 1);
  }
  const unreadable =
    guard.unreadable === 0 ? {} : { 'evaluation images known by id alone': guard.unreadable };
  return {
    rows: kept.length,
    images: images.size,
    tasks: counts(kept),
    candidates: counts(rowsOf({ rows: candidates.size })),
    labels: byLabel.size,
    largestLabel: Math.max(0, ...byLabel.values()) / kept.length,
    labelShare,
    leftOut: { ...scan.leftOut, ...unreadable },
  };
}

function sourceOf(
  { datasets, exclude, seed, count }: SynthesizeOptions,
  report: SynthesisReport,
): Manifest['source'] {
  const { tasks, labels, images, leftOut } = report;
  return {
    datasets: datasets.map(dir => resolve(dir)),
    exclude: exclude.map(dir => resolve(dir)),
    seed,
    ...(count === undefined ? {} : { count }),
    images,
    labels,
    tasks: { ...tasks },
    left_out: { ...leftOut },
  };
}

function nothingToMake({ leftOut, images }: Scan): GroundError {
  const why = Object.entries(leftOut)
    .map(([reason, count]) => `${count} ${reason}`)
    .join(', ');
  return new GroundError(
    'data',
    `no sample can be made of ${images.length} usable images${why && ` (left out: ${why})`}`,
    {
      hint: 'samples need objects with boxes of 16 pixels a side or more, on images that no evaluation set has',
    },
  );
}
