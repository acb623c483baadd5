/** The bytes of a pickle, taken one number, line or string after the other. */

/** Escapes of Python's `repr` besides `\xNN` and octal ones. */
const ESCAPES = new Map([
  ['n', 10],
  ['r', 13],
  ['t', 9],
  ['a', 7],
  ['b', 8],
  ['f', 12],
  ['v', 11],
]);

/** One character a byte, U+0000 to U+00FF; a `TextDecoder` calls Windows-1252 by that name. */
export function latin1Of(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1');
}

/** A cursor over a pickle. Every method throws an `Error` where the bytes end too early. */
export class PickleBytes {
  position = 0;
  private readonly bytes: Uint8Array;
  private readonly view: DataView;
  private readonly utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** The next `count` bytes, shared with the input. */
  take(count: number): Uint8Array {
    const end = this.position + count;
    if (end > this.bytes.length) throw new Error('the file ends in the middle of a value');
    const taken = this.bytes.subarray(this.position, end);
    this.position = end;
    return taken;
  }

  byte(): number {
    return this.take(1)[0] ?? 0;
  }

  /** A little-endian number of 2, 4 or 8 bytes. */
  unsigned(size: 2 | 4 | 8): number {
    const at = this.position;
    this.take(size);
    if (size === 2) return this.view.getUint16(at, true);
    if (size === 4) return this.view.getUint32(at, true);
    return Number(this.view.getBigUint64(at, true));
  }

  /** A little-endian two's complement number of any size; 0 for none. */
  signed(size: number): number {
    const bytes = this.take(size);
    if (size > 8) throw new Error(`a whole number of ${size} bytes`);
    let value = 0n;
    for (const [i, byte] of bytes.entries()) value |= BigInt(byte) << BigInt(8 * i);
    return Number(BigInt.asIntN(8 * size, value));
  }

  /** A big-endian double. */
  double(): number {
    const at = this.position;
    this.take(8);
    return this.view.getFloat64(at, false);
  }

  /** UTF-8 text of `size` bytes. A lone surrogate, which Python can write, becomes U+FFFD. */
  text(size: number): string {
    const bytes = this.take(size);
    try {
      return this.utf8.decode(bytes);
    } catch {
      return new TextDecoder().decode(bytes);
    }
  }

  /** Latin-1 text up to the end of the line, which is taken too. */
  line(): string {
    const end = this.bytes.indexOf(10, this.position);
    if (end < 0) throw new Error('the file ends in the middle of a line');
    const bytes = this.take(end - this.position);
    this.position = end + 1;
    // Windows line ends come from files opened as text.
    return latin1Of(bytes).replace(/\r$/, '');
  }

  /** A byte string as Python's `repr` quotes it, up to the end of the line. */
  quoted(): Uint8Array {
    const line = this.line();
    const quote = line[0];
    if (line.length < 2 || (quote !== "'" && quote !== '"') || line.at(-1) !== quote) {
      throw new Error('a string without its quotes');
    }
    const out: number[] = [];
    const body = line.slice(1, -1);
    const token = /\\x([0-9a-fA-F]{2})|\\([0-7]{1,3})|\\([\s\S])|[^\\]/g;
    for (const [text, hex, octal, letter] of body.matchAll(token)) {
      if (hex !== undefined) out.push(Number.parseInt(hex, 16));
      else if (octal !== undefined) out.push(Number.parseInt(octal, 8) & 255);
      else if (letter !== undefined) out.push(ESCAPES.get(letter) ?? letter.charCodeAt(0));
      else out.push(text.charCodeAt(0));
    }
    return Uint8Array.from(out);
  }

  /** Text in Python's raw-unicode-escape: Latin-1 in which `\uXXXX` and `\UXXXXXXXX` stand for characters. */
  rawUnicode(): string {
    return this.line().replace(/\\u([0-9a-fA-F]{4})|\\U([0-9a-fA-F]{8})/g, (whole, short, long) => {
      const code = Number.parseInt(short ?? long, 16);
      return code <= 0x10ffff ? String.fromCodePoint(code) : whole;
    });
  }
}
