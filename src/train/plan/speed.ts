import { CompiledFunctions } from '../../engine/compile.ts';
import * as tf from '../../engine/tf.ts';
import { flopsOf, type Product } from './cost.ts';

/** What the engine does on this machine. */
export interface MachineSpeed {
  /** Floating-point operations a second in matrix products like the stage's. */
  readonly flops: number;
  /** Bytes a second that an element-wise op reads and writes. */
  readonly bytes: number;
  /** What starting an op costs in a recorded step, or one by one where steps are not recorded. Seconds. */
  readonly perOp: number;
}

/** Sides of measured matrices, at most: the speed of larger ones is the same, only the wait is longer. */
const LARGEST_SIDE = 1024;
/** How long each measurement goes on, at least, seconds. */
const MEASURED_SECONDS = 0.1;
/** Shapes of products that are measured, those with most operations. */
const MEASURED_PRODUCTS = 6;
/** Ops of the chain that is timed for what an op costs. */
const CHAIN = 400;

/**
 * Measures the engine in use: the matrix products given, weighted by their operations, the sum of two large vectors,
 * and a chain of ops on a few numbers. Takes about a second.
 */
export function measureSpeed(
  products: readonly { readonly product: Product; readonly flops: number }[],
): MachineSpeed {
  const likely = products.slice(0, MEASURED_PRODUCTS);
  const total = likely.reduce((sum, { flops }) => sum + flops, 0);
  const seconds = likely.reduce((sum, { product, flops }) => sum + flops / productSpeed(product), 0);
  return { flops: total > 0 ? total / seconds : 0, bytes: memorySpeed(), perOp: opCost() };
}

/** Sides of the square matrices whose product shows the machine's best; the next is tried while one is quick. */
const PEAK_SIDES = [256, 512, 1024, 2048, 4096, 8192];
/** A product that takes longer than this is large enough, seconds. */
const LONG_PRODUCT = 0.02;

/**
 * Most operations a second that the engine in use reaches in one matrix product. Takes about a third of a second. Small
 * products come first: on a busy machine some of them run undisturbed.
 */
export function measurePeak(): number {
  let best = 0;
  for (const side of PEAK_SIDES) {
    const flops = productSpeed({ batch: 1, rows: side, inner: side, columns: side }, side);
    best = Math.max(best, flops);
    if (2 * side ** 3 > best * LONG_PRODUCT) break;
  }
  return best;
}

function productSpeed(product: Product, largest = LARGEST_SIDE): number {
  const shrunk = {
    batch: Math.min(product.batch, 64),
    rows: Math.min(product.rows, largest),
    inner: Math.min(product.inner, largest),
    columns: Math.min(product.columns, largest),
  };
  const { batch, rows, inner, columns } = shrunk;
  const shape = (a: number, b: number): number[] => (batch === 1 ? [a, b] : [batch, a, b]);
  const a = tf.fill(shape(rows, inner), 0.5);
  const b = tf.fill(shape(inner, columns), 0.5);
  const best = bestSeconds(() => tf.matMul(a, b));
  tf.dispose([a, b]);
  return flopsOf(shrunk) / best;
}

function memorySpeed(): number {
  const length = 2 ** 21;
  const a = tf.fill([length], 0.5);
  const b = tf.fill([length], 0.5);
  const best = bestSeconds(() => tf.add(a, b));
  tf.dispose([a, b]);
  return (3 * 4 * length) / best;
}

function opCost(): number {
  const functions = new CompiledFunctions(1);
  const x = tf.fill([8], 0.5);
  const chain = (): tf.Tensor[] => {
    let y: tf.Tensor = x;
    for (let i = 0; i < CHAIN; i++) y = tf.sin(y);
    return [y];
  };
  const best = bestSeconds(() => functions.call('chain', [x], chain)[0] as tf.Tensor);
  functions.dispose();
  x.dispose();
  return best / CHAIN;
}

/** The shortest of repeated runs: what disturbs a measurement only ever makes it longer. */
function bestSeconds(run: () => tf.Tensor): number {
  // The first call records, compiles and warms up.
  run().dispose();
  let best = Number.POSITIVE_INFINITY;
  const end = performance.now() + 1000 * MEASURED_SECONDS;
  do {
    const began = performance.now();
    const result = run();
    // On a GPU ops are queued: reading one number waits for them.
    tf.tidy(() => tf.slice(tf.reshape(result, [result.size]), 0, 1).dataSync());
    best = Math.min(best, (performance.now() - began) / 1000);
    result.dispose();
  } while (performance.now() < end);
  return best;
}
