import { hasNativeOps } from '../engine/native-ops.ts';
import * as tf from '../engine/tf.ts';
import { GroundError } from '../errors.ts';
import { fused } from './fused.ts';
import { type GeluKind, nativeGelu, nativeSwiGlu } from './native.ts';

/** The activations that Hugging Face configurations name. */
export type ActivationName = 'quick_gelu' | 'gelu' | 'gelu_new' | 'gelu_pytorch_tanh' | 'relu' | 'silu';

/** x · sigmoid(slope · x): SiLU at slope 1, OpenAI CLIP's GELU at 1.702. */
export function sigmoidLinear(x: tf.Tensor2D, slope: number): tf.Tensor2D {
  return fused(
    [x],
    () => {
      const scaled = slope === 1 ? x : tf.mul(x, slope);
      const gate = tf.sigmoid(scaled);
      return { value: tf.mul(x, gate), saved: [scaled, gate] };
    },
    (dy, saved) => {
      const [scaled, gate] = saved as [tf.Tensor, tf.Tensor];
      return [tf.mul(dy, sigmoidLinearSlope(scaled, gate))];
    },
  );
}

/** The derivative of z · sigmoid(z) where `gate` is sigmoid(z): gate · (1 + z · (1 - gate)). */
function sigmoidLinearSlope(z: tf.Tensor, gate: tf.Tensor): tf.Tensor {
  return tf.mul(gate, tf.add(tf.mul(z, tf.sub(1, gate)), 1));
}

/** max(x, 0). tfjs's own gradient of it takes three operations and a constant of zeros as large as x. */
export function relu<T extends tf.Tensor>(x: T): T {
  return fused<T>(
    [x],
    () => {
      const y = tf.relu(x);
      return { value: y, saved: [y] };
    },
    (dy, saved) => [tf.mul(dy, tf.cast(tf.greater(saved[0] as tf.Tensor, 0), 'float32'))],
  );
}

/** x · Φ(x) with the exact normal distribution function (not the tanh approximation). */
export function gelu(x: tf.Tensor2D): tf.Tensor2D {
  return fused(
    [x],
    () => {
      const phi = tf.mul(tf.add(tf.erf(tf.mul(x, Math.SQRT1_2)), 1), 0.5);
      return { value: tf.mul(x, phi), saved: [x, phi] };
    },
    (dy, saved) => {
      const [input, phi] = saved as [tf.Tensor, tf.Tensor];
      const density = tf.mul(tf.exp(tf.mul(tf.mul(input, input), -0.5)), 1 / Math.sqrt(2 * Math.PI));
      return [tf.mul(dy, tf.add(phi, tf.mul(input, density)))];
    },
  );
}

/** The tanh approximation of GELU, which GPT-2 introduced. */
export function geluTanh(x: tf.Tensor2D): tf.Tensor2D {
  const cubic = tf.mul(x, tf.add(tf.mul(tf.mul(x, x), 0.044715), 1));
  return tf.mul(tf.mul(x, 0.5), tf.add(tf.tanh(tf.mul(cubic, Math.sqrt(2 / Math.PI))), 1));
}

/** silu(gate) · up, the gated unit of Llama and DINOv2-g, both [rows, width]. */
export function swiGlu(gate: tf.Tensor2D, up: tf.Tensor2D): tf.Tensor2D {
  if (hasNativeOps()) return nativeSwiGlu(gate, up);
  return composedSwiGlu(gate, up);
}

/** The twin of the fused op, of operations that every engine has. */
export function composedSwiGlu(gate: tf.Tensor2D, up: tf.Tensor2D): tf.Tensor2D {
  return fused(
    [gate, up],
    () => {
      const s = tf.sigmoid(gate);
      const activated = tf.mul(gate, s);
      return { value: tf.mul(activated, up), saved: [gate, up, s, activated] };
    },
    (dy, saved) => {
      const [g, u, s, activated] = saved as [tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor];
      return [tf.mul(tf.mul(dy, u), sigmoidLinearSlope(g, s)), tf.mul(dy, activated)];
    },
  );
}

/** Applies a named activation to [rows, width]. Throws a model error on a name that it does not know. */
export function activate(name: ActivationName, x: tf.Tensor2D): tf.Tensor2D {
  switch (name) {
    case 'quick_gelu':
      return sigmoidLinear(x, 1.702);
    case 'silu':
      return sigmoidLinear(x, 1);
    case 'gelu':
      return gelu(x);
    case 'gelu_new':
    case 'gelu_pytorch_tanh':
      return geluTanh(x);
    case 'relu':
      return relu(x);
    default:
      throw new GroundError('model', `activation "${String(name)}" is not known`);
  }
}

/** The forms of GELU that the fused op knows, by the names of Hugging Face's configurations. */
const NATIVE_GELU: Partial<Record<ActivationName, GeluKind>> = {
  quick_gelu: 'quick',
  gelu: 'exact',
  gelu_new: 'tanh',
  gelu_pytorch_tanh: 'tanh',
};

/** The activation of x + bias, x [rows, width], bias [width]: in one pass where the engine can. */
export function activateBiased(name: ActivationName, x: tf.Tensor2D, bias: tf.Tensor1D): tf.Tensor2D {
  const kind = NATIVE_GELU[name];
  if (kind !== undefined && hasNativeOps()) return nativeGelu(x, bias, kind);
  return activate(name, tf.add<tf.Tensor2D>(x, bias));
}
