import { readFileSync } from 'node:fs';
import { relative, resolve } from 'node:path';
import { type Document, isMap, isNode, isScalar, LineCounter, parseDocument } from 'yaml';
import { GroundError } from '../errors.ts';
import type { KeyPath, Place, Problem } from './problems.ts';

/** A YAML file that still knows where in its text each value stands. */
export interface ConfigFile {
  /** As people are shown it: relative to the current folder where it lies below it. */
  readonly label: string;
  readonly path: string;
  readonly doc: Document.Parsed;
  readonly lines: LineCounter;
  readonly text: string;
  /** What is wrong with the text itself; `doc` is worth reading only where this is empty. */
  readonly problems: readonly Problem[];
}

/** Reads and parses a file. Throws `config` where it cannot be read; syntax errors are returned as problems. */
export function readConfigFile(path: string, cwd: string): ConfigFile {
  const label = labelOf(path, cwd);
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (cause) {
    throw new GroundError('config', `cannot read ${label}`, { cause });
  }
  const lines = new LineCounter();
  const doc = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  const file = { label, path, doc, lines, text, problems: [] };
  const problems = [...doc.errors, ...doc.warnings].map(error => ({
    place: placeAt(file, error.pos[0], error.pos[1]),
    key: [],
    message: `YAML: ${error.message}`,
  }));
  if (problems.length === 0 && !isMap(doc.contents)) {
    problems.push({ place: placeAt(file, 0, 1), key: [], message: 'expected keys and values, found none' });
  }
  return { ...file, problems };
}

/** The file's contents as plain values. */
export function valuesOf(file: ConfigFile): Record<string, unknown> {
  const values: unknown = file.doc.toJS();
  return isRecord(values) ? values : {};
}

/** Where the value at `key` stands, or its key word with `part: 'key'`; undefined where the file has no such key. */
export function placeOf(file: ConfigFile, key: KeyPath, part: 'key' | 'value'): Place | undefined {
  if (key.length === 0) return { kind: 'file', file: file.label, line: 1, column: 1, excerpt: '', width: 1 };
  const parent = key.length === 1 ? file.doc.contents : file.doc.getIn(key.slice(0, -1), true);
  const last = key.at(-1);
  if (part === 'key' && isMap(parent)) {
    const pair = parent.items.find(item => isScalar(item.key) && String(item.key.value) === String(last));
    if (!pair || !isScalar(pair.key) || !pair.key.range) return undefined;
    return placeAt(file, pair.key.range[0], pair.key.range[1]);
  }
  const node = file.doc.getIn(key, true);
  if (!isNode(node) || !node.range) return undefined;
  return placeAt(file, node.range[0], node.range[1]);
}

/** A path as people are shown it. */
export function labelOf(path: string, cwd: string): string {
  const short = relative(cwd, resolve(cwd, path));
  return short === '' ? '.' : short.startsWith('..') ? path : short;
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function placeAt(file: Omit<ConfigFile, 'problems'>, start: number, end: number): Place {
  const { line, col } = file.lines.linePos(start);
  const excerpt = file.text.split('\n')[line - 1] ?? '';
  const width = Math.max(1, Math.min(end - start, excerpt.length - col + 1));
  return { kind: 'file', file: file.label, line, column: col, excerpt, width };
}
