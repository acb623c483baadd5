/** Line charts as inline SVG, with their numbers beside them for the script that shows values under the pointer. */
import { significant, thousands } from '../telemetry/format.ts';
import { type Html, html, raw } from './html.ts';
import { type Point, type Scale, scaleOf, smoothed, thinned } from './scale.ts';

/** One curve. */
export interface Series {
  readonly name: string;
  /** By step; what is not finite breaks the line. */
  readonly points: readonly Point[];
  /** Number of its colour, from 1 on. */
  readonly color: number;
  /** Draws it faint, with a smoothed line on top. */
  readonly noisy?: boolean;
  /** Marks each point. */
  readonly dots?: boolean;
}

export interface ChartOptions {
  readonly title: string;
  readonly series: readonly Series[];
  /** Width and height in units of the drawing. */
  readonly size?: { readonly width: number; readonly height: number };
  /** Allows powers of ten where values differ by much. */
  readonly log?: boolean;
  /** Stretches of steps with a name, for runs of several stages. */
  readonly bands?: readonly { readonly name: string; readonly from: number; readonly to: number }[];
}

const MARGIN = { left: 46, right: 16, top: 12, bottom: 24 };
const SIZE = { width: 560, height: 230 };
/** Most points of one curve in the page. */
const MOST_POINTS = 900;
/** Points that smoothing averages: a part of the curve, within limits. */
const SMOOTH_SHARE = 0.03;
const COLORS = 8;

/** One chart with its title and legend; undefined where no curve has a point. */
export function lineChart(options: ChartOptions): Html | undefined {
  const series = options.series
    .map(s => ({ ...s, points: s.points.filter(([, value]) => Number.isFinite(value)) }))
    .filter(s => s.points.length > 0);
  if (series.length === 0) return undefined;
  const size = options.size ?? SIZE;
  const all = series.flatMap(s => s.points);
  const steps = all.map(([step]) => step);
  const x = flat(Math.min(...limits(steps)), Math.max(...limits(steps)));
  const y = scaleOf(
    all.map(([, value]) => value),
    4,
    { log: options.log === true },
  );
  const at: Placing = {
    x: step => MARGIN.left + x.place(step) * (size.width - MARGIN.left - MARGIN.right),
    y: value => size.height - MARGIN.bottom - y.place(value) * (size.height - MARGIN.top - MARGIN.bottom),
  };
  const drawn = series.map(s => draw(s, at, y));
  const hover = drawn.map(({ name, color, shown }) => ({
    name,
    color,
    points: shown.map(([step, value]) => [step, value, round(at.x(step)), round(at.y(value))]),
  }));
  return html`<figure class="chart">
<figcaption><b>${options.title}</b>${legend(series)}</figcaption>
<div class="plot"><svg viewBox="0 0 ${size.width} ${size.height}" role="img" aria-label="${options.title}">
${bands(options.bands ?? [], at, size)}${grid(y, at, size)}${stepAxis(x, at, size)}${drawn.map(({ svg }) => svg)}
<g class="cursor"></g></svg><div class="tip"></div>
<script type="application/json">${raw(scriptJson(hover))}</script></div></figure>`;
}

interface Placing {
  x(step: number): number;
  y(value: number): number;
}

interface Drawn {
  readonly name: string;
  readonly color: number;
  /** What the pointer finds. */
  readonly shown: readonly Point[];
  readonly svg: Html;
}

function draw({ name, points, color: number, noisy, dots }: Series, at: Placing, y: Scale): Drawn {
  const color = 1 + ((number - 1) % COLORS);
  const path = (line: readonly Point[]): string =>
    `M${line.map(([step, value]) => `${round(at.x(step))} ${round(at.y(value))}`).join('L')}`;
  const thin = thinned(points, MOST_POINTS);
  const window = Math.min(50, Math.max(1, points.length * SMOOTH_SHARE));
  const smooth = noisy && window > 1 ? thinned(smoothed(points, window), MOST_POINTS) : null;
  const [first] = thin;
  // A single point has no line.
  const marks = dots || thin.length === 1 ? thin : [];
  const floor = at.y(y.low);
  const last = thin.at(-1);
  const area =
    noisy && first && last && thin.length > 1
      ? raw(
          `<path class="area" d="${path(smooth ?? thin)}L${round(at.x(last[0]))} ${round(floor)}L${round(at.x(first[0]))} ${round(floor)}Z"/>`,
        )
      : null;
  return {
    name,
    color,
    shown: smooth ?? thin,
    svg: html`<g class="c${color}">${area}
${smooth ? raw(`<path class="line faint" d="${path(thin)}"/>`) : null}
${raw(`<path class="line" d="${path(smooth ?? thin)}"/>`)}
${raw(marks.map(([step, value]) => `<circle class="dot" cx="${round(at.x(step))}" cy="${round(at.y(value))}" r="3"/>`).join(''))}</g>`,
  };
}

function legend(series: readonly Series[]): Html | null {
  if (series.length < 2) return null;
  return html`<span class="legend">${series.map(
    ({ name, color }) => html`<span class="key c${1 + ((color - 1) % COLORS)}"><i></i>${name}</span>`,
  )}</span>`;
}

function grid(y: Scale, at: Placing, { width }: { width: number }): Html {
  return html`<g class="grid">${y.ticks.map(tick => {
    const place = round(at.y(tick));
    return raw(
      `<line x1="${MARGIN.left}" x2="${width - MARGIN.right}" y1="${place}" y2="${place}"/>` +
        `<text x="${MARGIN.left - 8}" y="${round(place + 3.5)}" text-anchor="end">${tickText(tick)}</text>`,
    );
  })}</g>`;
}

function stepAxis(x: Scale, at: Placing, { height }: { height: number }): Html {
  const ticks = x.ticks.filter(tick => tick >= x.low && tick <= x.high && Number.isInteger(tick));
  return html`<g class="axis">${ticks.map(tick =>
    raw(`<text x="${round(at.x(tick))}" y="${height - 7}" text-anchor="middle">${thousands(tick)}</text>`),
  )}</g>`;
}

function bands(all: NonNullable<ChartOptions['bands']>, at: Placing, { height }: { height: number }): Html {
  return html`${all.map(({ name, from, to }, i) => {
    const [left, right] = [round(at.x(from)), round(at.x(to))];
    return html`<g class="band${i % 2 === 1 ? ' odd' : ''}"><rect x="${left}" y="${MARGIN.top}" width="${Math.max(0, right - left)}" height="${height - MARGIN.top - MARGIN.bottom}"/><text x="${left + 6}" y="${MARGIN.top + 14}">${name}</text></g>`;
  })}`;
}

/** An axis of steps: from the first to the last, ticks at round numbers between. */
function flat(low: number, high: number): Scale {
  const wide = high > low ? [low, high] : [low - 1, high + 1];
  const [from = 0, to = 1] = wide;
  const { ticks } = scaleOf([from, to], 6);
  return { log: false, low: from, high: to, ticks, place: step => (step - from) / (to - from) };
}

/** Smallest and largest: `Math.min(...values)` has a limit of values. */
function limits(values: readonly number[]): [number, number] {
  let [low, high] = [values[0] ?? 0, values[0] ?? 0];
  for (const value of values) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return [low, high];
}

function tickText(value: number): string {
  return Math.abs(value) >= 1000 ? thousands(value) : significant(value);
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}

/** JSON that cannot end the element it stands in. */
function scriptJson(value: unknown): string {
  return JSON.stringify(value).replaceAll('<', '\\u003c');
}
