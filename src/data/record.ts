import type { PixelBox } from './box.ts';
import type { Rle } from './rle.ts';

/** One object seen in an image. */
export interface ObjectAnnotation {
  /** Category: "circle", "dog". */
  readonly label: string;
  /** A noun phrase that names this object among the others, or the label where nothing better is known. */
  readonly phrase: string;
  readonly attributes: readonly string[];
  readonly box: PixelBox;
  readonly mask?: Rle;
  /**
   * True where box and mask cover a group that nobody counted (COCO's iscrowd). Such an object tells where a label is,
   * but must not be asked for, counted or answered as one.
   */
  readonly crowd?: boolean;
}

/** `objects[subject]` stands in relation `predicate` to `objects[object]`: 0 "left of" 1. */
export interface Relation {
  readonly subject: number;
  readonly predicate: string;
  readonly object: number;
}

/** One image with all that is known of it: the type that every source yields and every shard holds. */
export interface ImageRecord {
  readonly id: string;
  /** The encoded file (JPEG or PNG), as it came. */
  readonly image: Uint8Array;
  readonly width: number;
  readonly height: number;
  readonly captions: readonly string[];
  readonly objects: readonly ObjectAnnotation[];
  readonly relations: readonly Relation[];
}

/** All that is known of an image, without its bytes: what a task reads. */
export type Annotations = Omit<ImageRecord, 'image'>;

/**
 * Whether the phrase of object `index` fits no other object of its image: fit for a question. A phrase that is no more
 * than the label fits everything of that label, crowds included.
 */
export function isNamedAlone(
  objects: readonly Pick<ObjectAnnotation, 'label' | 'phrase' | 'crowd'>[],
  index: number,
): boolean {
  const object = objects[index];
  if (!object || object.crowd) return false;
  return objects.every(
    (other, i) =>
      i === index ||
      (other.phrase !== object.phrase && !(object.phrase === object.label && other.label === object.label)),
  );
}

/**
 * Everything known of an object in words: its attributes and label ("small red striped circle"). A phrase that only
 * tells it from the others in its image ("circle") would say too little about what it looks like.
 */
export function describeObject({
  attributes,
  label,
  phrase,
}: Pick<ObjectAnnotation, 'attributes' | 'label' | 'phrase'>): string {
  return attributes.length === 0 ? phrase : [...attributes, label].join(' ');
}
