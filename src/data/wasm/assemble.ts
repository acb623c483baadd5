/**
 * WebAssembly's text format to its binary one, as far as the kernels of this folder need it: one memory, exported
 * functions, folded instructions. So a kernel is read, reviewed and changed as text, and no compiler is needed.
 */

/** A parenthesised list or a word. */
type Node = string | readonly Node[];

const TYPES: Readonly<Record<string, number>> = { i32: 0x7f, v128: 0x7b };
const VOID = 0x40;

/** Prefix of the vector instructions; their number follows. */
const VECTOR = 0xfd;

/** Instructions without immediates. */
const PLAIN: Readonly<Record<string, readonly number[]>> = {
  'i32.lt_u': [0x49],
  'i32.add': [0x6a],
  'i32.sub': [0x6b],
  'i32.mul': [0x6c],
  'i32x4.splat': [VECTOR, 0x11],
  'i8x16.narrow_i16x8_u': [VECTOR, 0x66],
  'i16x8.narrow_i32x4_s': [VECTOR, 0x85, 0x01],
  'i16x8.extend_low_i8x16_u': [VECTOR, 0x89, 0x01],
  'i16x8.extend_high_i8x16_u': [VECTOR, 0x8a, 0x01],
  'i32x4.shl': [VECTOR, 0xab, 0x01],
  'i32x4.shr_s': [VECTOR, 0xac, 0x01],
  'i32x4.extend_low_i16x8_u': [VECTOR, 0xa9, 0x01],
  'i32x4.extend_high_i16x8_u': [VECTOR, 0xaa, 0x01],
  'i32x4.add': [VECTOR, 0xae, 0x01],
  'i32x4.dot_i16x8_s': [VECTOR, 0xba, 0x01],
  'f32x4.demote_f64x2_zero': [VECTOR, 0x5e],
  'f64x2.add': [VECTOR, 0xf0, 0x01],
  'f64x2.mul': [VECTOR, 0xf2, 0x01],
  'f64x2.convert_low_i32x4_u': [VECTOR, 0xff, 0x01],
};

/** Instructions with an address, and `offset=` where it is not 0. */
const MEMORY: Readonly<Record<string, readonly number[]>> = {
  'i32.load': [0x28],
  'v128.load': [VECTOR, 0x00],
  'v128.load32_splat': [VECTOR, 0x09],
  'v128.load64_splat': [VECTOR, 0x0a],
  'v128.store': [VECTOR, 0x0b],
};

/** The same, followed by the number of a lane. */
const LANE: Readonly<Record<string, readonly number[]>> = { 'v128.store32_lane': [VECTOR, 0x5a] };

const LOCALS: Readonly<Record<string, number>> = { 'local.get': 0x20, 'local.set': 0x21, 'local.tee': 0x22 };
const BRANCHES: Readonly<Record<string, number>> = { br: 0x0c, br_if: 0x0d };
const BLOCKS: Readonly<Record<string, number>> = { block: 0x02, loop: 0x03 };

/**
 * The module that `source` describes: `(func $name (param $a i32) … (local $b v128) … instruction …)`, each exported under
 * its name, over an exported memory "memory" that begins with one page. Throws an Error on what it does not know: kernels
 * are constants of this program.
 */
export function assemble(source: string): Uint8Array<ArrayBuffer> {
  const functions = parse(source).map(assembleFunction);
  const bodies = functions.map(({ body }) => sized(body));
  return Uint8Array.from([
    ...[0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00],
    ...section(1, vector(functions.map(({ type }) => type))),
    ...section(3, vector(functions.map((_, i) => unsigned(i)))),
    ...section(5, vector([[0x00, 0x01]])),
    ...section(
      7,
      vector([
        [...name('memory'), 0x02, 0x00],
        ...functions.map((f, i) => [...name(f.name), 0x00, ...unsigned(i)]),
      ]),
    ),
    ...section(10, vector(bodies)),
  ]);
}

function parse(source: string): Node[] {
  const stack: Node[][] = [[]];
  for (const [word] of source.replace(/;;.*/g, '').matchAll(/[()]|[^\s()]+/g)) {
    if (word === '(') {
      stack.push([]);
    } else if (word === ')') {
      const list = stack.pop() ?? [];
      stack.at(-1)?.push(list);
    } else {
      stack.at(-1)?.push(word);
    }
  }
  const [top] = stack;
  if (stack.length !== 1 || !top) throw new Error('parentheses do not match');
  return top;
}

interface Assembled {
  readonly name: string;
  readonly type: number[];
  readonly body: number[];
}

function assembleFunction(node: Node): Assembled {
  const [keyword, label, ...rest] = listOf(node);
  if (keyword !== 'func' || typeof label !== 'string') throw new Error('a module holds functions with names');
  const declared = (kind: string): [string, number][] =>
    rest
      .filter(part => listOf(part)[0] === kind)
      .map(part => {
        const [, variable, type] = listOf(part).map(String);
        return [variable ?? '', TYPES[type ?? ''] ?? fail(part)];
      });
  const parameters = declared('param');
  const locals = declared('local');
  const indices = new Map([...parameters, ...locals].map(([variable], i) => [variable, i]));
  const instructions = rest.filter(part => !['param', 'local'].includes(String(listOf(part)[0])));
  return {
    name: label.slice(1),
    type: [0x60, ...vector(parameters.map(([, type]) => [type])), 0x00],
    body: [
      ...vector(locals.map(([, type]) => [0x01, type])),
      ...instructions.flatMap(part => assembleInstruction(part, indices, [])),
      0x0b,
    ],
  };
}

/** `labels`: of the blocks around the instruction, the outermost first. */
function assembleInstruction(
  node: Node,
  locals: ReadonlyMap<string, number>,
  labels: readonly string[],
): number[] {
  const [head, ...rest] = listOf(node);
  const op = String(head);
  const words = rest.filter(part => typeof part === 'string');
  const inside = op in BLOCKS ? [...labels, words[0] ?? ''] : labels;
  const operands = rest
    .filter(part => typeof part !== 'string')
    .flatMap(part => assembleInstruction(part, locals, inside));
  const [block, local, branch] = [BLOCKS[op], LOCALS[op], BRANCHES[op]];
  if (block !== undefined) return [block, VOID, ...operands, 0x0b];
  if (local !== undefined) return [...operands, local, ...unsigned(locals.get(words[0] ?? '') ?? fail(node))];
  if (branch !== undefined) {
    const depth = labels.length - 1 - labels.lastIndexOf(words[0] ?? '');
    return [...operands, branch, ...unsigned(depth < labels.length ? depth : fail(node))];
  }
  if (op === 'i32.const') return [0x41, ...signed(Number(words[0]))];
  if (op === 'i8x16.shuffle') return [...operands, VECTOR, 0x0d, ...words.map(Number)];
  const plain = PLAIN[op];
  if (plain) return [...operands, ...plain];
  const access = MEMORY[op] ?? LANE[op] ?? fail(node);
  const offset = words.find(word => word.startsWith('offset='))?.slice(7) ?? '0';
  const lane = op in LANE ? [Number(words.at(-1))] : [];
  return [...operands, ...access, 0x00, ...unsigned(Number(offset)), ...lane];
}

function listOf(node: Node): readonly Node[] {
  return typeof node === 'string' ? fail(node) : node;
}

function fail(node: Node): never {
  throw new Error(`WebAssembly text not understood: ${JSON.stringify(node)}`);
}

function section(id: number, content: readonly number[]): number[] {
  return [id, ...sized(content)];
}

function sized(content: readonly number[]): number[] {
  return [...unsigned(content.length), ...content];
}

function vector(items: readonly (readonly number[])[]): number[] {
  return [...unsigned(items.length), ...items.flat()];
}

function name(text: string): number[] {
  return sized([...new TextEncoder().encode(text)]);
}

/** LEB128. */
function unsigned(value: number): number[] {
  return value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...unsigned(value >>> 7)];
}

function signed(value: number): number[] {
  const rest = value >> 7;
  const last = (rest === 0 && (value & 0x40) === 0) || (rest === -1 && (value & 0x40) !== 0);
  return last ? [value & 0x7f] : [(value & 0x7f) | 0x80, ...signed(rest)];
}
