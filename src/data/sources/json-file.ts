/** A JSON file of any size, read value by value through a buffer no larger than the largest value needs. */
import { isUtf8 } from 'node:buffer';
import { type FileHandle, open } from 'node:fs/promises';
import { ioError } from '../../atomic.ts';
import { GroundError } from '../../errors.ts';
import { findJsonError } from './json-error.ts';

/** A place in a text file, both from 1; columns count bytes. */
export interface Place {
  readonly line: number;
  readonly column: number;
}

/** A value, and its text as the file has it. */
export interface ParsedValue {
  readonly value: unknown;
  readonly text: string;
}

/** Bytes read at once; the buffer grows beyond only for values that are larger. */
const DEFAULT_CHUNK_BYTES = 1 << 22;

/** V8 holds no longer text than 512 MB; a single value of half that is a damaged file. */
const MAX_VALUE_BYTES = 2 ** 28;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const LINE_FEED = 0x0a;

/** What a byte means outside of strings: nothing, or one of these. */
const STRING = 1;
const OPEN = 2;
const CLOSE = 3;
const LINE = 4;
const MEANING = new Uint8Array(256);
MEANING[QUOTE] = STRING;
for (const c of '[{') MEANING[c.charCodeAt(0)] = OPEN;
for (const c of ']}') MEANING[c.charCodeAt(0)] = CLOSE;
MEANING[LINE_FEED] = LINE;

/** Where a number, true, false or null ends. */
const ENDS_SCALAR = new Uint8Array(256);
for (const c of ' \t\r\n,:[]{}"') ENDS_SCALAR[c.charCodeAt(0)] = 1;

/** The names under which files of another kind are met where JSON is wanted, by their first bytes. */
const OTHER_KINDS: readonly (readonly [bytes: readonly number[], kind: string, hint: string])[] = [
  [[0x1f, 0x8b], 'is compressed with gzip', 'unpack it first: gunzip'],
  [[0x50, 0x4b, 0x03, 0x04], 'is a zip archive', 'unpack it first: unzip'],
  [[0xff, 0xfe], 'is UTF-16 text', 'convert it first: iconv -f UTF-16 -t UTF-8'],
  [[0xfe, 0xff], 'is UTF-16 text', 'convert it first: iconv -f UTF-16 -t UTF-8'],
];

/** One pass over a file. All positions only move forwards. */
export class JsonFile {
  readonly file: string;
  readonly #handle: FileHandle;
  readonly #chunkBytes: number;
  #buffer: Buffer;
  /** The next byte is `#buffer[#at]`; what was read ends before `#buffer[#end]`. */
  #at = 0;
  #end = 0;
  #ended = false;
  /** Offset in the file of `#buffer[0]`. */
  #base = 0;
  #line = 1;
  /** Offset in the file of the first byte of the line. */
  #lineStart = 0;

  private constructor(file: string, handle: FileHandle, chunkBytes: number) {
    this.file = file;
    this.#handle = handle;
    this.#chunkBytes = chunkBytes;
    this.#buffer = Buffer.allocUnsafe(chunkBytes);
  }

  /** Opens a file and steps over a byte order mark. Throws `io`, and `data` where it is empty or no text at all. */
  static async open(file: string, chunkBytes: number = DEFAULT_CHUNK_BYTES): Promise<JsonFile> {
    const handle = await open(file, 'r').catch(thrown => {
      throw ioError(thrown, 'read', file);
    });
    const json = new JsonFile(file, handle, Math.max(8, chunkBytes));
    try {
      while (json.#end < 4 && (await json.#fill(0)));
      const starts = (bytes: readonly number[]) => bytes.every((byte, i) => json.#buffer[i] === byte);
      const other =
        json.#end > 0 && OTHER_KINDS.find(([bytes]) => bytes.length <= json.#end && starts(bytes));
      if (other) throw new GroundError('data', `${file} ${other[1]}, not JSON`, { hint: other[2] });
      if (json.#end >= 3 && starts([0xef, 0xbb, 0xbf])) {
        json.#at = 3;
        json.#lineStart = 3;
      }
      return json;
    } catch (thrown) {
      await handle.close();
      throw thrown;
    }
  }

  async close(): Promise<void> {
    await this.#handle.close();
  }

  /** Bytes of the file that were taken so far. */
  get offset(): number {
    return this.#base + this.#at;
  }

  /** Where the next byte lies. */
  get place(): Place {
    return { line: this.#line, column: this.offset - this.#lineStart + 1 };
  }

  /** The next byte that is no white space, without taking it; -1 at the end. Only where it returns null, `peek` must be awaited. */
  peekNow(): number | null {
    const buffer = this.#buffer;
    const end = this.#end;
    let at = this.#at;
    for (; at < end; at++) {
      const byte = buffer[at]!;
      if (byte > 0x20) break;
      if (byte === LINE_FEED) this.#newLine(at);
      else if (byte !== 0x20 && byte !== 0x0d && byte !== 0x09) break;
    }
    this.#at = at;
    if (at < end) return buffer[at]!;
    return this.#ended ? -1 : null;
  }

  /** The same, reading on where the buffer has run out. */
  async peek(): Promise<number> {
    for (;;) {
      const byte = this.peekNow();
      if (byte !== null) return byte;
      await this.#fill(this.#at);
    }
  }

  /** Takes the byte that `peek` showed. */
  step(): void {
    this.#at++;
  }

  /** Takes the next value and parses it. Throws `data` where it is none. */
  async value(): Promise<ParsedValue> {
    const { place } = this;
    const start = await this.#scan(true);
    return this.#parse(start, place);
  }

  /** The same where the whole value is in the buffer already; null, with nothing taken, where it is not. */
  valueNow(): ParsedValue | null {
    const [line, lineStart, start] = [this.#line, this.#lineStart, this.#at];
    const scan = new Scan();
    if (!this.#advance(scan)) {
      [this.#line, this.#lineStart, this.#at] = [line, lineStart, start];
      return null;
    }
    return this.#parse(start, { line, column: this.#base + start - lineStart + 1 });
  }

  /** Takes the next value without looking at it closer than its brackets and strings. */
  async skip(): Promise<void> {
    await this.#scan(false);
  }

  /** The rest of the line as text, without its end; null at the end of the file. */
  async lineText(): Promise<string | null> {
    let searched = this.#at;
    for (;;) {
      const found = this.#buffer.subarray(0, this.#end).indexOf(LINE_FEED, searched);
      if (found >= 0 || this.#ended) {
        if (this.#at === this.#end) return null;
        const start = this.#at;
        const stop = found >= 0 ? found : this.#end;
        const { place } = this;
        this.#at = found >= 0 ? found + 1 : stop;
        if (found >= 0) this.#newLine(found);
        return this.#text(start, stop, place);
      }
      searched = this.#end - this.#at;
      await this.#fill(this.#at);
    }
  }

  /** A `data` error at a place of the file, the present one by default. */
  error(what: string, hint: string, place: Place = this.place): GroundError {
    return new GroundError('data', `${this.file}:${place.line}:${place.column}: ${what}`, { hint });
  }

  /** The error of something else than `expected` standing at the present place. */
  unexpected(expected: string): GroundError {
    if (this.#at >= this.#end && this.#ended) return this.#truncated(expected);
    return this.error(`expected ${expected}, found ${this.#describe()}`, WELL_FORMED);
  }

  /** The byte at the present place, and a little of what follows, for people. */
  #describe(): string {
    const next = this.#buffer.subarray(this.#at, Math.min(this.#end, this.#at + 12)).toString('utf8');
    return JSON.stringify((/^[\w.+-]+/.exec(next) ?? [[...next][0] ?? ''])[0]);
  }

  #truncated(expected: string): GroundError {
    return this.error(`the file ends where ${expected} was expected`, 'was the file copied completely?');
  }

  #newLine(at: number): void {
    this.#line++;
    this.#lineStart = this.#base + at + 1;
  }

  /** Takes a value; returns where in the buffer it starts, if `keep` says that it must stay there. */
  async #scan(keep: boolean): Promise<number> {
    const scan = new Scan();
    const { place } = this;
    let length = 0;
    for (;;) {
      const before = this.#at;
      const complete = this.#advance(scan);
      length += this.#at - before;
      if (complete) return this.#at - length;
      if (keep && length > MAX_VALUE_BYTES) {
        throw this.error(
          `a value of more than ${MAX_VALUE_BYTES} bytes`,
          'is a bracket or a quote missing?',
          place,
        );
      }
      if (!(await this.#fill(keep ? this.#at - length : this.#at))) {
        if (scan.kind === SCALAR) return this.#at - length;
        if (scan.kind === 0) throw this.unexpected('a value');
        throw this.error(
          `the file ends inside the ${scan.kind === STRING ? 'text' : 'value'} that begins here`,
          'was the file copied completely?',
          place,
        );
      }
    }
  }

  /** Goes on with a value as far as the buffer reaches; true once it has ended. */
  #advance(scan: Scan): boolean {
    const buffer = this.#buffer;
    const end = this.#end;
    let at = this.#at;
    if (scan.kind === 0) {
      const byte = buffer[at]!;
      if (at >= end) return false;
      const meaning = MEANING[byte]!;
      if (meaning === STRING || meaning === OPEN) scan.kind = meaning;
      else if (ENDS_SCALAR[byte]) throw this.unexpected('a value');
      else scan.kind = SCALAR;
      if (meaning === OPEN) scan.brackets.push(byte);
      if (meaning === STRING) scan.inString = true;
      at++;
    }
    if (scan.kind === SCALAR) {
      while (at < end && ENDS_SCALAR[buffer[at]!] === 0) at++;
      this.#at = at;
      return at < end;
    }
    while (at < end) {
      if (scan.inString) {
        if (scan.escaped) {
          scan.escaped = false;
          at++;
          continue;
        }
        let byte = buffer[at]!;
        while (byte !== QUOTE && byte !== BACKSLASH && byte !== LINE_FEED && ++at < end) byte = buffer[at]!;
        if (at >= end) break;
        if (byte === LINE_FEED) this.#newLine(at);
        scan.escaped = byte === BACKSLASH;
        scan.inString = byte !== QUOTE;
        at++;
        if (!scan.inString && scan.kind === STRING) {
          this.#at = at;
          return true;
        }
        continue;
      }
      let meaning = MEANING[buffer[at]!]!;
      while (meaning === 0 && ++at < end) meaning = MEANING[buffer[at]!]!;
      if (at >= end) break;
      if (meaning === STRING) scan.inString = true;
      else if (meaning === LINE) this.#newLine(at);
      else if (meaning === OPEN) scan.brackets.push(buffer[at]!);
      else {
        // "[" and "]", "{" and "}" are two apart.
        const opened = scan.brackets.pop();
        if (opened === undefined || opened + 2 !== buffer[at]) {
          this.#at = at;
          throw this.unexpected(opened === 0x5b ? '"]"' : '"}"');
        }
        if (scan.brackets.length === 0) {
          this.#at = at + 1;
          return true;
        }
      }
      at++;
    }
    this.#at = at;
    return false;
  }

  #parse(start: number, place: Place): ParsedValue {
    const text = this.#text(start, this.#at, place);
    try {
      return { value: JSON.parse(text), text };
    } catch (cause) {
      const found = findJsonError(text);
      const before = text.slice(0, found.at);
      const lines = before.split('\n');
      const inLine = Buffer.byteLength(lines.at(-1) ?? '');
      const at = {
        line: place.line + lines.length - 1,
        column: lines.length === 1 ? place.column + inLine : inLine + 1,
      };
      throw new GroundError('data', `${this.file}:${at.line}:${at.column}: ${found.problem}`, {
        hint: found.hint ?? WELL_FORMED,
        cause,
      });
    }
  }

  #text(start: number, end: number, place: Place): string {
    const text = this.#buffer.toString('utf8', start, end);
    // Damaged bytes become this character; only then it is worth looking closer.
    if (!text.includes('\uFFFD') || isUtf8(this.#buffer.subarray(start, end))) return text;
    throw this.error(
      'this is not UTF-8 text',
      'convert the file first, such as with: iconv -f LATIN1 -t UTF-8',
      place,
    );
  }

  /** Reads on; the bytes from `keep` on stay in the buffer. False at the end of the file. */
  async #fill(keep: number): Promise<boolean> {
    if (this.#ended) return false;
    const kept = this.#end - keep;
    if (kept + this.#chunkBytes > this.#buffer.length) {
      const larger = Buffer.allocUnsafe(Math.max(this.#buffer.length, 2 * kept, kept + this.#chunkBytes));
      this.#buffer.copy(larger, 0, keep, this.#end);
      this.#buffer = larger;
    } else if (keep > 0) {
      this.#buffer.copyWithin(0, keep, this.#end);
    }
    this.#base += keep;
    this.#at -= keep;
    this.#end = kept;
    const { bytesRead } = await this.#handle
      .read(this.#buffer, this.#end, this.#chunkBytes, this.#base + this.#end)
      .catch(thrown => {
        throw ioError(thrown, 'read', this.file);
      });
    this.#end += bytesRead;
    this.#ended = bytesRead === 0;
    return bytesRead > 0;
  }
}

const SCALAR = 5;

const WELL_FORMED = 'the file must be well-formed JSON; `python3 -m json.tool FILE` checks it too';

/** How far into a value the search for its end is. */
class Scan {
  kind = 0;
  inString = false;
  escaped = false;
  /** The open brackets as bytes. */
  readonly brackets: number[] = [];
}
