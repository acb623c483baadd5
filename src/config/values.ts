import { z } from 'zod';

/**
 * The leaves of the schema. The message of each is what was expected, as a noun phrase: `problems.ts` puts
 * "expected" before it and what was found behind it.
 */

/** A map with exactly these keys. */
export function section<Shape extends z.core.$ZodLooseShape>(shape: Shape) {
  return z.strictObject(shape, 'a map');
}

/** Text that is not empty. */
export function text() {
  return z.string('text').min(1, 'text that is not empty');
}

export function flag() {
  return z.boolean('true or false');
}

/** One of a few words. */
export function oneOf<const Words extends readonly string[]>(words: Words) {
  return z.enum(words, `one of ${words.join(', ')}`);
}

/** A whole number of at least `min` (and at most `max`). */
export function whole(min: number, max = Number.MAX_SAFE_INTEGER) {
  const expected =
    max === Number.MAX_SAFE_INTEGER
      ? `a whole number, ${min} or more`
      : `a whole number from ${min} to ${max}`;
  return z.number(expected).int(expected).min(min, expected).max(max, expected);
}

/** A number of at least `min` (and at most `max`). */
export function numberIn(min: number, max = Number.POSITIVE_INFINITY) {
  const expected =
    max === Number.POSITIVE_INFINITY ? `a number, ${min} or more` : `a number from ${min} to ${max}`;
  const atLeast = z.number(expected).min(min, expected);
  // Infinity has no JSON, and the schema is printed as JSON.
  return max === Number.POSITIVE_INFINITY ? atLeast : atLeast.max(max, expected);
}

/** A number above 0. */
export function positive() {
  return z.number('a number above 0').gt(0, 'a number above 0');
}
