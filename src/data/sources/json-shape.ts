/** Values of JSON taken for what they must be, with the path to what is wrong where they are not. */
import type { JsonObject } from './chat-samples.ts';
import { isObject } from './chat-samples.ts';

/** A value that is not what the format asks for; `at` is the path to it, such as "objects[2].box". */
export class ShapeError extends Error {
  override readonly name = 'ShapeError';
  readonly at: string;

  constructor(at: string, what: string) {
    super(what);
    this.at = at;
  }
}

/** A path with one more key or index. */
export function under(at: string, key: string | number): string {
  if (typeof key === 'number') return `${at}[${key}]`;
  return at === '' ? key : `${at}.${key}`;
}

/** An object with no other than these keys. */
export function shaped(value: unknown, at: string, keys: readonly string[]): JsonObject {
  if (!isObject(value)) throw new ShapeError(at, `expected an object, found ${found(value)}`);
  const stranger = Object.keys(value).find(key => !keys.includes(key));
  if (stranger === undefined) return value;
  throw new ShapeError(under(at, stranger), `unknown key; there are ${keys.join(', ')}`);
}

/** The items of a list, each taken by `take` with its path; no list at all is an empty one. */
export function items<T>(value: unknown, at: string, take: (item: unknown, at: string) => T): T[] {
  if (value === undefined) return [];
  if (!Array.isArray(value)) throw new ShapeError(at, `expected a list, found ${found(value)}`);
  return value.map((item, i) => take(item, under(at, i)));
}

/** A text that says something. */
export function text(value: unknown, at: string): string {
  if (typeof value !== 'string') throw new ShapeError(at, `expected a text, found ${found(value)}`);
  if (value.trim() === '') throw new ShapeError(at, 'expected a text, found an empty one');
  return value;
}

/** A whole number of at least 0 and, where `below` is given, less than that. */
export function whole(value: unknown, at: string, below = Number.POSITIVE_INFINITY): number {
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 && value < below) return value;
  const range = below === Number.POSITIVE_INFINITY ? 'from 0 up' : `from 0 to ${below - 1}`;
  throw new ShapeError(at, `expected a whole number ${range}, found ${found(value)}`);
}

/** One of several words. */
export function oneOf<T extends string>(value: unknown, at: string, words: readonly T[]): T {
  const word = words.find(known => known === value);
  if (word === undefined) throw new ShapeError(at, `expected ${words.join(', ')}, found ${found(value)}`);
  return word;
}

/** A list of finite numbers, `count` of them where given. */
export function numbers(value: unknown, at: string, count?: number): readonly number[] {
  const isList =
    Array.isArray(value) && value.every(item => typeof item === 'number' && Number.isFinite(item));
  if (isList && (count === undefined || value.length === count)) return value;
  throw new ShapeError(
    at,
    `expected ${count === undefined ? 'a list of' : count} numbers, found ${found(value)}`,
  );
}

/** A value in an error message, shortened. */
export function found(value: unknown): string {
  if (value === undefined) return 'nothing';
  const said = JSON.stringify(value);
  return said.length > 60 ? `${said.slice(0, 60)}…` : said;
}
