import type { RecordedAttribute, RecordedType } from '../engine/record.ts';

/**
 * A size that depends on the sizes of the inputs: base + Σ factor·variable, all integers. Every size in a network made
 * of reshapes, slices and concatenations is of this form. A variable may be a product of two, "batch*length": that is how
 * many rows a batch of sequences has.
 */
export interface Affine {
  readonly base: number;
  readonly terms: readonly { readonly variable: string; readonly factor: number }[];
}

/** A length along an axis: a number, or one that is known only when the network runs. */
export type Extent = number | Affine;

/** A RecordedAttribute in which numbers may be symbolic. */
export type SymbolicAttribute = Extent | string | boolean | null | readonly SymbolicAttribute[];

export interface SymbolicValue {
  readonly id: number;
  readonly shape: readonly Extent[];
  readonly dtype: RecordedType;
}

export interface SymbolicCall {
  readonly kernel: string;
  readonly inputs: Readonly<Record<string, SymbolicValue>>;
  readonly attrs: Readonly<Record<string, SymbolicAttribute>>;
  readonly outputs: readonly SymbolicValue[];
  readonly where: string;
}

/**
 * A constant of the network. Where its shape is symbolic, `stored` is the shape of the values kept and the network
 * uses their leading corner (a causal mask, a table of positions).
 */
export interface SymbolicConstant extends SymbolicValue {
  readonly name: string | undefined;
  readonly stored: readonly number[];
  read(): Float32Array | Int32Array | Uint8Array;
}

/** A recorded network whose sizes may depend on those of its inputs. */
export interface SymbolicGraph {
  readonly variables: readonly string[];
  readonly calls: readonly SymbolicCall[];
  readonly inputs: Readonly<Record<string, SymbolicValue>>;
  readonly outputs: Readonly<Record<string, SymbolicValue>>;
  readonly constants: ReadonlyMap<number, SymbolicConstant>;
}

export function isAffine(value: unknown): value is Affine {
  return typeof value === 'object' && value !== null && 'terms' in value;
}

/** a + factor·b, a plain number where nothing symbolic is left. */
export function combine(a: Extent, b: Extent, factor = 1): Extent {
  const factors = new Map<string, number>();
  for (const [extent, times] of [
    [a, 1],
    [b, factor],
  ] as const) {
    if (typeof extent === 'number') continue;
    for (const term of extent.terms) {
      factors.set(term.variable, (factors.get(term.variable) ?? 0) + times * term.factor);
    }
  }
  const base = baseOf(a) + factor * baseOf(b);
  const terms = [...factors].filter(([, f]) => f !== 0).map(([variable, f]) => ({ variable, factor: f }));
  return terms.length === 0 ? base : { base, terms };
}

/** How an extent is written for people and in ONNX dimension names: "tokens", "4*tiles + 1". */
export function describeExtent(extent: Extent): string {
  if (typeof extent === 'number') return `${extent}`;
  const parts = extent.terms.map(t => (t.factor === 1 ? t.variable : `${t.factor}*${t.variable}`));
  if (extent.base !== 0) parts.push(`${extent.base}`);
  return parts.join(' + ');
}

export function sameExtent(a: Extent, b: Extent): boolean {
  return combine(a, b, -1) === 0;
}

/** The extent's value for given sizes. Throws RangeError when a variable has none. */
export function evaluate(extent: Extent, sizes: Readonly<Record<string, number>>): number {
  if (typeof extent === 'number') return extent;
  return extent.terms.reduce((sum, { variable, factor }) => {
    const size = factorsOf(variable).reduce((product, name) => {
      const given = sizes[name];
      if (given === undefined) throw new RangeError(`no size given for ${name}`);
      return product * given;
    }, 1);
    return sum + factor * size;
  }, extent.base);
}

/** The name of a product of two variables as a variable of its own. */
export function productOf(a: string, b: string): string {
  return `${a}*${b}`;
}

/** The variables that a variable is the product of: itself, or two. */
export function factorsOf(variable: string): readonly string[] {
  return variable.split('*');
}

function baseOf(extent: Extent): number {
  return typeof extent === 'number' ? extent : extent.base;
}

/** The same attribute of every recording as one; undefined where the values fit no affine formula. */
export type SolveNumber = (values: readonly number[]) => Extent | undefined;

/** Unifies an attribute seen in several recordings; undefined where they differ in more than numbers. */
export function unifyAttribute(
  values: readonly RecordedAttribute[],
  solve: SolveNumber,
): SymbolicAttribute | undefined {
  const [first] = values;
  if (first === undefined) return undefined;
  if (typeof first === 'number') {
    const numbers = values.filter(v => typeof v === 'number');
    return numbers.length === values.length ? solve(numbers) : undefined;
  }
  if (Array.isArray(first)) {
    const lists = values.filter(v => Array.isArray(v));
    if (lists.length !== values.length || lists.some(list => list.length !== first.length)) return undefined;
    const unified: SymbolicAttribute[] = [];
    for (let i = 0; i < first.length; i++) {
      const item = unifyAttribute(
        lists.map(list => list[i] as RecordedAttribute),
        solve,
      );
      if (item === undefined) return undefined;
      unified.push(item);
    }
    return unified;
  }
  return values.every(v => v === first) ? (first as SymbolicAttribute) : undefined;
}
