import { GroundError } from '../../../errors.ts';
import { type Extent, isAffine, type SymbolicCall, type SymbolicValue } from '../../symbolic.ts';
import type { GraphBuilder } from '../builder.ts';

/** Writes one kernel as ONNX nodes and returns the names of its outputs (one name for one output). */
export type Lowering = (call: LoweredCall, g: GraphBuilder) => string | readonly string[];

/** Lowerings by TensorFlow.js kernel name. */
export type LoweringTable = Readonly<Record<string, Lowering>>;

/** A recorded call whose inputs have names in the ONNX graph. */
export class LoweredCall {
  readonly #call: SymbolicCall;
  readonly #names: ReadonlyMap<number, string>;

  constructor(call: SymbolicCall, names: ReadonlyMap<number, string>) {
    this.#call = call;
    this.#names = names;
  }

  get kernel(): string {
    return this.#call.kernel;
  }

  get where(): string {
    return this.#call.where;
  }

  /** What is known of an input. Throws when the kernel has none of that name. */
  value(name: string): SymbolicValue {
    const value = this.#call.inputs[name];
    if (!value) throw this.failure(`has no input ${name}`);
    return value;
  }

  has(name: string): boolean {
    return this.#call.inputs[name] !== undefined;
  }

  /** The ONNX name of an input. */
  input(name: string): string {
    return this.#nameOf(this.value(name));
  }

  /** The inputs of a kernel that takes a list, in order. */
  get list(): readonly string[] {
    return Object.values(this.#call.inputs).map(value => this.#nameOf(value));
  }

  get output(): SymbolicValue {
    return this.#call.outputs[0] as SymbolicValue;
  }

  get outputs(): readonly SymbolicValue[] {
    return this.#call.outputs;
  }

  /** An attribute that must be a plain number. */
  number(name: string, fallback?: number): number {
    const value = this.#call.attrs[name] ?? fallback;
    if (typeof value !== 'number') throw this.failure(`attribute ${name} is no fixed number`);
    return value;
  }

  string(name: string): string {
    const value = this.#call.attrs[name];
    if (typeof value !== 'string') throw this.failure(`attribute ${name} is no string`);
    return value;
  }

  flag(name: string): boolean {
    return this.#call.attrs[name] === true;
  }

  /** A number, symbolic or not. */
  extent(name: string): Extent {
    const value = this.#call.attrs[name];
    if (typeof value === 'number' || isAffine(value)) return value;
    throw this.failure(`attribute ${name} is no number`);
  }

  /** A list of numbers; a single number is a list of one, an absent attribute is undefined. */
  extents(name: string): readonly Extent[] | undefined {
    const value = this.#call.attrs[name];
    if (value === undefined || value === null) return undefined;
    if (typeof value === 'number' || isAffine(value)) return [value];
    if (Array.isArray(value)) {
      const extents = value.filter(v => typeof v === 'number' || isAffine(v));
      if (extents.length === value.length) return extents;
    }
    throw this.failure(`attribute ${name} is no list of numbers`);
  }

  /** A list of plain numbers, as `extents`. */
  numbers(name: string): readonly number[] | undefined {
    const extents = this.extents(name);
    const numbers = extents?.filter(v => typeof v === 'number');
    if (numbers?.length !== extents?.length)
      throw this.failure(`attribute ${name} depends on the input's size`);
    return numbers;
  }

  /** A pair of numbers for each axis (paddings). */
  pairs(name: string): readonly (readonly [Extent, Extent])[] {
    const value = this.#call.attrs[name];
    if (!Array.isArray(value)) throw this.failure(`attribute ${name} is no list`);
    return value.map(pair => {
      const [before, after] = Array.isArray(pair) ? pair : [];
      if (isExtent(before) && isExtent(after)) return [before, after] as const;
      throw this.failure(`attribute ${name} is no list of pairs`);
    });
  }

  /** Axis `name` counted from the front. */
  axis(name: string, rank: number): number {
    const axis = this.number(name);
    return axis < 0 ? axis + rank : axis;
  }

  failure(problem: string): GroundError {
    return new GroundError('export', `${this.kernel} (${this.where}) cannot be exported: ${problem}`);
  }

  #nameOf(value: SymbolicValue): string {
    const name = this.#names.get(value.id);
    if (name === undefined) throw this.failure('an input was never computed');
    return name;
  }
}

function isExtent(value: unknown): value is Extent {
  return typeof value === 'number' || isAffine(value);
}
