import type { RecordedConstant, RecordedValue, Recording } from '../engine/record.ts';
import { GroundError } from '../errors.ts';
import {
  type Affine,
  type Extent,
  evaluate,
  productOf,
  type SymbolicAttribute,
  type SymbolicCall,
  type SymbolicConstant,
  type SymbolicGraph,
  type SymbolicValue,
  unifyAttribute,
} from './symbolic.ts';

/** A network recorded with inputs of certain sizes. */
export interface SizedRecording {
  readonly sizes: Readonly<Record<string, number>>;
  readonly recording: Recording;
}

/**
 * Makes one graph with symbolic sizes out of recordings of the same function at several sizes. The first recording
 * has the largest sizes, of which the graph's constants are made; each of the others but the last differs in one
 * variable, or in two whose product may occur (to the same values as where they differ alone); the last differs in all of
 * them, to values not seen before, and proves the formulas found.
 *
 * A single recording gives a graph of fixed sizes.
 *
 * @throws GroundError('export') naming the call where the recordings differ in more than affine sizes
 */
export function unifyRecordings(recordings: readonly SizedRecording[]): SymbolicGraph {
  const [first] = recordings;
  if (!first) throw new GroundError('export', 'there is no recording to export');
  const variables = Object.keys(first.sizes).filter(name =>
    recordings.some(r => r.sizes[name] !== first.sizes[name]),
  );
  const solve = (values: readonly number[]): Extent | undefined => fitAffine(values, recordings, variables);
  const all = recordings.map(r => r.recording);
  checkSameLength(recordings);

  const values = new Map<number, SymbolicValue>();
  /** For each recording: its own ids to those of the first. */
  const canonical = all.map(() => new Map<number, number>());
  const constants = new Map<number, SymbolicConstant>();

  const unifyShape = (parts: readonly RecordedValue[], what: string): readonly Extent[] => {
    const rank = parts[0]?.shape.length ?? 0;
    const shape = Array.from({ length: rank }, (_, axis) =>
      parts.every(p => p.shape.length === rank) ? solve(parts.map(p => p.shape[axis] ?? 0)) : undefined,
    );
    if (shape.some(extent => extent === undefined)) {
      throw differs(what, `shapes [${parts.map(p => p.shape.join(', ')).join('], [')}]`);
    }
    return shape.filter(extent => extent !== undefined);
  };

  const define = (parts: readonly RecordedValue[], what: string): SymbolicValue => {
    const [head] = parts as [RecordedValue];
    const value = { id: head.id, shape: unifyShape(parts, what), dtype: head.dtype };
    for (const [i, part] of parts.entries()) canonical[i]?.set(part.id, head.id);
    values.set(value.id, value);
    return value;
  };

  /** The value that the recordings call by these ids. */
  const use = (ids: readonly number[], what: string): SymbolicValue => {
    const known = ids.map((id, i) => canonical[i]?.get(id));
    if (known.every(id => id !== undefined && id === known[0])) {
      return values.get(known[0] as number) as SymbolicValue;
    }
    const parts = ids.map((id, i) => all[i]?.constants.get(id));
    if (known.some(id => id !== undefined) || parts.some(part => part === undefined)) {
      throw differs(what, 'what it reads');
    }
    const found = parts.filter(part => part !== undefined);
    const value = define(found, what);
    constants.set(value.id, unifyConstant(found, value, what));
    return value;
  };

  const inputs: Record<string, SymbolicValue> = {};
  for (const name of Object.keys(first.recording.inputs)) {
    inputs[name] = define(
      all.map(r => r.inputs[name]).filter(v => v !== undefined),
      `input ${name}`,
    );
  }
  const calls = first.recording.calls.map((call, index): SymbolicCall => {
    const same = all.map(r => r.calls[index]).filter(c => c !== undefined);
    const what = `${call.kernel} (${call.where})`;
    if (same.some(c => c.kernel !== call.kernel || keysOf(c.inputs) !== keysOf(call.inputs))) {
      throw differs(what, `the kernel (${same.map(c => c.kernel).join(', ')})`);
    }
    const callInputs: Record<string, SymbolicValue> = {};
    for (const name of Object.keys(call.inputs)) {
      callInputs[name] = use(
        same.map(c => c.inputs[name] as number),
        what,
      );
    }
    const attrs: Record<string, SymbolicAttribute> = {};
    for (const name of Object.keys(call.attrs)) {
      const attribute = unifyAttribute(
        same.map(c => c.attrs[name] ?? null),
        solve,
      );
      if (attribute === undefined) throw differs(what, `attribute ${name}`);
      attrs[name] = attribute;
    }
    const outputs = call.outputs.map((_, i) =>
      define(
        same.map(c => c.outputs[i]).filter(v => v !== undefined),
        what,
      ),
    );
    return { kernel: call.kernel, inputs: callInputs, attrs, outputs, where: call.where };
  });
  const outputs: Record<string, SymbolicValue> = {};
  for (const name of Object.keys(first.recording.outputs)) {
    outputs[name] = use(
      all.map(r => r.outputs[name]?.id ?? -1),
      `output ${name}`,
    );
  }
  return { variables, calls, inputs, outputs, constants };
}

/**
 * b + Σ c·size + Σ d·size·size', found from the recordings that vary one size or two and proved by the others; undefined if
 * there is none.
 */
function fitAffine(
  values: readonly number[],
  recordings: readonly SizedRecording[],
  variables: readonly string[],
): Extent | undefined {
  const [base] = values;
  if (base === undefined) return undefined;
  if (values.every(v => v === base)) return base;
  const sizes0 = recordings[0]?.sizes ?? {};
  /** The value where exactly these variables have other sizes, by how much each differs; the last one only proves. */
  const varied = (names: readonly string[]): { value: number; steps: readonly number[] } | undefined => {
    const at = recordings.findIndex(
      ({ sizes }, i) =>
        (names.length === 1 || i < recordings.length - 1) &&
        variables.every(v => (sizes[v] !== sizes0[v]) === names.includes(v)),
    );
    const value = values[at];
    if (value === undefined) return undefined;
    return { value, steps: names.map(v => (recordings[at]?.sizes[v] ?? 0) - (sizes0[v] ?? 0)) };
  };
  const products: { variable: string; factor: number; of: readonly [string, string] }[] = [];
  for (const [i, a] of variables.entries()) {
    for (const b of variables.slice(i + 1)) {
      const [both, onlyA, onlyB] = [varied([a, b]), varied([a]), varied([b])];
      if (!both || !onlyA || !onlyB) continue;
      const area = (both.steps[0] ?? 0) * (both.steps[1] ?? 0);
      const factor = (both.value - onlyA.value - onlyB.value + base) / area;
      if (factor !== 0) products.push({ variable: productOf(a, b), factor, of: [a, b] });
    }
  }
  const terms: { variable: string; factor: number }[] = [];
  for (const variable of variables) {
    const alone = varied([variable]);
    if (!alone) return undefined;
    const slope = (alone.value - base) / (alone.steps[0] ?? 1);
    const factor = products.reduce((rest, { of: [a, b], factor: d }) => {
      const other = variable === a ? b : variable === b ? a : undefined;
      return other === undefined ? rest : rest - d * (sizes0[other] ?? 0);
    }, slope);
    if (factor !== 0) terms.push({ variable, factor });
  }
  terms.push(...products.map(({ variable, factor }) => ({ variable, factor })));
  if (terms.some(({ factor }) => !Number.isInteger(factor))) return undefined;
  const fitted: Affine = { base: base - evaluate({ base: 0, terms }, sizes0), terms };
  return recordings.every(({ sizes }, i) => values[i] === evaluate(fitted, sizes)) ? fitted : undefined;
}

/** The constant whose leading corner each of the recordings used. */
function unifyConstant(
  parts: readonly RecordedConstant[],
  value: SymbolicValue,
  what: string,
): SymbolicConstant {
  const [largest] = parts as [RecordedConstant];
  // A weight is the same tensor everywhere: no need to compare its values.
  if (parts.some(part => part.id !== largest.id)) {
    const data = largest.read();
    for (const part of parts) {
      if (
        part.shape.some((n, axis) => n > (largest.shape[axis] ?? 0)) ||
        !isCorner(part, largest.shape, data)
      ) {
        throw differs(what, 'the values of a constant');
      }
    }
  }
  return { ...value, name: largest.name, stored: largest.shape, read: largest.read };
}

function isCorner(part: RecordedConstant, shape: readonly number[], data: ArrayLike<number>): boolean {
  const small = part.read();
  const rank = shape.length;
  for (let i = 0; i < small.length; i++) {
    let rest = i;
    let at = 0;
    let stride = 1;
    for (let axis = rank - 1; axis >= 0; axis--) {
      const n = part.shape[axis] ?? 1;
      at += (rest % n) * stride;
      rest = Math.floor(rest / n);
      stride *= shape[axis] ?? 1;
    }
    if (!Object.is(small[i], data[at])) return false;
  }
  return true;
}

function checkSameLength(recordings: readonly SizedRecording[]): void {
  const lengths = recordings.map(r => r.recording.calls.length);
  if (lengths.some(n => n !== lengths[0])) {
    const list = recordings.map(r => `${JSON.stringify(r.sizes)}: ${r.recording.calls.length}`).join('; ');
    throw new GroundError('export', `the number of kernels depends on the sizes of the inputs (${list})`);
  }
}

function differs(what: string, part: string): GroundError {
  return new GroundError(
    'export',
    `${what}: ${part} cannot be written as a formula of the sizes of the inputs`,
  );
}

function keysOf(record: Readonly<Record<string, unknown>>): string {
  return Object.keys(record).join(' ');
}
