/** What is said of a scene: phrases that name one object each, relations, captions. */

import type { Random } from '../../random.ts';
import type { PixelBox, Size } from '../box.ts';
import { isNamedAlone, type Relation } from '../record.ts';
import {
  filledPixels,
  type Layout,
  type Overlap,
  type PlacedPart,
  type ScenePart,
  sharedPixels,
} from './scene-layout.ts';
import type { Background } from './scene-paint.ts';
import { holds } from './scene-shapes.ts';
import { NUMBER_WORDS, POSITIONS, type Position, type Predicate, pluralOf } from './scene-vocabulary.ts';

/** An object with where it can be seen. */
export interface SeenPart extends PlacedPart {
  /** Tight box of the visible pixels. */
  readonly box: PixelBox;
}

/** "leftmost" is said only of an object whose centre leads by this share of the image's side. */
const LEAD = 0.08;
/** Objects overlap in words when they are seen to share this part of the smaller one's pixels. */
const OVERLAP = 0.08;
/** A direction is left unsaid where the other outweighs it by this factor. */
const CLEAR = 1.5;

type Trait = 'colour' | 'size' | 'texture';
/** Sets of traits, fewest words first. */
const TRAIT_SETS: readonly (readonly Trait[])[] = [
  [],
  ['colour'],
  ['size'],
  ['texture'],
  ['size', 'colour'],
  ['colour', 'texture'],
  ['size', 'texture'],
  ['size', 'colour', 'texture'],
];

/** All true words of a part: size where it has one, colour, texture, and what a digit says. */
export function attributesOf(part: ScenePart): string[] {
  const words: string[] = [part.colour, part.texture];
  if (part.size) words.unshift(part.size);
  return part.text === null ? words : [...words, part.text];
}

/**
 * For each object the shortest phrase that fits no other of the scene: by its traits ("small red circle"), or else by
 * its place among its equals ("leftmost red circle"); the bare label where neither tells it apart.
 */
export function phrasesOf(seen: readonly SeenPart[], image: Size): string[] {
  return seen.map(object => phraseOf(object, seen, image) ?? object.part.label);
}

function phraseOf(object: SeenPart, seen: readonly SeenPart[], image: Size): string | null {
  const { part } = object;
  const usable = TRAIT_SETS.filter(traits => traits.every(trait => part[trait] !== null));
  const equals = usable.map(traits => ({
    traits,
    others: seen.filter(other => other !== object && fits(other.part, part, traits)),
  }));
  const unique = equals.find(({ others }) => others.length === 0);
  if (unique) return nounPhrase(part, unique.traits);
  for (const { traits, others } of equals) {
    const position = POSITIONS.find(word => others.every(other => leads(word, object, other, image)));
    if (position) return `${position} ${nounPhrase(part, traits)}`;
  }
  return null;
}

function fits(candidate: ScenePart, part: ScenePart, traits: readonly Trait[]): boolean {
  return (
    candidate.label === part.label &&
    candidate.text === part.text &&
    traits.every(trait => candidate[trait] === part[trait])
  );
}

function leads(position: Position, a: SeenPart, b: SeenPart, image: Size): boolean {
  const [dx, dy] = between(a.box, b.box);
  switch (position) {
    case 'leftmost':
      return dx > LEAD * image.width;
    case 'rightmost':
      return -dx > LEAD * image.width;
    case 'topmost':
      return dy > LEAD * image.height;
    case 'bottommost':
      return -dy > LEAD * image.height;
  }
}

function nounPhrase(part: ScenePart, traits: readonly Trait[]): string {
  const words: string[] = traits.flatMap(trait => part[trait] ?? []);
  words.push(part.label);
  if (part.text !== null) words.push(part.text);
  return words.join(' ');
}

/**
 * All relations between two objects, each said from both sides. What lies diagonally is both beside and above (or
 * below): only where two objects stand in one relation is that relation beyond doubt.
 */
export function relationsOf(seen: readonly SeenPart[], layout: Layout, image: Size): Relation[] {
  return seen.flatMap((a, subject) =>
    seen.flatMap((b, object) => {
      if (subject === object) return [];
      const shared = sharedPixels(layout, image, subject, object);
      return predicatesOf(a, b, shared).map(predicate => ({ subject, predicate, object }));
    }),
  );
}

function predicatesOf(a: SeenPart, b: SeenPart, shared: Overlap): Predicate[] {
  if (isInside(a, b)) return ['inside'];
  if (isInside(b, a)) return [];
  if (shared.all > 0) {
    const smaller = Math.min(filledPixels(a.coverage), filledPixels(b.coverage));
    return shared.seen >= OVERLAP * smaller ? ['overlapping'] : [];
  }
  const [dx, dy] = between(a.box, b.box);
  const predicates: Predicate[] = [];
  if (Math.abs(dx) * CLEAR > Math.abs(dy)) predicates.push(dx > 0 ? 'left of' : 'right of');
  if (Math.abs(dy) * CLEAR > Math.abs(dx)) predicates.push(dy > 0 ? 'above' : 'below');
  return predicates;
}

/** Whether all of `a` lies within the outline of `b`, a shape that can hold something. */
function isInside(a: SeenPart, b: SeenPart): boolean {
  if (!holds(b.part.label)) return false;
  const radius = b.part.side / 2;
  const corners = [a.extent.x1, a.extent.x2].flatMap(x =>
    [a.extent.y1, a.extent.y2].map(y => [x, y] as const),
  );
  return corners.every(([x, y]) => {
    const [dx, dy] = [Math.abs(x - b.part.x), Math.abs(y - b.part.y)];
    return b.part.label === 'square' ? Math.max(dx, dy) <= 0.9 * radius : Math.hypot(dx, dy) <= radius;
  });
}

/** From the centre of `a` to that of `b`, pixels. */
function between(a: PixelBox, b: PixelBox): [dx: number, dy: number] {
  return [(b.x1 + b.x2 - a.x1 - a.x2) / 2, (b.y1 + b.y2 - a.y1 - a.y2) / 2];
}

/**
 * Three captions: everything with its traits, how many of each, and (where something can be said without doubt) up to
 * two relations between objects with a phrase of their own.
 */
export function captionsOf(
  random: Random,
  seen: readonly SeenPart[],
  phrases: readonly string[],
  relations: readonly Relation[],
  background: Background,
): string[] {
  const captions = [`the image shows ${describeAll(seen)} on ${describe(background)}.`, countAll(seen)];
  const objects = seen.map(({ part }, i) => ({ label: part.label, phrase: phrases[i] ?? part.label }));
  const named = (index: number) => isNamedAlone(objects, index);
  const said = new Set<string>();
  const sentences = random
    .shuffle(relations)
    .filter(({ subject, object }) => {
      // From the other side, or diagonally, it would be the same fact again.
      const pair = `${Math.min(subject, object)} ${Math.max(subject, object)}`;
      if (said.has(pair) || !named(subject) || !named(object)) return false;
      said.add(pair);
      return true;
    })
    .slice(0, 2)
    .map(r => `the ${phrases[r.subject]} is ${r.predicate} the ${phrases[r.object]}.`);
  if (sentences.length > 0) captions.push(sentences.join(' '));
  return captions;
}

/** In reading order: top to bottom, then left to right. */
function describeAll(seen: readonly SeenPart[]): string {
  const inOrder = [...seen].sort((a, b) => a.box.y1 - b.box.y1 || a.box.x1 - b.box.x1);
  return enumerate(
    inOrder.map(({ part }) => {
      const traits: Trait[] = ['size', 'colour'];
      if (part.texture !== 'plain') traits.push('texture');
      return withArticle(nounPhrase(part, traits));
    }),
  );
}

function countAll(seen: readonly SeenPart[]): string {
  const labels = seen.map(({ part }) => part.label);
  const counts = [...new Set(labels)].map(label => {
    const count = labels.filter(other => other === label).length;
    return { count, words: `${NUMBER_WORDS[count - 1]} ${count === 1 ? label : pluralOf(label)}` };
  });
  const verb = counts[0]?.count === 1 ? 'is' : 'are';
  return `there ${verb} ${enumerate(counts.map(({ words }) => words))}.`;
}

function describe({ colour, kind }: Background): string {
  const words = { plain: colour, gradient: `${colour} gradient`, noisy: `noisy ${colour}` };
  return `a ${words[kind]} background`;
}

function withArticle(noun: string): string {
  return `${/^[aeiou]/.test(noun) ? 'an' : 'a'} ${noun}`;
}

function enumerate(items: readonly string[]): string {
  const last = items.at(-1) ?? '';
  return items.length < 2 ? last : `${items.slice(0, -1).join(', ')} and ${last}`;
}
