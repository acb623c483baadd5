import { combine, type Extent, sameExtent } from '../../symbolic.ts';
import type { GraphBuilder } from '../builder.ts';
import type { LoweredCall, LoweringTable } from './lowering.ts';
import { stridedSlice } from './strided-slice.ts';

/** Kernels that move elements or make tensors without arithmetic. */
export const SHAPES: LoweringTable = {
  BroadcastTo: (call, g) => g.node('Expand', [call.input('x'), g.extents(call.output.shape)]),

  Concat: (call, g) => {
    const axis = call.axis('axis', call.output.shape.length);
    return g.node('Concat', call.list, { axis: BigInt(axis) });
  },

  ExpandDims: (call, g) => g.reshape(call.input('input'), call.output.shape),

  Fill: (call, g) => filled(call, g, call.number('value')),

  LinSpace: (call, g) => {
    const [start, stop, count] = [call.number('start'), call.number('stop'), call.number('num')];
    const step = count > 1 ? (stop - start) / (count - 1) : 0;
    const values = Float32Array.from({ length: count }, (_, i) => start + step * i);
    return g.constant('float32', [count], new Uint8Array(values.buffer));
  },

  MirrorPad: (call, g) => {
    const mode = call.string('mode');
    if (mode !== 'reflect') throw call.failure(`padding of mode ${mode}`);
    return g.node('Pad', [call.input('x'), paddings(call, g)], { mode });
  },

  OnesLike: (call, g) => filled(call, g, 1),

  Pack: (call, g) => {
    const axis = call.axis('axis', call.output.shape.length);
    const parts = call.list.map(part => g.node('Unsqueeze', [part, g.ints([axis])]));
    return g.node('Concat', parts, { axis: BigInt(axis) });
  },

  PadV2: (call, g) => {
    const { dtype } = call.output;
    return g.node('Pad', [call.input('x'), paddings(call, g), g.scalar(call.number('constantValue'), dtype)]);
  },

  Range: (call, g) => {
    const { dtype } = call.output;
    const bounds = ['start', 'stop', 'step'].map(name => g.extentScalar(call.extent(name), dtype));
    return g.node('Range', bounds);
  },

  Reshape: (call, g) => g.reshape(call.input('x'), call.output.shape),

  Reverse: (call, g) => {
    const rank = call.output.shape.length;
    const axes = (call.numbers('dims') ?? []).map(axis => (axis < 0 ? axis + rank : axis));
    const all = (value: number) => axes.map(() => value);
    // From the last element to before the first, whatever the length.
    return g.slice(call.input('x'), all(-1), all(-(2 ** 31)), axes, all(-1));
  },

  Slice: (call, g) => {
    const { shape } = call.value('x');
    const begin = call.extents('begin') ?? [];
    const cuts = shape.flatMap((length, axis) => {
      const from = begin[axis] ?? 0;
      const size = call.output.shape[axis] as Extent;
      return from === 0 && sameExtent(size, length) ? [] : [{ axis, from, to: combine(from, size) }];
    });
    return g.slice(
      call.input('x'),
      cuts.map(cut => cut.from),
      cuts.map(cut => cut.to),
      cuts.map(cut => cut.axis),
    );
  },

  SplitV: (call, g) => {
    const axis = call.axis('axis', call.value('x').shape.length);
    const sizes = g.extents(call.outputs.map(output => output.shape[axis] as Extent));
    return g.nodeOf('Split', [call.input('x'), sizes], call.outputs.length, { axis: BigInt(axis) });
  },

  StridedSlice: stridedSlice,

  Tile: (call, g) => g.node('Tile', [call.input('x'), g.extents(call.extents('reps') ?? [])]),

  Transpose: (call, g) => {
    const perm = call.numbers('perm') ?? [];
    return perm.every((from, to) => from === to) ? call.input('x') : g.transpose(call.input('x'), perm);
  },

  Unpack: (call, g) => {
    const axis = call.axis('axis', call.value('value').shape.length);
    const ones = g.ints(call.outputs.map(() => 1));
    const parts = g.nodeOf('Split', [call.input('value'), ones], call.outputs.length, { axis: BigInt(axis) });
    return parts.map(part => g.node('Squeeze', [part, g.ints([axis])]));
  },

  ZerosLike: (call, g) => filled(call, g, 0),
};

function filled(call: LoweredCall, g: GraphBuilder, value: number): string {
  return g.node('Expand', [g.scalar(value, call.output.dtype), g.extents(call.output.shape)]);
}

/** ONNX's order: what goes before every axis, then what goes after. */
function paddings(call: LoweredCall, g: GraphBuilder): string {
  const pairs = call.pairs('paddings');
  return g.extents([...pairs.map(([before]) => before), ...pairs.map(([, after]) => after)]);
}
