/** Two records of one image made one. */
import type { CaptionSpan, DescribedRegion, ImageRecord, ObjectAnnotation, Relation } from './record.ts';
import { boxIou } from './rle.ts';
import { withPhrases } from './sources/coco-phrases.ts';
import { type SourceReport, tally } from './sources/source.ts';

/** Two boxes of one label whose IoU is at least this are one object, annotated twice; the default. */
export const SAME_OBJECT_IOU = 0.95;

/** Phrases that tell an object apart by its place or size among the others of its record (`withPhrases`). */
const BY_PLACE = /^(?:leftmost|rightmost|largest|topmost|bottommost|smallest) /;

/**
 * Everything that `a` and `b` say of one image; id, image and split are those of `a`. Objects of one label with boxes of
 * IoU `sameObject` and above are one, each of them joined once at most; relations, spans and captions keep meaning what they
 * meant. Phrases that tell an object by its place are found anew where there are more objects to tell it from. A label
 * that one record lacks and the other has an object of is not absent. What was joined is tallied in `counts`.
 */
export function mergeRecords(
  a: ImageRecord,
  b: ImageRecord,
  counts: SourceReport['counts'],
  sameObject: number = SAME_OBJECT_IOU,
): ImageRecord {
  const objects = mergeObjects(a.objects, b.objects, sameObject);
  tally(counts, 'objects joined', a.objects.length + b.objects.length - objects.merged.length);
  const captions = [...new Set([...a.captions, ...b.captions])];
  const captionOf = b.captions.map(caption => captions.indexOf(caption));
  const firstOf = a.captions.map(caption => captions.indexOf(caption));
  const relations = distinct<Relation>([
    ...a.relations,
    ...b.relations.map(({ subject, predicate, object }) => ({
      subject: objects.places[subject]!,
      predicate,
      object: objects.places[object]!,
    })),
  ]);
  const spans = distinct<CaptionSpan>([
    ...(a.spans ?? []).map(span => ({ ...span, caption: firstOf[span.caption]! })),
    ...(b.spans ?? []).map(span => ({
      ...span,
      caption: captionOf[span.caption]!,
      objects: span.objects.map(i => objects.places[i]!),
    })),
  ]);
  const regions = distinct<DescribedRegion>([...(a.regions ?? []), ...(b.regions ?? [])]);
  const conversations = distinct([...(a.conversations ?? []), ...(b.conversations ?? [])]);
  const present = new Set(objects.merged.map(({ label }) => label));
  const absent = [...new Set([...(a.absent ?? []), ...(b.absent ?? [])])].filter(
    label => !present.has(label),
  );
  const split = a.split ?? b.split;
  return {
    id: a.id,
    image: a.image,
    ...(a.path === undefined ? {} : { path: a.path }),
    width: a.width,
    height: a.height,
    captions,
    objects: renamed(objects.merged, a),
    relations,
    ...(split === undefined ? {} : { split }),
    ...(regions.length === 0 ? {} : { regions }),
    ...(spans.length === 0 ? {} : { spans }),
    ...(conversations.length === 0 ? {} : { conversations }),
    ...(absent.length === 0 ? {} : { absent }),
  };
}

/** All objects, and at which place among them each of `b` is. */
function mergeObjects(
  a: readonly ObjectAnnotation[],
  b: readonly ObjectAnnotation[],
  sameObject: number,
): { merged: ObjectAnnotation[]; places: number[] } {
  const merged = [...a];
  const taken = new Set<number>();
  const places = b.map(object => {
    const found = twinOf(object, a, taken, sameObject);
    if (found === null) return merged.push(object) - 1;
    taken.add(found);
    merged[found] = joined(a[found]!, object);
    return found;
  });
  return { merged, places };
}

/** The object of `objects` that is the same one, the closest where several are; null where none is. */
function twinOf(
  { label, crowd, box }: ObjectAnnotation,
  objects: readonly ObjectAnnotation[],
  taken: ReadonlySet<number>,
  sameObject: number,
): number | null {
  let [best, closest]: [number | null, number] = [null, 0];
  for (const [i, other] of objects.entries()) {
    if (taken.has(i) || other.label !== label || (other.crowd === true) !== (crowd === true)) continue;
    const iou = boxIou(box, other.box);
    if (iou >= sameObject && iou > closest) [best, closest] = [i, iou];
  }
  return best;
}

/** One object annotated twice: `a`, with what only `b` knows. */
function joined(a: ObjectAnnotation, b: ObjectAnnotation): ObjectAnnotation {
  const expressions = [...new Set([...(a.expressions ?? []), ...(b.expressions ?? [])])];
  const mask = a.mask ?? b.mask;
  // A phrase that somebody wrote says more than the label, or than a place among the objects of one source.
  const plain = (object: ObjectAnnotation) => object.phrase === object.label || isByPlace(object);
  return {
    label: a.label,
    phrase: plain(a) ? b.phrase : a.phrase,
    attributes: [...new Set([...a.attributes, ...b.attributes])],
    box: a.box,
    ...(mask ? { mask } : {}),
    ...(a.crowd ? { crowd: true } : {}),
    ...(expressions.length === 0 ? {} : { expressions }),
  };
}

function isByPlace({ phrase, label }: ObjectAnnotation): boolean {
  return phrase.replace(BY_PLACE, '') === label && phrase !== label;
}

/** The objects with phrases by place found anew among all of them. */
function renamed(objects: readonly ObjectAnnotation[], size: ImageRecord): ObjectAnnotation[] {
  const named = withPhrases(
    objects.map(object => ({ ...object, phrase: object.label })),
    size,
  );
  return objects.map((object, i) =>
    object.phrase === object.label || isByPlace(object) ? { ...object, phrase: named[i]!.phrase } : object,
  );
}

/** Each value once, as JSON tells values apart. */
function distinct<T>(values: readonly T[]): T[] {
  return [...new Map(values.map(value => [JSON.stringify(value), value])).values()];
}
