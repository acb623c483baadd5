/** All that Visual Genome's files say of one image, brought together: one object for all mentions of its number. */
import type { PixelBox, Size } from '../box.ts';
import type { DescribedRegion, ObjectAnnotation, Relation } from '../record.ts';
import type { RecordContent } from './entries.ts';
import { note, type SourceReport, tally } from './source.ts';
import { soundBox } from './turn-boxes.ts';

/** What one file says of one image, unchecked. */
export interface GenomePart {
  readonly kind: 'objects' | 'attributes' | 'relationships' | 'regions';
  readonly image: number;
  readonly list: readonly unknown[];
  readonly place: string;
}

/** An object on its way: every file may add to it. */
interface Draft {
  readonly label: string;
  readonly attributes: Set<string>;
  readonly box: PixelBox;
}

type Json = Readonly<Record<string, unknown>>;

/**
 * Objects with the attributes of all files, relations and regions of an image, boxes in pixels cut at its edge. What
 * cannot be used is noted. Relations of an object that was left out go with it.
 */
export function genomeContent(parts: readonly GenomePart[], size: Size, report: SourceReport): RecordContent {
  const scene = new Scene(size, report);
  const of = (kind: GenomePart['kind']) => parts.filter(part => part.kind === kind);
  for (const { list, place } of of('objects')) for (const object of list) scene.mention(object, place);
  for (const { list, place } of of('attributes')) for (const object of list) scene.mention(object, place);
  for (const { list, place } of of('relationships'))
    for (const relation of list) scene.relate(relation, place);
  const regions = of('regions').flatMap(({ list, place }) =>
    list.flatMap(region => regionOf(region, size, place, report) ?? []),
  );
  tally(report.counts, 'attributes', scene.attributes);
  return { objects: scene.objects, relations: scene.relations, regions };
}

/** The objects and relations of an image as they become known. */
class Scene {
  readonly relations: Relation[] = [];
  private readonly drafts: Draft[] = [];
  /** Number in Visual Genome to place in `drafts`; null for an object that was left out. */
  private readonly places = new Map<unknown, number | null>();
  private readonly size: Size;
  private readonly report: SourceReport;

  constructor(size: Size, report: SourceReport) {
    this.size = size;
    this.report = report;
  }

  get objects(): ObjectAnnotation[] {
    return withPhrases(
      this.drafts.map(({ label, attributes, box }) => ({
        label,
        phrase: label,
        attributes: [...attributes],
        box,
      })),
    );
  }

  get attributes(): number {
    return this.drafts.reduce((sum, { attributes }) => sum + attributes.size, 0);
  }

  /** The place of an object, which is new or known already; null where it cannot be used. */
  mention(object: unknown, place: string): number | null {
    if (!isObject(object)) {
      note(this.report, 'skipped', 'object that is none', place);
      return null;
    }
    const { object_id: id, merged_object_ids: merged, attributes } = object;
    const known = id === undefined ? undefined : this.places.get(id);
    const index = known === undefined ? this.draft(object, place) : known;
    if (id !== undefined) this.places.set(id, index);
    for (const other of Array.isArray(merged) ? merged : []) {
      if (!this.places.has(other)) this.places.set(other, index);
    }
    const draft = index === null ? undefined : this.drafts[index];
    for (const attribute of Array.isArray(attributes) ? attributes : []) {
      const words = wordsOf(attribute);
      if (words !== '') draft?.attributes.add(words);
    }
    return index;
  }

  relate(relation: unknown, place: string): void {
    const { predicate, subject, object } = isObject(relation) ? relation : {};
    const words = wordsOf(predicate);
    if (words === '') {
      note(this.report, 'skipped', 'relation without a predicate', place);
      return;
    }
    const [from, to] = [this.mention(subject, place), this.mention(object, place)];
    if (from === null || to === null) {
      note(this.report, 'skipped', 'relation of an object that was left out', place);
    } else if (from === to) {
      note(this.report, 'skipped', 'relation of an object to itself', place);
    } else if (
      this.relations.some(known => known.subject === from && known.object === to && known.predicate === words)
    ) {
      note(this.report, 'skipped', 'relation listed twice', place);
    } else {
      this.relations.push({ subject: from, predicate: words, object: to });
    }
  }

  private draft(object: Json, place: string): number | null {
    const label = labelOf(object);
    if (label === '') {
      note(this.report, 'skipped', 'object without a name', place);
      return null;
    }
    const box = boxOf(object, object.w, object.h, this.size, place, this.report);
    if (!box) return null;
    return this.drafts.push({ label, attributes: new Set(), box }) - 1;
  }
}

/** The first of its names, or the word of its first synset: "man.n.01". Older files have one `name`. */
function labelOf({ names, name, synsets }: Json): string {
  const [synset] = Array.isArray(synsets) ? synsets : [];
  const candidates = [
    ...(Array.isArray(names) ? names : []),
    name,
    String(synset ?? '').replace(/\.\w\.\d+$/, ''),
  ];
  return candidates.map(wordsOf).find(words => words !== '') ?? '';
}

function regionOf(region: unknown, size: Size, place: string, report: SourceReport): DescribedRegion | null {
  const { phrase, width, height } = isObject(region) ? region : {};
  const words = typeof phrase === 'string' ? phrase.replace(/\s+/g, ' ').trim() : '';
  if (!isObject(region) || words === '') {
    note(report, 'skipped', 'region without a description', place);
    return null;
  }
  const box = boxOf(region, width, height, size, place, report);
  return box && { phrase: words, box };
}

function boxOf(
  { x, y }: Json,
  width: unknown,
  height: unknown,
  size: Size,
  place: string,
  report: SourceReport,
): PixelBox | null {
  const [x1, y1, w, h] = [x, y, width, height].map(value => (typeof value === 'number' ? value : Number.NaN));
  const corners = {
    x1: x1 ?? NaN,
    y1: y1 ?? NaN,
    x2: (x1 ?? NaN) + (w ?? NaN),
    y2: (y1 ?? NaN) + (h ?? NaN),
  };
  const sound = soundBox({ space: 'pixels', ...corners }, size);
  if (typeof sound === 'string') {
    note(report, 'skipped', sound, place);
    return null;
  }
  if (sound.cut) note(report, 'mended', 'box cut at the edge of the image', place);
  return sound.box;
}

/** Attributes tell objects of one label apart where every one has some, and none of them shares this one's. */
function withPhrases(objects: readonly ObjectAnnotation[]): ObjectAnnotation[] {
  const byLabel = new Map<string, ObjectAnnotation[]>();
  for (const object of objects) {
    const list = byLabel.get(object.label);
    if (list) list.push(object);
    else byLabel.set(object.label, [object]);
  }
  return objects.map(object => {
    const others = (byLabel.get(object.label) ?? []).filter(other => other !== object);
    if (others.length === 0 || others.some(({ attributes }) => attributes.length === 0)) return object;
    const own = object.attributes.find(word => others.every(({ attributes }) => !attributes.includes(word)));
    return own === undefined ? object : { ...object, phrase: `${own} ${object.label}` };
  });
}

/** Words in lower case with single blanks; '' for anything else. */
function wordsOf(text: unknown): string {
  return typeof text === 'string'
    ? text
        .replace(/[\s_]+/g, ' ')
        .trim()
        .toLowerCase()
    : '';
}

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
