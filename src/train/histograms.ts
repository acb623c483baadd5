/** Weights and gradients summed up for the log. */
import * as tf from '../engine/tf.ts';
import type { Parameter } from '../nn/parameter.ts';
import type { Histogram } from '../telemetry/events.ts';
import type { Gradients } from './step.ts';

/** Most values of a tensor that are looked at. */
const MOST_VALUES = 16_384;
const BINS = 30;

/** Histograms of parameters' values, by `weights/<name>`. */
export function weightHistograms(parameters: readonly Parameter[]): Histogram[] {
  return parameters.map(({ name, value }) => histogramOf(`weights/${name}`, valuesOf(value)));
}

/** Histograms of gradients, by `gradients/<name>`; parameters without one are left out. */
export function gradientHistograms(parameters: readonly Parameter[], gradients: Gradients): Histogram[] {
  return gradients.flatMap((gradient, i) => {
    const name = parameters[i]?.name;
    return gradient && name !== undefined ? histogramOf(`gradients/${name}`, valuesOf(gradient)) : [];
  });
}

/** Thirty bins of one width from the smallest to the largest finite value, and moments of all finite values. */
export function histogramOf(tag: string, values: ArrayLike<number>): Histogram {
  let [finite, min, max, sum, squares] = [0, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 0, 0];
  for (let i = 0; i < values.length; i++) {
    const value = values[i] ?? Number.NaN;
    if (!Number.isFinite(value)) continue;
    finite++;
    if (value < min) min = value;
    if (value > max) max = value;
    sum += value;
    squares += value * value;
  }
  if (finite === 0) [min, max] = [0, 0];
  const mean = finite === 0 ? 0 : sum / finite;
  return {
    tag,
    count: values.length,
    nonFinite: values.length - finite,
    min,
    max,
    mean,
    deviation: finite === 0 ? 0 : Math.sqrt(Math.max(0, squares / finite - mean * mean)),
    bins: binsOf(values, min, max),
  };
}

function binsOf(values: ArrayLike<number>, min: number, max: number): [number, number, number][] {
  // All values alike: one bin around them, since one without width shows nothing.
  const around = Math.max(0.5, Math.abs(min) / 100);
  const [low, high] = max > min ? [min, max] : [min - around, max + around];
  const counts = new Array<number>(BINS).fill(0);
  const scale = BINS / (high - low);
  for (let i = 0; i < values.length; i++) {
    const value = values[i] ?? Number.NaN;
    if (!Number.isFinite(value)) continue;
    const bin = Math.min(BINS - 1, Math.floor((value - low) * scale));
    counts[bin] = (counts[bin] ?? 0) + 1;
  }
  const edge = (i: number): number => low + (i * (high - low)) / BINS;
  return counts.map((count, i) => [edge(i), edge(i + 1), count]);
}

/** All values of a small tensor, evenly spaced ones of a large one: no more than that leaves the engine. */
function valuesOf(tensor: tf.Tensor): ArrayLike<number> {
  const stride = Math.ceil(tensor.size / MOST_VALUES);
  if (stride === 1) return tensor.dataSync();
  return tf.tidy(() =>
    tf.stridedSlice(tf.reshape(tensor, [tensor.size]), [0], [tensor.size], [stride]).dataSync(),
  );
}
