/**
 * The words of rendered scenes. Every text that `renderScene` writes (phrases, attributes, predicates, captions) is
 * made of these words, commas and full stops, so that a tokenizer of a hundred entries can read it all.
 */

/** Shapes that carry no text; `digit` is the label of the objects that do. */
export const SHAPES = ['circle', 'square', 'triangle', 'star', 'cross', 'ring', 'diamond', 'heart'] as const;
export const DIGIT_LABEL = 'digit';
export const DIGITS = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9'] as const;
/** Colours of objects; backgrounds have their own, so that no object vanishes in one. */
export const COLOURS = ['red', 'green', 'blue', 'yellow', 'orange', 'purple', 'cyan', 'pink'] as const;
export const BACKGROUND_COLOURS = ['black', 'gray', 'white'] as const;
export const TEXTURES = ['plain', 'striped', 'dotted', 'checkered'] as const;
/** Words for the extremes only: an object in between has no size word. */
export const SIZES = ['small', 'large'] as const;
export const POSITIONS = ['leftmost', 'rightmost', 'topmost', 'bottommost'] as const;
/** Predicates of relations, each fit for "the A is … the B". */
export const PREDICATES = ['left of', 'right of', 'above', 'below', 'inside', 'overlapping'] as const;
export const NUMBER_WORDS = [
  'one',
  'two',
  'three',
  'four',
  'five',
  'six',
  'seven',
  'eight',
  'nine',
  'ten',
  'eleven',
  'twelve',
] as const;

export type Shape = (typeof SHAPES)[number];
export type Label = Shape | typeof DIGIT_LABEL;
export type Digit = (typeof DIGITS)[number];
export type Colour = (typeof COLOURS)[number];
export type BackgroundColour = (typeof BACKGROUND_COLOURS)[number];
export type Texture = (typeof TEXTURES)[number];
export type SizeWord = (typeof SIZES)[number];
export type Position = (typeof POSITIONS)[number];
export type Predicate = (typeof PREDICATES)[number];

/** "circle" to "circles", "cross" to "crosses". */
export function pluralOf(label: Label): string {
  return label === 'cross' ? 'crosses' : `${label}s`;
}

const GLUE = [
  ...[
    'a',
    'an',
    'the',
    'and',
    'is',
    'are',
    'of',
    'on',
    'with',
    'in',
    'there',
    'scene',
    'shows',
    'image',
    'objects',
  ],
  ...['background', 'gradient', 'noisy', 'object'],
] as const;

/** Every word of every scene, lower case, sorted, each once; punctuation is `,` and `.` alone. */
export const SCENE_WORDS: readonly string[] = [
  ...new Set([
    ...([...SHAPES, DIGIT_LABEL] as const).flatMap(label => [label, pluralOf(label)]),
    ...DIGITS,
    ...COLOURS,
    ...BACKGROUND_COLOURS,
    ...TEXTURES,
    ...SIZES,
    ...POSITIONS,
    ...PREDICATES.flatMap(predicate => predicate.split(' ')),
    ...NUMBER_WORDS,
    ...GLUE,
  ]),
].sort();
