import { GroundError } from '../errors.ts';
import type { Patterns } from './recipe.ts';

/** The patterns as a list; empty where there are none. */
export function listOf(patterns: Patterns | undefined): readonly string[] {
  if (patterns === undefined) return [];
  return typeof patterns === 'string' ? [patterns] : patterns;
}

/** Whether `name` is `prefix` or lies below it. */
export function lies(name: string, prefix: string): boolean {
  return name === prefix || name.startsWith(`${prefix}.`);
}

/**
 * A test whether a name matches one of the patterns, anywhere in it. Throws GroundError('config') for a pattern that is no
 * regular expression, and for one that matches none of the `names`, with the nearest of them.
 *
 * @param key where the patterns are written, for the message
 */
export function matcher(
  key: string,
  patterns: readonly string[],
  names: readonly string[],
): (name: string) => boolean {
  const expressions = patterns.map(pattern => {
    const expression = compile(key, pattern);
    if (!names.some(name => expression.test(name))) throw matchesNothing(key, pattern, names);
    return expression;
  });
  return name => expressions.some(expression => expression.test(name));
}

/** A regular expression. Throws GroundError('config') where the text is none. */
export function compile(key: string, pattern: string): RegExp {
  try {
    return new RegExp(pattern);
  } catch {
    throw new GroundError('config', `${key}: "${pattern}" is no regular expression`, {
      hint: 'write \\. for a dot, and (10|11) for one of two',
    });
  }
}

/** The error of a pattern without a match; its hint lists the nearest names. */
export function matchesNothing(key: string, pattern: string, names: readonly string[]): GroundError {
  const near = nearNames(pattern, names);
  return new GroundError('config', `${key}: "${pattern}" matches none of ${names.length} names`, {
    hint: near.length > 0 ? `near it: ${near.join(', ')}` : 'there are no names to match',
  });
}

/** Names shown of those that come nearest. */
const SHOWN = 5;

/** The names that have most pairs of letters in common with a pattern; those of like blocks count once. */
function nearNames(pattern: string, names: readonly string[]): string[] {
  const kinds = new Map<string, string>();
  for (const name of names) {
    const kind = name.replace(/\.\d+\./g, '.N.');
    if (!kinds.has(kind)) kinds.set(kind, name);
  }
  const wanted = pairs(pattern);
  return [...kinds.values()]
    .map(name => {
      const own = pairs(name);
      const shared = [...wanted].filter(pair => own.has(pair)).length;
      return { name, likeness: (2 * shared) / Math.max(1, wanted.size + own.size) };
    })
    .sort((a, b) => b.likeness - a.likeness)
    .slice(0, SHOWN)
    .map(({ name }) => name);
}

function pairs(text: string): Set<string> {
  const letters = text.toLowerCase();
  return new Set(Array.from({ length: Math.max(0, letters.length - 1) }, (_, i) => letters.slice(i, i + 2)));
}
