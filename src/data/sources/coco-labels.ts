/** Category names of COCO and LVIS as people would say them. */

/** Names by category id. */
export type Labels = ReadonlyMap<unknown, Category>;

export interface Category {
  readonly label: string;
  /** False for stuff: sky, grass, what has no instances. */
  readonly thing: boolean;
}

/** Endings by which COCO's stuff categories say what else they take in. */
const STUFF_ENDING = /(?:-(?:other|merged|stuff))+$/;
/** A meaning in parentheses: LVIS's "bow_(weapon)" beside "bow_(decorative_ribbons)". */
const MEANING = /^(.+?)\s*\(([^()]*)\)$/;

/**
 * The categories of a file. Underscores become spaces; stuff loses its technical ending ("wall-other-merged" is "wall",
 * "floor-wood" is "wood floor"); a meaning in parentheses is dropped where no other category has the same word. Entries
 * without an id or a name are left out: what they label is then of an unknown category.
 */
export function labelsOf(categories: readonly unknown[]): Labels {
  const named = categories.flatMap(entry => {
    if (typeof entry !== 'object' || entry === null || !('id' in entry) || !('name' in entry)) return [];
    const { id, name } = entry;
    if (typeof name !== 'string' || name.trim() === '') return [];
    const thing = !('isthing' in entry) || (entry.isthing !== 0 && entry.isthing !== false);
    return [{ id, thing, name: readable(name, thing) }];
  });
  const words = new Map<string, Set<string>>();
  for (const { name } of named) {
    const word = wordOf(name);
    words.set(word, (words.get(word) ?? new Set()).add(name));
  }
  return new Map(
    named.map(({ id, name, thing }) => {
      const word = wordOf(name);
      return [id, { label: words.get(word)?.size === 1 ? word : name, thing }];
    }),
  );
}

function readable(name: string, thing: boolean): string {
  const spaced = name.replace(/[_\s]+/g, ' ').trim();
  if (thing) return spaced;
  const [first = '', ...rest] = spaced.replace(STUFF_ENDING, '').split('-');
  // "wall-brick" names the place first; "window-blind" is a blind, and reads well as it is.
  return (first === 'wall' || first === 'floor' ? [...rest, first] : [first, ...rest]).join(' ');
}

function wordOf(name: string): string {
  return MEANING.exec(name)?.[1] ?? name;
}
