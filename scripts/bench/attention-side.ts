/** Our side of the benchmark of attention: one length, forward and backward, as the language model runs it. */
import { CompiledFunctions } from '../../src/engine/compile.ts';
import { startEngine } from '../../src/engine/engine.ts';
import * as tf from '../../src/engine/tf.ts';
import { nativeAttention } from '../../src/nn/native.ts';
import { attentionRequest } from './attention-protocol.ts';
import { readShapes } from './shapes.ts';
import { peakMemory, serve, THREADS, timeOf } from './side.ts';

const length = Number(process.argv[2]);
const causal = process.argv[3] === 'causal';

await startEngine({ device: 'cpu', threads: THREADS });
const { batch, heads, width } = readShapes().attention;
const rows = batch * length;

/** Numbers that both sides can make: sines of their places. */
function waves(step: number): tf.Tensor2D {
  const data = Float32Array.from({ length: rows * heads * width }, (_, i) => Math.sin(step * i));
  return tf.tensor2d(data, [rows, heads * width]);
}

const inputs = [waves(0.37), waves(0.53), waves(0.71), waves(0.11)] as const;
const functions = new CompiledFunctions();
const gradients = (): tf.Tensor[] =>
  functions.call('attention', inputs, () => {
    const [q, k, v, dy] = inputs;
    const options = { batch, heads, keyHeads: heads, causal, segments: null };
    const { grads } = tf.engine().gradients(() => nativeAttention(q, k, v, options), [q, k, v], dy);
    return grads;
  });

await serve(async request => {
  const asked = attentionRequest.parse(request);
  switch (asked.do) {
    case 'first': {
      const before = peakMemory();
      const made = gradients();
      const bytes = peakMemory() - before;
      const squares = made.reduce((sum, g) => sum + (tf.sum(tf.square(g)).dataSync()[0] ?? 0), 0);
      tf.dispose(made);
      return { bytes, squares };
    }
    case 'time':
      return { seconds: timeOf(asked.seconds, () => tf.dispose(gradients())) };
  }
});
