/** How long each op of some code takes. */
import { tensorflowBackend } from './backend.ts';
import * as tf from './tf.ts';

/** One op that ran: times are milliseconds of the clock `performance.now`. */
export interface OpRun {
  /** TensorFlow's op, `write` and `read` for values that come from and go to JavaScript; TensorFlow.js's kernel on WebAssembly. */
  readonly op: string;
  readonly began: number;
  readonly ended: number;
  /** Of its results: `[16,64]`. */
  readonly shapes: readonly string[];
}

/**
 * Runs `work` op by op, recorded functions too, and shows each op. Results are those of a run that is not watched, up to the
 * rounding of ops that a recording merges. On a GPU an op only counts until it is queued; a `read` waits for those before it.
 */
export function profileOps<T>(onOp: (run: OpRun) => void, work: () => T): T {
  const backend = tensorflowBackend();
  if (!backend) return profileKernels(onOp, work);
  const real = backend.binding;
  const timed = <R>(op: string, run: () => R, shapes: (result: R) => string[]): R => {
    const began = performance.now();
    const result = run();
    onOp({ op, began, ended: performance.now(), shapes: shapes(result) });
    return result;
  };
  backend.binding = {
    ...real,
    eagerOnly: true,
    executeOp: (op, attributes, inputs, outputs) =>
      timed(
        op,
        () => real.executeOp(op, attributes, inputs, outputs),
        made => made.map(({ shape }) => shapeText(shape)),
      ),
    createTensor: (shape, dtype, values) =>
      timed(
        'write',
        () => real.createTensor(shape, dtype, values),
        () => [shapeText(shape)],
      ),
    tensorDataSync: id =>
      timed(
        'read',
        () => real.tensorDataSync(id),
        values => [shapeText([values.length])],
      ),
  };
  try {
    return work();
  } finally {
    backend.binding = real;
  }
}

/** The outermost kernels of TensorFlow.js: what one calls inside itself is its own affair. */
function profileKernels<T>(onOp: (run: OpRun) => void, work: () => T): T {
  const engine = tf.engine();
  const original = engine.runKernel;
  let depth = 0;
  engine.runKernel = <R extends tf.Tensor | tf.Tensor[]>(
    kernel: string,
    inputs: tf.NamedTensorMap,
    attributes?: tf.NamedAttrMap,
  ): R => {
    const began = performance.now();
    depth++;
    let result: R;
    try {
      result = original.call(engine, kernel, inputs, attributes) as R;
    } finally {
      depth--;
    }
    if (depth === 0) {
      const made: readonly tf.Tensor[] = Array.isArray(result) ? result : [result];
      onOp({
        op: kernel,
        began,
        ended: performance.now(),
        shapes: made.map(({ shape }) => shapeText(shape)),
      });
    }
    return result;
  };
  try {
    return work();
  } finally {
    engine.runKernel = original;
  }
}

function shapeText(shape: readonly number[]): string {
  return `[${shape.join(',')}]`;
}
