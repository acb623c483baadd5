import type { PixelBox } from './box.ts';
import type { Piece } from './conversation.ts';
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
  /** Sentences people wrote to tell this object from all others of its image (RefCOCO); none where absent. */
  readonly expressions?: readonly string[];
}

/** A described part of an image that need not be one object: "man holding a cup" (Visual Genome's regions). */
export interface DescribedRegion {
  readonly phrase: string;
  readonly box: PixelBox;
}

/**
 * Characters `start` to `end` (UTF-16, end exclusive) of `captions[caption]` name these objects: Flickr30k's entities.
 */
export interface CaptionSpan {
  readonly caption: number;
  readonly start: number;
  readonly end: number;
  readonly objects: readonly number[];
}

/** What a stored conversation came as; tasks choose by it. */
export const CONVERSATION_KINDS = ['chat', 'vqa', 'ocr', 'presence'] as const;
export type ConversationKind = (typeof CONVERSATION_KINDS)[number];

/** A question with its answer, as the annotation file has them, boxes and regions in pixels. */
export interface StoredRound {
  readonly question: readonly Piece[];
  readonly answer: readonly Piece[];
  /** All answers that people gave or that count as right (VQA's ten); `answer` alone where absent. */
  readonly accepted?: readonly string[];
}

/** A conversation somebody annotated (LLaVA, Ferret, VQA), rather than one a task makes of objects. */
export interface StoredConversation {
  readonly kind: ConversationKind;
  readonly rounds: readonly StoredRound[];
}

/** `objects[subject]` stands in relation `predicate` to `objects[object]`: 0 "left of" 1. */
export interface Relation {
  readonly subject: number;
  readonly predicate: string;
  readonly object: number;
}

/**
 * One image with all that is known of it: the type that every source yields and every shard holds. A shard's `media`
 * column says "image" for every row; video and audio will be further types beside this one, with further columns.
 */
export interface ImageRecord {
  readonly id: string;
  /** The encoded file (JPEG or PNG), as it came. */
  readonly image: Uint8Array;
  /** Where the file lies, for a record whose shard links to it instead of holding it; absolute. */
  readonly path?: string;
  readonly width: number;
  readonly height: number;
  readonly captions: readonly string[];
  readonly objects: readonly ObjectAnnotation[];
  readonly relations: readonly Relation[];
  /** "train", "val", "testA": as the source names it; absent where it does not. */
  readonly split?: string;
  readonly regions?: readonly DescribedRegion[];
  readonly spans?: readonly CaptionSpan[];
  readonly conversations?: readonly StoredConversation[];
  /** Labels that annotators looked for and did not find (LVIS's negative categories). */
  readonly absent?: readonly string[];
}

/** Whether a record is a conversation without an image; it then has neither size nor bytes. */
export function isTextAlone({ width, height }: Pick<ImageRecord, 'width' | 'height'>): boolean {
  return width === 0 && height === 0;
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
 * Sentences that each mean object `index` and no other object of its image: the expressions people wrote for it, which are
 * unique by definition, or else its phrase where that names it alone. Empty for an object that no words tell apart.
 */
export function expressionsOf(
  objects: readonly Pick<ObjectAnnotation, 'label' | 'phrase' | 'crowd' | 'expressions'>[],
  index: number,
): readonly string[] {
  const { expressions = [], phrase } = objects[index] ?? {};
  if (expressions.length > 0) return expressions;
  return phrase !== undefined && isNamedAlone(objects, index) ? [phrase] : [];
}

/** The digits an object shows: an attribute that is a number, or a number in its phrase. */
export function textOf({
  attributes,
  phrase,
}: Pick<ObjectAnnotation, 'attributes' | 'phrase'>): string | null {
  const attribute = attributes.find(word => /^[0-9]+$/.test(word));
  return attribute ?? phrase.match(/\b[0-9]+\b/)?.[0] ?? null;
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
