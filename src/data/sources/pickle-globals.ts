/** The few importable names of a pickle that stand for data. Nothing is imported: each is a rule that makes a value. */
import { latin1Of } from './pickle-bytes.ts';

/** A name that a pickle refers to. Throws where it is not one of those known here. */
export class Global {
  readonly make: Maker;
  private readonly name: string;

  constructor(module: string, name: string) {
    this.name = `${module}.${name}`;
    // Python 2's name for its own functions, and numpy 2's for what was numpy.core.
    const known = this.name.replace(/^__builtin__\./, 'builtins.').replace(/^numpy\._core\./, 'numpy.core.');
    const make = KNOWN.get(known);
    if (!make) throw new Error(`holds the Python object ${this.name}, which is not plain data`);
    this.make = make;
  }

  toString(): string {
    return this.name;
  }
}

/** What a number of numpy's is made of: its kind (i, u, f, b), its size in bytes, its byte order. */
export class Dtype {
  private readonly type: string;
  private littleEndian = true;

  constructor(type: string) {
    if (!/^(?:[iu][1248]|f[48]|b1)$/.test(type)) throw new Error(`a numpy value of type "${type}"`);
    this.type = type;
  }

  /** Takes the byte order of numpy's state tuple (version, order, …). */
  order(state: unknown): void {
    this.littleEndian = !(Array.isArray(state) && asText(state[1]) === '>');
  }

  read(bytes: Uint8Array): number | boolean {
    if (bytes.length !== Number(this.type[1]))
      throw new Error(`${bytes.length} bytes for a numpy ${this.type}`);
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const little = this.littleEndian;
    switch (this.type) {
      case 'b1':
        return view.getUint8(0) !== 0;
      case 'i1':
        return view.getInt8(0);
      case 'u1':
        return view.getUint8(0);
      case 'i2':
        return view.getInt16(0, little);
      case 'u2':
        return view.getUint16(0, little);
      case 'i4':
        return view.getInt32(0, little);
      case 'u4':
        return view.getUint32(0, little);
      case 'i8':
        return Number(view.getBigInt64(0, little));
      case 'u8':
        return Number(view.getBigUint64(0, little));
      case 'f4':
        return view.getFloat32(0, little);
      default:
        return view.getFloat64(0, little);
    }
  }

  toString(): string {
    return `numpy.dtype("${this.type}")`;
  }
}

/** The value that `target`, a name, makes of a tuple of arguments. */
export function callGlobal(target: unknown, given: unknown): unknown {
  if (!(target instanceof Global) || !Array.isArray(given))
    throw new Error('calls something that is no name');
  return target.make(given);
}

/** Makes a value of the arguments a pickle gives. */
type Maker = (given: readonly unknown[]) => unknown;

const listOf: Maker = ([items]) => (Array.isArray(items) ? [...items] : []);

const KNOWN: ReadonlyMap<string, Maker> = new Map<string, Maker>([
  ['numpy.dtype', ([type]) => new Dtype(asText(type))],
  [
    'numpy.core.multiarray.scalar',
    ([dtype, bytes]) => {
      if (!(dtype instanceof Dtype)) throw new Error('a numpy value without a type');
      return dtype.read(
        typeof bytes === 'string' ? latin1(bytes) : bytes instanceof Uint8Array ? bytes : latin1(''),
      );
    },
  ],
  // How Python 3 writes bytes in protocols that have none.
  ['_codecs.encode', ([text]) => latin1(asText(text))],
  ['collections.OrderedDict', dictOf],
  ['collections.defaultdict', () => dictOf([])],
  ['builtins.dict', dictOf],
  ['builtins.list', listOf],
  ['builtins.tuple', listOf],
  ['builtins.set', listOf],
  ['builtins.frozenset', listOf],
  ['builtins.bytes', () => latin1('')],
  ['builtins.int', ([value]) => (typeof value === 'number' ? value : 0)],
]);

/** A dict of a list of pairs, or an empty one. */
function dictOf([pairs]: readonly unknown[]): object {
  const dict: Record<string, unknown> = Object.create(null);
  for (const pair of Array.isArray(pairs) ? pairs : []) {
    if (!Array.isArray(pair)) throw new Error('a dict made of something other than pairs');
    dict[asText(pair[0])] = pair[1];
  }
  return dict;
}

function asText(value: unknown): string {
  if (typeof value === 'string') return value;
  if (value instanceof Uint8Array) return latin1Of(value);
  if (typeof value === 'number') return String(value);
  throw new Error('something other than text where text is meant');
}

function latin1(text: string): Uint8Array {
  return Uint8Array.from(text, character => character.charCodeAt(0));
}
