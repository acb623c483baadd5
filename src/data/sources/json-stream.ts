/**
 * The elements of big lists inside JSON files, one by one: memory holds one element, whatever the file's size. All
 * sources read their annotation files through these functions. UTF-8 with or without a byte order mark. Throws `io` where
 * the file cannot be read and `data`, with file, line and column, where it is no JSON or not of the shape asked for.
 */
import { GroundError } from '../../errors.ts';
import { JsonFile, type Place } from './json-file.ts';

/** A list, or an object whose members are wanted one by one, by the keys that lead to it; [] is the whole file. */
export interface JsonTarget {
  readonly path: readonly string[];
  /** `list` by default. */
  readonly of?: 'list' | 'object' | 'either';
  /** Whether a file without it will do; otherwise it is an error once the file has been read. */
  readonly optional?: boolean;
}

export interface JsonElement extends Place {
  readonly value: unknown;
  /** The value as the file has it. */
  readonly text: string;
  /** Position in the list from 0, or key in the object. */
  readonly key: number | string;
  /** Position in `targets` of the list it is an element of. */
  readonly target: number;
}

export interface StreamOptions {
  /** Bytes read at once. */
  readonly chunkBytes?: number;
  /** Told how many bytes of the file were read, every few megabytes. */
  readonly onBytes?: (bytes: number) => void;
}

/** The elements of one list: `streamArray(file, ['annotations'])`; of a file that is a list with path []. */
export function streamArray(
  file: string,
  path: readonly string[],
  options?: StreamOptions,
): AsyncGenerator<JsonElement, void, undefined> {
  return streamJson(file, [{ path }], options);
}

/** The members of one object, `key` their keys: GQA's questions by id. */
export function streamMembers(
  file: string,
  path: readonly string[],
  options?: StreamOptions,
): AsyncGenerator<JsonElement, void, undefined> {
  return streamJson(file, [{ path, of: 'object' }], options);
}

/** The values of a JSON Lines file; blank lines are none. */
export async function* streamLines(
  file: string,
  options: StreamOptions = {},
): AsyncGenerator<JsonElement, void, undefined> {
  const json = await JsonFile.open(file, options.chunkBytes);
  try {
    yield* linesOf(json, options);
  } finally {
    await json.close();
  }
}

/** The elements of a file that is one list, or of JSON Lines: whichever it is. */
export async function* streamRecords(
  file: string,
  options: StreamOptions = {},
): AsyncGenerator<JsonElement, void, undefined> {
  const json = await JsonFile.open(file, options.chunkBytes);
  try {
    if ((await json.peek()) === BRACKET) yield* elementsOf(json, [{ path: [] }], options);
    else yield* linesOf(json, options);
  } finally {
    await json.close();
  }
}

/**
 * The elements of several lists of one file in one pass, in the order of the file. Everything else is stepped over: of
 * that only brackets and strings are checked. Of two targets on one path the first counts.
 */
export async function* streamJson(
  file: string,
  targets: readonly JsonTarget[],
  options: StreamOptions = {},
): AsyncGenerator<JsonElement, void, undefined> {
  const json = await JsonFile.open(file, options.chunkBytes);
  try {
    yield* elementsOf(json, targets, options);
  } finally {
    await json.close();
  }
}

const [BRACE, BRACE_END, BRACKET, BRACKET_END] = [0x7b, 0x7d, 0x5b, 0x5d];
const [QUOTE, COLON, COMMA] = [0x22, 0x3a, 0x2c];
const REPORT_BYTES = 1 << 24;

/** Calls `onBytes` every few megabytes. */
function reporter(json: JsonFile, options: StreamOptions): () => void {
  let next = REPORT_BYTES;
  return () => {
    if (json.offset < next) return;
    next = json.offset + REPORT_BYTES;
    options.onBytes?.(json.offset);
  };
}

async function* linesOf(
  json: JsonFile,
  options: StreamOptions,
): AsyncGenerator<JsonElement, void, undefined> {
  const report = reporter(json, options);
  for (let key = 0; (await json.peek()) >= 0; key++) {
    const place = json.place;
    const parsed = await json.value();
    report();
    yield { ...parsed, key, target: 0, ...place };
    const text = await json.lineText();
    // Behind the last value of a file there may be no line end.
    if (text !== null && text.trim() !== '') {
      throw json.error(
        'expected one value on this line, found more',
        'JSON Lines have one object a line',
        place,
      );
    }
  }
}

async function* elementsOf(
  json: JsonFile,
  targets: readonly JsonTarget[],
  options: StreamOptions,
): AsyncGenerator<JsonElement, void, undefined> {
  const report = reporter(json, options);
  const found = new Set<number>();
  const path: string[] = [];
  const keys: Set<string>[] = [];

  // Keys of an object whose members are streamed are not remembered: there may be many millions.
  async function takeKey(seen?: Set<string>): Promise<string> {
    if ((await json.peek()) !== QUOTE) throw json.unexpected('a key in quotes');
    const place = json.place;
    const key = String((await json.value()).value);
    if (seen?.has(key)) {
      throw json.error(
        `the key ${JSON.stringify(key)} is there a second time`,
        'leave one of the two out',
        place,
      );
    }
    seen?.add(key);
    if ((await json.peek()) !== COLON) throw json.unexpected('":"');
    json.step();
    await json.peek();
    return key;
  }

  for (;;) {
    const first = await json.peek();
    const target = targets.findIndex(other => samePath(other.path, path));
    const leadsOn = targets.some(other => startsWith(other.path, path));
    if (target >= 0) {
      found.add(target);
      const of = targets[target]?.of ?? 'list';
      const isObject = first === BRACE;
      if (!(isObject ? of !== 'list' : first === BRACKET && of !== 'object')) {
        throw wrongKind(json, path, of);
      }
      json.step();
      const end = isObject ? BRACE_END : BRACKET_END;
      if ((await json.peek()) === end) json.step();
      else {
        for (let index = 0; ; index++) {
          const key = isObject ? await takeKey() : index;
          const { line, column } = json.place;
          const { value, text } = json.valueNow() ?? (await json.value());
          report();
          yield { value, text, key, target, line, column };
          const next = json.peekNow() ?? (await json.peek());
          if (next !== COMMA && next !== end) throw json.unexpected(`"," or "${isObject ? '}' : ']'}"`);
          json.step();
          if (next === end) break;
          if (json.peekNow() === null) await json.peek();
        }
      }
    } else if (first === BRACE && leadsOn) {
      json.step();
      if ((await json.peek()) === BRACE_END) {
        json.step();
      } else {
        const seen = new Set<string>();
        path.push(await takeKey(seen));
        keys.push(seen);
        continue;
      }
    } else if (path.length === 0 && first !== -1) {
      throw wrongTop(json, targets);
    } else {
      await json.skip();
    }

    // Behind a value: the next one of the object it is in, or the end of that object.
    for (;;) {
      const next = await json.peek();
      const seen = keys.at(-1);
      if (!seen) {
        if (next !== -1) throw json.unexpected('the end of the file');
        const missing = targets.find((other, i) => other.optional !== true && !found.has(i));
        if (missing) throw missingTarget(json, missing);
        return;
      }
      if (next === COMMA) {
        json.step();
        path[path.length - 1] = await takeKey(seen);
        break;
      }
      if (next !== BRACE_END) throw json.unexpected('"," or "}"');
      json.step();
      keys.pop();
      path.pop();
    }
  }
}

function samePath(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((key, i) => key === b[i]);
}

/** Whether `path` leads on from `start`. */
function startsWith(path: readonly string[], start: readonly string[]): boolean {
  return path.length > start.length && start.every((key, i) => key === path[i]);
}

function nameOf(path: readonly string[]): string {
  return `"${path.join('.')}"`;
}

const KINDS = { list: 'a list', object: 'an object', either: 'a list or an object' };

function wrongKind(json: JsonFile, path: readonly string[], of: keyof typeof KINDS): Error {
  return json.unexpected(`${KINDS[of]}${path.length === 0 ? '' : ` as ${nameOf(path)}`}`);
}

function wrongTop(json: JsonFile, targets: readonly JsonTarget[]): Error {
  const wanted = targets.map(({ path, of = 'list' }) => `${KINDS[of]} ${nameOf(path)}`);
  return json.unexpected(`an object with ${wanted.join(', ')}`);
}

function missingTarget(json: JsonFile, { path, of = 'list' }: JsonTarget): Error {
  return new GroundError('data', `${json.file} has no ${KINDS[of].replace(/^an? /, '')} ${nameOf(path)}`, {
    hint: 'is this the right kind of annotation file?',
  });
}
