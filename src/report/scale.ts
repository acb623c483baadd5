/** From numbers to places on a chart. Pure. */

/** A number axis: where a value lies, and the values that are written on it. */
export interface Scale {
  readonly log: boolean;
  readonly low: number;
  readonly high: number;
  readonly ticks: readonly number[];
  /** 0 at `low`, 1 at `high`. */
  place(value: number): number;
}

/** A ratio of values from which powers of ten tell more than distances. */
const LOG_RATIO = 50;

/** Where doubles run out of room for a step between ticks: smaller magnitudes count as 0, larger ones as this. */
const [SMALLEST, LARGEST] = [1e-300, 1e300];

/** Values closer together than this, relative to their magnitude, are one: between them no ticks of few digits lie. */
const RESOLUTION = 1e-9;

/**
 * An axis around all values, of about `count` round ticks. Linear, unless `log` allows powers of ten and values are positive
 * and differ by more than a factor of fifty. Holds whatever is finite, down to the smallest double and up to the largest.
 */
export function scaleOf(values: readonly number[], count: number, options: { log?: boolean } = {}): Scale {
  let [min, max] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  for (const value of values) {
    min = Math.min(min, bounded(value));
    max = Math.max(max, bounded(value));
  }
  if (min > max) [min, max] = [0, 1];
  if (options.log && min > 0 && max / min > LOG_RATIO) return logScale(min, max);
  const magnitude = Math.max(-min, max);
  if (magnitude === 0) [min, max] = [0, 1];
  else if (max - min <= RESOLUTION * magnitude) [min, max] = [Math.min(0, 2 * min), Math.max(0, 2 * max)];
  const step = roundStep((max - min) / count);
  // A range that begins near 0 begins at 0.
  const low = min > 0 && min < 0.3 * max ? 0 : Math.floor(min / step + 1e-9) * step;
  const high = Math.ceil(max / step - 1e-9) * step;
  const ticks = Array.from({ length: Math.round((high - low) / step) + 1 }, (_, i) => tidy(low + i * step));
  return { log: false, low, high, ticks, place: value => (bounded(value) - low) / (high - low) };
}

function bounded(value: number): number {
  if (Math.abs(value) < SMALLEST) return 0;
  return Math.min(LARGEST, Math.max(-LARGEST, value));
}

function logScale(min: number, max: number): Scale {
  const [first, last] = [Math.floor(Math.log10(min) + 1e-9), Math.ceil(Math.log10(max) - 1e-9)];
  const every = Math.ceil((last - first) / 6);
  const powers = Array.from({ length: Math.floor((last - first) / every) + 1 }, (_, i) => first + i * every);
  const [low, high] = [10 ** first, 10 ** last];
  return {
    log: true,
    low,
    high,
    ticks: powers.map(power => 10 ** power),
    place: value => (Math.log10(bounded(value)) - first) / (last - first),
  };
}

/** The next of 1, 2, 5, 10, … times a power of ten. */
function roundStep(step: number): number {
  const power = 10 ** Math.floor(Math.log10(step));
  const factor = [1, 2, 5, 10].find(f => f * power >= step * 0.999) ?? 10;
  return factor * power;
}

/** Without the last digits that adding steps leaves. */
function tidy(value: number): number {
  return Number(value.toPrecision(12));
}

/** A point of a curve: step and value. */
export type Point = readonly [number, number];

/**
 * At most about `most` points that look the same: of each stretch the lowest and the highest, in their order.
 */
export function thinned(points: readonly Point[], most: number): Point[] {
  if (points.length <= most) return [...points];
  const stretches = Math.max(1, Math.floor(most / 2));
  const kept: Point[] = [];
  for (let s = 0; s < stretches; s++) {
    const part = points.slice(
      Math.floor((s * points.length) / stretches),
      Math.floor(((s + 1) * points.length) / stretches),
    );
    let [low, high] = [0, 0];
    part.forEach(([, value], i) => {
      if (value < (part[low]?.[1] ?? value)) low = i;
      if (value > (part[high]?.[1] ?? value)) high = i;
    });
    for (const i of new Set([Math.min(low, high), Math.max(low, high)])) {
      const point = part[i];
      if (point) kept.push(point);
    }
  }
  return kept;
}

/** An exponential moving average over about `window` points, begun without a bias towards the first. */
export function smoothed(points: readonly Point[], window: number): Point[] {
  const keep = 1 - 1 / Math.max(1, window);
  let [sum, weight] = [0, 0];
  return points.map(([step, value]) => {
    sum = keep * sum + value;
    weight = keep * weight + 1;
    return [step, sum / weight];
  });
}
