import type { RecordedType } from '../../engine/record.ts';
import { GroundError } from '../../errors.ts';
import { describeExtent, type Extent, factorsOf, isAffine, type SymbolicValue } from '../symbolic.ts';

/** Element types of ONNX tensors in use here, with ONNX's numbers. */
export const ONNX_TYPES = {
  float32: 1,
  uint8: 2,
  int8: 3,
  int32: 6,
  int64: 7,
  bool: 9,
  float16: 10,
} as const;
export type OnnxType = keyof typeof ONNX_TYPES;

/** An attribute of a node: integers are bigint, floats are number. */
export type OnnxAttribute = bigint | number | string | readonly bigint[];

export interface OnnxNode {
  readonly op: string;
  /** Absent for ONNX's own operators. */
  readonly domain?: string;
  /** Names of values; '' leaves an optional input out. */
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attributes: Readonly<Record<string, OnnxAttribute>>;
}

/** A tensor stored with the model. */
export interface OnnxInitializer {
  readonly name: string;
  readonly type: OnnxType;
  readonly shape: readonly number[];
  /** Whether it is a parameter of the model and no table that the network was written with. */
  readonly trained?: boolean;
  /** Raw little-endian values, row-major; read when the file is written. */
  read(): Uint8Array;
}

/** An input or output of the graph. */
export interface OnnxValue {
  readonly name: string;
  readonly type: OnnxType;
  readonly shape: readonly Extent[];
}

export interface OnnxGraph {
  readonly nodes: readonly OnnxNode[];
  readonly initializers: readonly OnnxInitializer[];
  readonly inputs: readonly OnnxValue[];
  readonly outputs: readonly OnnxValue[];
}

/** Collects nodes and constants of one ONNX graph and names its values. Lowerings write through it. */
export class GraphBuilder {
  readonly #nodes: OnnxNode[] = [];
  readonly #initializers = new Map<string, OnnxInitializer>();
  readonly #counts = new Map<string, number>();
  /** Small constants, extents and the like by what they hold, so that each exists once. */
  readonly #shared = new Map<string, string>();
  readonly #inputs: readonly OnnxValue[];

  constructor(inputs: readonly OnnxValue[]) {
    this.#inputs = inputs;
  }

  get nodes(): readonly OnnxNode[] {
    return this.#nodes;
  }

  get initializers(): readonly OnnxInitializer[] {
    return [...this.#initializers.values()];
  }

  /** Adds a node with one output and returns that output's name. */
  node(
    op: string,
    inputs: readonly string[],
    attributes: Readonly<Record<string, OnnxAttribute>> = {},
  ): string {
    return this.nodeOf(op, inputs, 1, attributes)[0] as string;
  }

  /** Adds a node with `count` outputs and returns their names. */
  nodeOf(
    op: string,
    inputs: readonly string[],
    count: number,
    attributes: Readonly<Record<string, OnnxAttribute>> = {},
  ): string[] {
    const outputs = Array.from({ length: count }, () => this.#fresh(op));
    this.#nodes.push({ op, inputs, outputs, attributes });
    return outputs;
  }

  /** Gives a value the name of a graph output. */
  output(name: string, value: string): void {
    this.#nodes.push({ op: 'Identity', inputs: [value], outputs: [name], attributes: {} });
  }

  /** Adds a weight under its own name; a name that is taken gets a number. */
  initializer(
    wanted: string,
    type: OnnxType,
    shape: readonly number[],
    read: () => Uint8Array,
    trained = false,
  ): string {
    const taken = this.#initializers.has(wanted) || this.#inputs.some(input => input.name === wanted);
    const name = taken ? this.#fresh(wanted) : wanted;
    this.#initializers.set(name, { name, type, shape, read, trained });
    return name;
  }

  /** A constant that exists once however often it is asked for. */
  constant(type: OnnxType, shape: readonly number[], bytes: Uint8Array): string {
    const key = `${type} [${shape}] ${Buffer.from(bytes).toString('latin1')}`;
    return this.#share(key, () => this.initializer(this.#fresh('constant'), type, shape, () => bytes));
  }

  /** A constant of rank 0. */
  scalar(value: number, type: RecordedType | 'int64'): string {
    return this.constant(type, [], bytesOf([value], type));
  }

  /** A constant int64 vector. */
  ints(values: readonly number[]): string {
    return this.constant('int64', [values.length], bytesOf(values, 'int64'));
  }

  /** An int64 vector of extents: a constant where all are numbers, else computed from the shapes of the inputs. */
  extents(list: readonly Extent[]): string {
    const numbers = list.filter(e => typeof e === 'number');
    if (numbers.length === list.length) return this.ints(numbers);
    const parts = list.map(e => this.#extent(e));
    if (parts.length === 1) return parts[0] as string;
    return this.#share(`extents ${list.map(describeExtent).join(',')}`, () =>
      this.node('Concat', parts, { axis: 0n }),
    );
  }

  /** A value of rank 0 and the given type from an extent. */
  extentScalar(extent: Extent, type: RecordedType | 'int64'): string {
    if (typeof extent === 'number') return this.scalar(extent, type);
    return this.#share(`scalar ${type} ${describeExtent(extent)}`, () => {
      const scalar = this.node('Squeeze', [this.#extent(extent), this.ints([0])]);
      return type === 'int64' ? scalar : this.cast(scalar, type);
    });
  }

  cast(value: string, type: OnnxType): string {
    return this.node('Cast', [value], { to: BigInt(ONNX_TYPES[type]) });
  }

  transpose(value: string, perm: readonly number[]): string {
    return this.node('Transpose', [value], { perm: perm.map(BigInt) });
  }

  /** Reshapes; one symbolic length is left to the runtime to infer. */
  reshape(value: string, shape: readonly Extent[]): string {
    const symbolic = shape.filter(isAffine).length;
    const inferable = symbolic === 1 && shape.every(e => e !== 0);
    const target = inferable ? this.ints(shape.map(e => (isAffine(e) ? -1 : e))) : this.extents(shape);
    // allowzero: a 0 means an empty axis, as in TensorFlow.js, and not "copy from the input".
    return this.node('Reshape', [value, target], shape.includes(0) ? { allowzero: 1n } : {});
  }

  slice(
    value: string,
    begin: readonly Extent[],
    end: readonly Extent[],
    axes: readonly number[],
    steps?: readonly number[],
  ): string {
    if (axes.length === 0) return value;
    const inputs = [value, this.extents(begin), this.extents(end), this.ints(axes)];
    return this.node('Slice', steps ? [...inputs, this.ints(steps)] : inputs);
  }

  /** An int64 vector of one element. */
  #extent(extent: Extent): string {
    if (typeof extent === 'number') return this.ints([extent]);
    return this.#share(`extent ${describeExtent(extent)}`, () => {
      let sum: string | undefined;
      for (const { variable, factor } of extent.terms) {
        const size = this.#variable(variable);
        const term = factor === 1 ? size : this.node('Mul', [size, this.ints([factor])]);
        sum = sum === undefined ? term : this.node('Add', [sum, term]);
      }
      return extent.base === 0
        ? (sum as string)
        : this.node('Add', [sum as string, this.ints([extent.base])]);
    });
  }

  /** The size of a variable, from an axis of an input whose length is factor·variable + base. */
  #variable(variable: string): string {
    const [first, ...others] = factorsOf(variable) as [string, ...string[]];
    return others.reduce(
      (product, other) =>
        this.#share(`variable ${variable}`, () => this.node('Mul', [product, this.#single(other)])),
      this.#single(first),
    );
  }

  #single(variable: string): string {
    for (const { name, shape } of this.#inputs) {
      const axis = shape.findIndex(
        e => isAffine(e) && e.terms.length === 1 && e.terms[0]?.variable === variable,
      );
      const extent = shape[axis];
      if (!isAffine(extent)) continue;
      const factor = extent.terms[0]?.factor ?? 1;
      return this.#share(`variable ${variable}`, () => {
        const length = this.node('Shape', [name], { start: BigInt(axis), end: BigInt(axis + 1) });
        const multiple = extent.base === 0 ? length : this.node('Sub', [length, this.ints([extent.base])]);
        return factor === 1 ? multiple : this.node('Div', [multiple, this.ints([factor])]);
      });
    }
    throw new GroundError('export', `no input has an axis whose length tells the number of ${variable}`);
  }

  #share(key: string, make: () => string): string {
    const known = this.#shared.get(key);
    if (known !== undefined) return known;
    const name = make();
    this.#shared.set(key, name);
    return name;
  }

  #fresh(stem: string): string {
    const count = (this.#counts.get(stem) ?? 0) + 1;
    this.#counts.set(stem, count);
    return `${stem}_${count}`;
  }
}

/** Little-endian raw data of numbers. */
export function bytesOf(
  values: readonly number[],
  type: Exclude<OnnxType, 'float16' | 'int8' | 'uint8'>,
): Uint8Array {
  switch (type) {
    case 'float32':
      return new Uint8Array(Float32Array.from(values).buffer);
    case 'int32':
      return new Uint8Array(Int32Array.from(values).buffer);
    case 'int64':
      return new Uint8Array(BigInt64Array.from(values, BigInt).buffer);
    case 'bool':
      return Uint8Array.from(values, v => (v ? 1 : 0));
  }
}

/** What the graph's signature says of a recorded value. */
export function onnxValue(name: string, value: SymbolicValue): OnnxValue {
  return { name, type: value.dtype satisfies RecordedType, shape: value.shape };
}
