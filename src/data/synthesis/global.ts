/** The detailed caption of a whole image: what people said of it, its objects from left to right, their relations. */
import type { Random } from '../../random.ts';
import { boxPiece, type Piece, textPiece } from '../conversation.ts';
import type { Annotations } from '../record.ts';
import { pluralOf } from '../tasks/objects.ts';
import { type ChosenObject, describe } from './objects.ts';
import type { Related } from './related.ts';

/** Sentences about relations, at most. */
const MOST_RELATIONS = 3;

/** "{caption} From left to right there are a dog [..] and a cat [..]. The dog is left of the cat." */
export function globalText(
  record: Annotations,
  chosen: readonly ChosenObject[],
  relations: readonly Related[],
  random: Random,
): Piece[] {
  const caption = record.captions.length === 0 ? '' : sentence(random.pick(record.captions));
  const row = [...chosen].sort((a, b) => a.object.box.x1 - b.object.box.x1 || a.index - b.index);
  const opening = row.length === 1 ? 'There is ' : 'From left to right there are ';
  const listed = row.flatMap(({ object }, i): Piece[] => {
    const before = i === 0 ? '' : i === row.length - 1 ? ' and ' : ', ';
    return [textPiece(`${before}${withArticle(describe(object))} `), boxPiece(object.box)];
  });
  const said = new Set<string>();
  const sentences = random
    .shuffle(relations)
    .filter(({ subject, object, sole }) => {
      // From the other side it would be the same fact again.
      const pair = `${Math.min(subject.index, object.index)} ${Math.max(subject.index, object.index)}`;
      if (!sole || subject.phrase === null || object.phrase === null || said.has(pair)) return false;
      said.add(pair);
      return true;
    })
    .slice(0, MOST_RELATIONS)
    .map(({ subject, predicate, object }) => ` The ${bare(subject)} is ${predicate} the ${bare(object)}.`);
  return [textPiece(`${caption}${opening}`), ...listed, textPiece(`.${sentences.join('')}`)];
}

function sentence(caption: string): string {
  const text = caption.trim();
  return text === '' ? '' : `${text}${/[.!?]$/.test(text) ? '' : '.'} `;
}

function bare({ phrase }: ChosenObject): string {
  return (phrase ?? '').replace(/^(?:an?|the)\s+/i, '');
}

/** "a dog", "an apple"; what is plural already ("skis") has no article. */
function withArticle(noun: string): string {
  const last = noun.split(' ').at(-1) ?? '';
  if (last.endsWith('s') && pluralOf(last) === last) return noun;
  return `${/^[aeiou]/i.test(noun) ? 'an' : 'a'} ${noun}`;
}
