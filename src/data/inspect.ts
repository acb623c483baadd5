/** What is in a dataset, in numbers. */
import type { Piece } from './conversation.ts';
import type { Dataset } from './dataset.ts';
import type { Manifest } from './manifest.ts';
import {
  CONVERSATION_KINDS,
  type ConversationKind,
  type ImageRecord,
  isNamedAlone,
  isTextAlone,
} from './record.ts';
import { NameCounts, type Spread, Tally } from './tally.ts';

export type { Spread } from './tally.ts';

/** Numbers of a record or of its parts, of which least, median, mean and greatest are told. */
export const SPREADS = [
  'width',
  'height',
  'imageBytes',
  'captionsPerImage',
  'wordsPerCaption',
  'objectsPerImage',
  /** Share of the image's area that an object's box takes. */
  'boxShare',
  /** Words of phrases, expressions, and phrases of described regions. */
  'wordsPerPhrase',
  'roundsPerConversation',
] as const;

const COUNTS = [
  /** Conversations without an image, and images that are linked. */
  'textAlone',
  'linked',
  'captions',
  'objects',
  'crowds',
  'masks',
  /** Objects whose phrase fits no other object of their image: what can be asked for. */
  'namedAlone',
  'attributes',
  'expressions',
  'relations',
  'describedRegions',
  /** Parts of captions that point at objects. */
  'spans',
  'absentLabels',
  'conversations',
  'rounds',
  /** In conversations: boxes, and what users point with. */
  'boxesInTurns',
  'points',
  'regionBoxes',
  'freeForms',
] as const;

type Spreads = Readonly<Record<(typeof SPREADS)[number], Spread>>;
type Counts = Readonly<Record<(typeof COUNTS)[number], number>>;

export interface DatasetSummary extends Spreads, Counts {
  readonly builder: Manifest['builder'];
  readonly source: Manifest['source'];
  readonly rows: number;
  readonly shards: number;
  readonly bytes: number;
  /** Objects by COCO's three sizes: area of the box below 32², below 96², and above. */
  readonly areas: { readonly small: number; readonly medium: number; readonly large: number };
  /** Objects by the side of a square as large as their box, pixels: below each of `BOX_SIDES`, and above all. */
  readonly boxSides: readonly number[];
  readonly conversationKinds: Readonly<Record<ConversationKind, number>>;
  /** Records by split, '' where they have none; objects by label, relations by predicate. The most frequent first. */
  readonly splits: Readonly<Record<string, number>>;
  readonly labels: Readonly<Record<string, number>>;
  readonly predicates: Readonly<Record<string, number>>;
}

/** Bounds of the histogram of boxes. */
export const BOX_SIDES = [8, 16, 32, 64, 96, 128, 192, 256, 384, 512];

/** Reads every row once and counts, in bounded memory but for names. Throws what reading throws. */
export async function inspectDataset(
  dataset: Dataset,
  onProgress: (rows: number) => void = () => {},
): Promise<DatasetSummary> {
  const census = new Census();
  for (let row = 0; row < dataset.rows; row++) {
    census.add(await dataset.read(row));
    onProgress(row + 1);
  }
  const { manifest } = dataset;
  return {
    builder: manifest.builder,
    source: manifest.source,
    rows: dataset.rows,
    shards: manifest.shards.length,
    bytes: manifest.shards.reduce((sum, shard) => sum + shard.bytes, 0),
    ...census.result(),
  };
}

class Census {
  readonly #counts = zeros(COUNTS);
  readonly #kinds = zeros(CONVERSATION_KINDS);
  readonly #areas = zeros(['small', 'medium', 'large'] as const);
  readonly #spreads = Object.fromEntries(SPREADS.map(name => [name, new Tally()])) as Record<
    (typeof SPREADS)[number],
    Tally
  >;
  readonly #boxSides = new Tally();
  readonly #splits = new NameCounts();
  readonly #labels = new NameCounts();
  readonly #predicates = new NameCounts();

  add(record: ImageRecord): void {
    const [counts, spreads] = [this.#counts, this.#spreads];
    this.#splits.add(record.split ?? '');
    if (isTextAlone(record)) counts.textAlone++;
    else this.#addImage(record);
    if (record.path !== undefined) counts.linked++;
    counts.captions += record.captions.length;
    for (const caption of record.captions) spreads.wordsPerCaption.add(wordsOf(caption));
    for (let i = 0; i < record.objects.length; i++) this.#addObject(record, i);
    counts.relations += record.relations.length;
    for (const { predicate } of record.relations) this.#predicates.add(predicate);
    counts.describedRegions += record.regions?.length ?? 0;
    for (const { phrase } of record.regions ?? []) spreads.wordsPerPhrase.add(wordsOf(phrase));
    counts.spans += record.spans?.length ?? 0;
    counts.absentLabels += record.absent?.length ?? 0;
    for (const { kind, rounds } of record.conversations ?? []) {
      counts.conversations++;
      counts.rounds += rounds.length;
      this.#kinds[kind]++;
      spreads.roundsPerConversation.add(rounds.length);
      for (const { question, answer } of rounds)
        for (const piece of [...question, ...answer]) this.#addPiece(piece);
    }
  }

  result() {
    const spreads = Object.fromEntries(SPREADS.map(name => [name, this.#spreads[name].spread()])) as Spreads;
    return {
      ...spreads,
      ...this.#counts,
      areas: this.#areas,
      boxSides: this.#boxSides.histogram(BOX_SIDES),
      conversationKinds: this.#kinds,
      splits: this.#splits.toRecord(),
      labels: this.#labels.toRecord(),
      predicates: this.#predicates.toRecord(),
    };
  }

  #addImage({ width, height, image, captions, objects }: ImageRecord): void {
    const spreads = this.#spreads;
    spreads.width.add(width);
    spreads.height.add(height);
    // Linked images are on their own disk, and maybe not there.
    if (image.byteLength > 0) spreads.imageBytes.add(image.byteLength);
    spreads.captionsPerImage.add(captions.length);
    spreads.objectsPerImage.add(objects.length);
  }

  #addObject({ objects, width, height }: ImageRecord, index: number): void {
    const object = objects[index];
    if (!object) return;
    const { box, label, phrase, attributes, crowd, mask, expressions = [] } = object;
    const [counts, spreads] = [this.#counts, this.#spreads];
    const area = (box.x2 - box.x1) * (box.y2 - box.y1);
    spreads.boxShare.add(area / (width * height));
    this.#areas[area < 32 ** 2 ? 'small' : area < 96 ** 2 ? 'medium' : 'large']++;
    // Whole pixels are enough for the histogram, and few.
    this.#boxSides.add(Math.floor(Math.sqrt(area)));
    counts.objects++;
    counts.attributes += attributes.length;
    counts.expressions += expressions.length;
    if (crowd) counts.crowds++;
    if (mask) counts.masks++;
    if (isNamedAlone(objects, index)) counts.namedAlone++;
    this.#labels.add(label);
    for (const text of [phrase, ...expressions]) spreads.wordsPerPhrase.add(wordsOf(text));
  }

  #addPiece(piece: Piece): void {
    if (piece.kind === 'box') this.#counts.boxesInTurns++;
    if (piece.kind !== 'region') return;
    const { kind } = piece.region;
    this.#counts[kind === 'point' ? 'points' : kind === 'box' ? 'regionBoxes' : 'freeForms']++;
  }
}

function zeros<const Name extends string>(names: readonly Name[]): Record<Name, number> {
  return Object.fromEntries(names.map(name => [name, 0])) as Record<Name, number>;
}

function wordsOf(text: string): number {
  return text.split(/\s+/).filter(word => word !== '').length;
}
