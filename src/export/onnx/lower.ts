import { GroundError } from '../../errors.ts';
import type { SymbolicCall, SymbolicConstant, SymbolicGraph } from '../symbolic.ts';
import { isAffine } from '../symbolic.ts';
import { GraphBuilder, type OnnxGraph, type OnnxValue, onnxValue } from './builder.ts';
import { ELEMENTWISE } from './lower/elementwise.ts';
import { GATHERS } from './lower/gather.ts';
import { LINEAR } from './lower/linear.ts';
import { LoweredCall, type LoweringTable } from './lower/lowering.ts';
import { REDUCTIONS } from './lower/reduce.ts';
import { SHAPES } from './lower/shape.ts';

/** One lowering a kernel; every TensorFlow.js kernel that can be exported is here. */
export const LOWERINGS: LoweringTable = { ...ELEMENTWISE, ...REDUCTIONS, ...LINEAR, ...GATHERS, ...SHAPES };

/** Unnamed constants up to this many bytes are compared, so that equal ones are stored once. */
const SHARED_CONSTANT_BYTES = 65_536;

/**
 * Turns a recorded network into ONNX nodes. Calls and inputs that no output depends on are left out; weights keep
 * their names.
 *
 * @param wide names of inputs that callers give as int64 where TensorFlow.js, which has no such type, has int32
 * @throws GroundError('export') naming a kernel that has no lowering, and the line of code that uses it
 */
export function lowerGraph(graph: SymbolicGraph, wide: ReadonlySet<string> = new Set()): OnnxGraph {
  const { calls, used } = liveParts(graph);
  const inputs: OnnxValue[] = [];
  const names = new Map<number, string>();
  for (const [name, value] of Object.entries(graph.inputs)) {
    if (!used.has(value.id)) continue;
    const input = onnxValue(name, value);
    inputs.push(wide.has(name) ? { ...input, type: 'int64' } : input);
    names.set(value.id, name);
  }
  const g = new GraphBuilder(inputs);
  for (const [name, value] of Object.entries(graph.inputs)) {
    if (wide.has(name) && used.has(value.id)) names.set(value.id, g.cast(name, 'int32'));
  }
  for (const constant of graph.constants.values()) {
    if (used.has(constant.id)) names.set(constant.id, addConstant(g, constant));
  }
  for (const call of calls) {
    const lowering = LOWERINGS[call.kernel];
    if (!lowering) {
      throw new GroundError(
        'export',
        `kernel ${call.kernel} (${call.where}) has no counterpart in ONNX yet`,
        {
          hint: 'write the layer with other operations, or add a lowering in src/export/onnx/lower',
        },
      );
    }
    const lowered = lowering(new LoweredCall(call, names), g);
    const results = typeof lowered === 'string' ? [lowered] : lowered;
    for (const [i, output] of call.outputs.entries()) names.set(output.id, results[i] as string);
  }
  const outputs = Object.entries(graph.outputs).map(([name, value]) => {
    g.output(name, names.get(value.id) as string);
    return onnxValue(name, value);
  });
  return { nodes: g.nodes, initializers: g.initializers, inputs, outputs };
}

/** The calls that the outputs depend on, and the ids of all values they read. */
function liveParts(graph: SymbolicGraph): { calls: SymbolicCall[]; used: ReadonlySet<number> } {
  const used = new Set(Object.values(graph.outputs).map(value => value.id));
  const live: SymbolicCall[] = [];
  for (const call of [...graph.calls].reverse()) {
    if (!call.outputs.some(output => used.has(output.id))) continue;
    live.push(call);
    for (const input of Object.values(call.inputs)) used.add(input.id);
  }
  return { calls: live.reverse(), used };
}

function addConstant(g: GraphBuilder, constant: SymbolicConstant): string {
  const { dtype, stored, shape, name } = constant;
  const axes = shape.flatMap((extent, axis) => (isAffine(extent) ? [axis] : []));
  const read = (): Uint8Array => {
    const values = constant.read();
    return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  };
  if (axes.length > 0) {
    const values = constant.read();
    const [first = 0] = values;
    // A block of zeros or ones of any size needs no table, and so has no largest size.
    if (values.every(value => value === first)) {
      return g.node('Expand', [g.scalar(first, dtype), g.extents(shape)]);
    }
  }
  const bytes = stored.reduce((n, length) => n * length, dtype === 'bool' ? 1 : 4);
  const whole =
    name === undefined && bytes <= SHARED_CONSTANT_BYTES
      ? g.constant(dtype, stored, read())
      : g.initializer(name ?? `table_${constant.id}`, dtype, stored, read, name !== undefined);
  return g.slice(
    whole,
    axes.map(() => 0),
    axes.map(axis => shape[axis] ?? 0),
    axes,
  );
}
