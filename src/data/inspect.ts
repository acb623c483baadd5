/** What is in a dataset, in numbers. */
import type { Dataset } from './dataset.ts';
import type { Manifest } from './manifest.ts';
import { type ImageRecord, isNamedAlone } from './record.ts';

/** Least, middle and greatest of a list; zeros for an empty one. */
export interface Spread {
  readonly min: number;
  readonly median: number;
  readonly max: number;
  readonly mean: number;
}

export interface DatasetSummary {
  readonly builder: Manifest['builder'];
  readonly source: Manifest['source'];
  readonly rows: number;
  readonly shards: number;
  readonly bytes: number;
  readonly width: Spread;
  readonly height: Spread;
  readonly imageBytes: Spread;
  readonly captionsPerImage: Spread;
  readonly wordsPerCaption: Spread;
  readonly objectsPerImage: Spread;
  readonly objects: number;
  readonly crowds: number;
  readonly masks: number;
  /** Objects whose phrase fits no other object of their image: what can be asked for. */
  readonly namedAlone: number;
  /** Objects by COCO's three sizes: area of the box below 32², below 96², and above. */
  readonly areas: { readonly small: number; readonly medium: number; readonly large: number };
  /** Share of the image's area that a box takes. */
  readonly boxShare: Spread;
  /** Objects by label, relations by predicate; the most frequent first. */
  readonly labels: Readonly<Record<string, number>>;
  readonly predicates: Readonly<Record<string, number>>;
}

/** Reads every row once and counts. Throws what reading throws. */
export async function inspectDataset(
  dataset: Dataset,
  onProgress: (rows: number) => void = () => {},
): Promise<DatasetSummary> {
  const numbers = {
    width: [] as number[],
    height: [] as number[],
    imageBytes: [] as number[],
    captionsPerImage: [] as number[],
    wordsPerCaption: [] as number[],
    objectsPerImage: [] as number[],
    boxShare: [] as number[],
  };
  const counts = { objects: 0, crowds: 0, masks: 0, namedAlone: 0 };
  const areas = { small: 0, medium: 0, large: 0 };
  const labels = new Map<string, number>();
  const predicates = new Map<string, number>();

  function add(record: ImageRecord): void {
    numbers.width.push(record.width);
    numbers.height.push(record.height);
    numbers.imageBytes.push(record.image.byteLength);
    numbers.captionsPerImage.push(record.captions.length);
    numbers.objectsPerImage.push(record.objects.length);
    for (const caption of record.captions) numbers.wordsPerCaption.push(caption.split(/\s+/).length);
    for (const [i, { box, label, crowd, mask }] of record.objects.entries()) {
      const area = (box.x2 - box.x1) * (box.y2 - box.y1);
      numbers.boxShare.push(area / (record.width * record.height));
      areas[area < 32 ** 2 ? 'small' : area < 96 ** 2 ? 'medium' : 'large']++;
      counts.objects++;
      if (crowd) counts.crowds++;
      if (mask) counts.masks++;
      if (isNamedAlone(record.objects, i)) counts.namedAlone++;
      increase(labels, label);
    }
    for (const { predicate } of record.relations) increase(predicates, predicate);
  }

  for (let row = 0; row < dataset.rows; row++) {
    add(await dataset.read(row));
    onProgress(row + 1);
  }
  const { manifest } = dataset;
  return {
    builder: manifest.builder,
    source: manifest.source,
    rows: dataset.rows,
    shards: manifest.shards.length,
    bytes: manifest.shards.reduce((sum, shard) => sum + shard.bytes, 0),
    width: spreadOf(numbers.width),
    height: spreadOf(numbers.height),
    imageBytes: spreadOf(numbers.imageBytes),
    captionsPerImage: spreadOf(numbers.captionsPerImage),
    wordsPerCaption: spreadOf(numbers.wordsPerCaption),
    objectsPerImage: spreadOf(numbers.objectsPerImage),
    ...counts,
    areas,
    boxShare: spreadOf(numbers.boxShare),
    labels: byFrequency(labels),
    predicates: byFrequency(predicates),
  };
}

function spreadOf(values: readonly number[]): Spread {
  const sorted = [...values].sort((a, b) => a - b);
  const sum = sorted.reduce((total, value) => total + value, 0);
  return {
    min: sorted[0] ?? 0,
    median: sorted[Math.floor(sorted.length / 2)] ?? 0,
    max: sorted.at(-1) ?? 0,
    mean: sorted.length === 0 ? 0 : sum / sorted.length,
  };
}

function increase(counts: Map<string, number>, key: string): void {
  counts.set(key, (counts.get(key) ?? 0) + 1);
}

function byFrequency(counts: ReadonlyMap<string, number>): Record<string, number> {
  return Object.fromEntries([...counts].sort(([a, m], [b, n]) => n - m || (a < b ? -1 : 1)));
}
