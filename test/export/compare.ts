import type { Recording, RecordOptions } from '../../src/engine/record.ts';
import { recordKernels } from '../../src/engine/record.ts';
import * as tf from '../../src/engine/tf.ts';
import { lowerGraph } from '../../src/export/onnx/lower.ts';
import { type OnnxTensor, openOnnx } from '../../src/export/onnx/run.ts';
import { writeOnnx } from '../../src/export/onnx/write.ts';
import { type SizedRecording, unifyRecordings } from '../../src/export/unify.ts';
import { Random } from '../../src/random.ts';

export type Tensors = Record<string, tf.Tensor>;
export type Network = (inputs: Tensors) => tf.Tensor | Tensors;

/** Normal random numbers of a shape. */
export function randn(shape: number[], seed: number, scale = 1): tf.Tensor {
  const random = new Random('export-test', seed);
  const size = shape.reduce((n, d) => n * d, 1);
  return tf.tensor(
    Float32Array.from({ length: size }, () => scale * random.normal()),
    shape,
    'float32',
  );
}

/** Random integers in [low, high). */
export function randint(shape: number[], low: number, high: number, seed: number): tf.Tensor {
  const random = new Random('export-test', seed);
  const size = shape.reduce((n, d) => n * d, 1);
  return tf.tensor(
    Int32Array.from({ length: size }, () => random.int(low, high)),
    shape,
    'int32',
  );
}

export function record(inputs: Tensors, network: Network, options: RecordOptions = {}): Recording {
  return recordKernels(inputs, () => named(network(inputs)), options);
}

/** Writes the recordings as ONNX into `folder`, runs them there on `inputs` and compares with TensorFlow.js. */
export async function compareWithOnnx(
  folder: string,
  recordings: readonly SizedRecording[],
  inputs: Tensors,
  network: Network,
): Promise<{ worst: number; scale: number }> {
  const graph = lowerGraph(unifyRecordings(recordings));
  const producer = { name: 'test', version: '0' };
  await writeOnnx(folder, graph, { name: 'test', producer, metadata: {} });
  const session = await openOnnx(folder);
  try {
    const got = await session.run(Object.fromEntries(Object.entries(inputs).map(([n, t]) => [n, toOnnx(t)])));
    const want = tf.tidy(() => named(network(inputs)));
    let worst = 0;
    let scale = 0;
    for (const [name, tensor] of Object.entries(want)) {
      const there = got[name];
      if (!there) throw new Error(`no output ${name}`);
      if (there.type !== tensor.dtype) throw new Error(`${name} is ${there.type}, expected ${tensor.dtype}`);
      if (there.shape.join() !== tensor.shape.join()) {
        throw new Error(`${name} is [${there.shape}], expected [${tensor.shape}]`);
      }
      const here = tensor.dataSync();
      for (let i = 0; i < here.length; i++) {
        const [a, b] = [Number(here[i]), Number(there.data[i])];
        if (Object.is(a, b) || a === b) continue;
        worst = Math.max(worst, Number.isNaN(a - b) ? Number.POSITIVE_INFINITY : Math.abs(a - b));
        scale = Math.max(scale, Math.abs(a));
      }
    }
    tf.dispose(Object.values(want).filter(t => !Object.values(inputs).includes(t)));
    return { worst, scale };
  } finally {
    await session.close();
  }
}

export function toOnnx(tensor: tf.Tensor): OnnxTensor {
  const { dtype } = tensor;
  if (dtype !== 'float32' && dtype !== 'int32' && dtype !== 'bool') throw new Error(`dtype ${dtype}`);
  return { data: tensor.dataSync<'float32' | 'int32' | 'bool'>(), shape: tensor.shape, type: dtype };
}

function named(result: tf.Tensor | Tensors): Tensors {
  return result instanceof tf.Tensor ? { result } : result;
}
