import * as tf from './tf.ts';

/** How many tensors are alive: a step that leaks makes this grow. */
export function tensorCount(): number {
  return tf.memory().numTensors;
}

/** Tensors of one shape. */
export interface TensorGroup {
  /** "float32 [8,128,64]". */
  readonly shape: string;
  readonly count: number;
  /** Of all of them. */
  readonly bytes: number;
}

/** Knows the tensors that were made since it began and are still alive. tfjs counts tensors but keeps no list of them. */
export class TensorCensus {
  readonly #alive = new Map<number, { readonly shape: string; readonly bytes: number }>();
  readonly #stop: () => void;

  /** From here on until `stop`. */
  constructor() {
    const engine = tf.engine();
    const { trackTensor, disposeTensor } = engine;
    engine.trackTensor = (tensor, backend) => {
      trackTensor.call(engine, tensor, backend);
      const shape = `${tensor.dtype} [${tensor.shape}]`;
      this.#alive.set(tensor.id, { shape, bytes: tensor.size * tf.util.bytesPerElement(tensor.dtype) });
    };
    engine.disposeTensor = tensor => {
      this.#alive.delete(tensor.id);
      disposeTensor.call(engine, tensor);
    };
    this.#stop = () => {
      engine.trackTensor = trackTensor;
      engine.disposeTensor = disposeTensor;
    };
  }

  /** Those alive by shape, the shape that comes most often first. */
  groups(): TensorGroup[] {
    const groups = new Map<string, { count: number; bytes: number }>();
    for (const { shape, bytes } of this.#alive.values()) {
      const group = groups.get(shape) ?? { count: 0, bytes: 0 };
      groups.set(shape, { count: group.count + 1, bytes: group.bytes + bytes });
    }
    return [...groups].map(([shape, group]) => ({ shape, ...group })).sort((a, b) => b.count - a.count);
  }

  stop(): void {
    this.#stop();
  }
}
