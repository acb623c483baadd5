import { GroundError } from '../errors.ts';

/** Keys and list positions from the top of a recipe: ['data', 0, 'dataset']. */
export type KeyPath = readonly (string | number)[];

/** Where a value was written: in a file, or on the command line. */
export type Place =
  | {
      readonly kind: 'file';
      readonly file: string;
      /** From 1. */
      readonly line: number;
      readonly column: number;
      /** The whole line. */
      readonly excerpt: string;
      /** How many characters of it are meant. */
      readonly width: number;
    }
  | { readonly kind: 'flag'; readonly flag: string };

/** One thing that is wrong with a recipe. */
export interface Problem {
  readonly place: Place;
  readonly key: KeyPath;
  readonly message: string;
  readonly hint?: string;
}

/** Longest excerpt shown; a longer line is cut around its caret. */
const EXCERPT_WIDTH = 90;

/** "configs/x/stage2.yaml:9:5", or the flag itself. */
export function formatPlace(place: Place): string {
  return place.kind === 'flag' ? place.flag : `${place.file}:${place.line}:${place.column}`;
}

/** One problem: where and what, the line with a caret below it, and the way out. */
export function formatProblem(problem: Problem): string {
  const key = problem.key.length > 0 ? `${problem.key.join('.')}: ` : '';
  const lines = [`${formatPlace(problem.place)}  ${key}${problem.message}`];
  if (problem.place.kind === 'file' && problem.place.excerpt.trim() !== '')
    lines.push(...excerpt(problem.place));
  if (problem.hint !== undefined) lines.push(`  = ${problem.hint}`);
  return lines.join('\n');
}

function excerpt(place: Place & { kind: 'file' }): string[] {
  const from = Math.max(0, place.column - 1 + Math.min(place.width, 20) - EXCERPT_WIDTH);
  const shown = place.excerpt.slice(from, from + EXCERPT_WIDTH).trimEnd();
  const caret = place.column - 1 - from;
  const gutter = `  ${place.line} | `;
  const marks = '^'.repeat(Math.max(1, Math.min(place.width, shown.length - caret)));
  return [`${gutter}${shown}`, `${' '.repeat(gutter.length - 2)}| ${' '.repeat(caret)}${marks}`];
}

/** All problems of a recipe as one error, in the order in which the files are read. */
export function problemsError(problems: readonly Problem[], recipe: string): GroundError {
  const count = problems.length === 1 ? 'a problem' : `${problems.length} problems`;
  const body = [...problems].sort(byPlace).map(formatProblem).join('\n');
  return new GroundError('config', `${count} in ${recipe}\n${body}`);
}

function byPlace({ place: a }: Problem, { place: b }: Problem): number {
  if (a.kind === 'flag' || b.kind === 'flag') return Number(a.kind === 'flag') - Number(b.kind === 'flag');
  return a.file.localeCompare(b.file) || a.line - b.line || a.column - b.column;
}
