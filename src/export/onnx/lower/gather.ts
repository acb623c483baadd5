import type { GraphBuilder } from '../builder.ts';
import type { LoweredCall, LoweringTable } from './lowering.ts';

/** Kernels that read or write at indices. */
export const GATHERS: LoweringTable = {
  GatherNd: (call, g) => g.node('GatherND', [call.input('params'), g.cast(call.input('indices'), 'int64')]),

  GatherV2: (call, g) => {
    const axis = call.axis('axis', call.value('x').shape.length);
    const batchDims = call.number('batchDims', 0);
    if (batchDims === 0) {
      return g.node('Gather', [call.input('x'), call.input('indices')], { axis: BigInt(axis) });
    }
    if (axis !== batchDims) throw call.failure(`gathering along axis ${axis} with batchDims ${batchDims}`);
    const tuples = g.node('Unsqueeze', [g.cast(call.input('indices'), 'int64'), g.ints([-1])]);
    return g.node('GatherND', [call.input('x'), tuples], { batch_dims: BigInt(batchDims) });
  },

  OneHot: (call, g) => {
    const { dtype } = call.output;
    const classes = g.ints(Array.from({ length: call.number('depth') }, (_, i) => i));
    const indices = g.node('Unsqueeze', [g.cast(call.input('indices'), 'int64'), g.ints([-1])]);
    const hit = g.node('Equal', [indices, classes]);
    const [on, off] = [call.number('onValue'), call.number('offValue')];
    return dtype === 'bool' ? hit : g.node('Where', [hit, g.scalar(on, dtype), g.scalar(off, dtype)]);
  },

  // Into zeros; updates of the same place add up.
  ScatterNd: (call, g) => {
    const { dtype, shape } = call.output;
    return scatter(call, g, g.node('Expand', [g.scalar(0, dtype), g.extents(shape)]), 'add');
  },

  TensorScatterUpdate: (call, g) => scatter(call, g, call.input('tensor'), 'none'),
};

function scatter(call: LoweredCall, g: GraphBuilder, target: string, reduction: string): string {
  const indices = g.cast(call.input('indices'), 'int64');
  return g.node('ScatterND', [target, indices, call.input('updates')], { reduction });
}
