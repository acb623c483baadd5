import type { z } from 'zod';
import type { Recipe } from '../train/recipe.ts';
import type { KeyPath } from './problems.ts';
import { recipeSchema } from './schema.ts';
import { bareSchema, schemaAt, walkKeys } from './schema-walk.ts';

/** What is wrong with a value, before it is known where the value was written. */
export interface Complaint {
  readonly key: KeyPath;
  readonly message: string;
  readonly hint?: string;
  /** True where the key itself is at fault and not its value. */
  readonly aboutKey?: boolean;
}

/** What no single value can say about itself, as a function of the whole recipe; it complains at the key to change. */
export type Rule = (recipe: Recipe) => Complaint[];

/** What zod found, with what is needed to tell a missing key from a misspelt one. */
interface SchemaComplaint extends Complaint {
  readonly missing?: boolean;
  /** The key that was probably meant. */
  readonly meant?: string;
}

/** Zod's issues in our words: what was expected, what was found, and the key that was probably meant. */
export function complaintsOf(issues: readonly z.core.$ZodIssue[], tree: unknown): Complaint[] {
  const complaints = issues.flatMap(issue => complaintsOfIssue(issue, [], tree));
  // A misspelt key is also a missing key: one mistake, one complaint.
  const meant = new Set(
    complaints.flatMap(({ key, meant }) => (meant ? [pathText([...key.slice(0, -1), meant])] : [])),
  );
  return complaints.filter(({ key, missing }) => !missing || !meant.has(pathText(key)));
}

function pathText(key: KeyPath): string {
  return key.join('.');
}

function complaintsOfIssue(issue: z.core.$ZodIssue, above: KeyPath, tree: unknown): SchemaComplaint[] {
  const key = [...above, ...issue.path.map(part => (typeof part === 'symbol' ? String(part) : part))];
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map(name => ({
      key: [...key, name],
      message: 'no such key',
      aboutKey: true,
      ...hintFor(key, name),
    }));
  }
  if (issue.code === 'invalid_union') {
    // The branch that got furthest into the value is the one that was meant.
    const inner = issue.errors.find(
      branch => branch.every(({ path }) => path.length > 0) && branch.length > 0,
    );
    if (inner) return inner.flatMap(nested => complaintsOfIssue(nested, key, tree));
  }
  const found = valueAt(tree, key);
  if (found === undefined) return [{ key, message: `missing; expected ${issue.message}`, missing: true }];
  const near =
    issue.code === 'invalid_value' && typeof found === 'string'
      ? nearest(found, issue.values.map(String))
      : undefined;
  return [
    {
      key,
      message: `expected ${issue.message}, found ${describe(found)}`,
      ...(near === undefined ? {} : { hint: `did you mean ${near}?` }),
    },
  ];
}

/** A value in a few characters. */
export function describe(value: unknown): string {
  if (Array.isArray(value)) return value.length === 0 ? 'an empty list' : `a list of ${value.length}`;
  if (typeof value === 'object' && value !== null) return 'a map';
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 60 ? `${text.slice(0, 57)}…` : text;
}

/** The value at a key path of plain data, or undefined. */
export function valueAt(tree: unknown, key: KeyPath): unknown {
  let value = tree;
  for (const part of key) {
    if (typeof value !== 'object' || value === null) return undefined;
    value = Reflect.get(value, part);
  }
  return value;
}

/** A hint for a key that does not exist: its nearest neighbour, or the place where such a key does exist. */
function hintFor(parent: KeyPath, name: string): { hint?: string; meant?: string } {
  const here = schemaAt(recipeSchema, parent);
  const siblings = here ? childKeys(here) : [];
  const near = nearest(name, siblings);
  if (near !== undefined) return { hint: `did you mean ${near}?`, meant: near };
  const elsewhere = [...walkKeys(recipeSchema)].find(entry => entry.key.at(-1) === name);
  if (elsewhere)
    return { hint: `${name} belongs under ${elsewhere.key.slice(0, -1).join('.') || 'the top'}` };
  return siblings.length > 0 ? { hint: `the keys here are ${siblings.join(', ')}` } : {};
}

function childKeys(schema: z.core.$ZodType): string[] {
  return [...walkKeys(bareSchema(schema))].filter(entry => entry.key.length === 1).map(e => String(e.key[0]));
}

/** The candidate at the smallest edit distance, where that is at most a third of the word. */
export function nearest(word: string, candidates: readonly string[]): string | undefined {
  const limit = Math.max(1, Math.floor(word.length / 3));
  const scored = candidates
    .map(candidate => ({ candidate, distance: editDistance(word.toLowerCase(), candidate.toLowerCase()) }))
    .filter(({ distance }) => distance <= limit)
    .sort((a, b) => a.distance - b.distance);
  return scored[0]?.candidate;
}

/** Smallest number of insertions, deletions, replacements and swaps of neighbours that turns `a` into `b`. */
export function editDistance(a: string, b: string): number {
  let before: number[] = [];
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const replace = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      let best = Math.min(replace, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        best = Math.min(best, (before[j - 2] ?? 0) + 1);
      }
      next.push(best);
    }
    before = row;
    row = next;
  }
  return row[b.length] ?? 0;
}
