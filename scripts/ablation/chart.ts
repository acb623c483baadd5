/** The plot: for each measure the variants below each other, means with their intervals and the seeds as dots. Pure. */
import { scaleOf } from '../../src/report/scale.ts';
import { MEASURES, type Results } from './results.ts';
import type { Summary } from './statistics.ts';
import { FULL } from './variants.ts';

/** What is plotted, two panels a row. */
const SHOWN = ['rec', 'roc', 'rec_small', 'roc_small'] as const;
const COLUMNS = 2;
const TITLE = 'The full method, and variants that differ in one thing';
const WIDTH = 1100;
const PANEL = { left: 175, right: 24, top: 66, row: 34, bottom: 34, gap: 18 };
const HEAD = 64;
const FONT = 'font-family="DejaVu Sans, Liberation Sans, Arial, Helvetica, sans-serif"';
const INK = '#14181f';
const SOFT = '#5b6472';
const LINE = '#dfe3e9';
/** Baseline, variants that cannot be told from it, worse ones, better ones. */
const COLOURS = { baseline: INK, same: '#5a6b85', worse: '#d0492a', better: '#0c8f5f' };

/** The whole picture as SVG. */
export function chartSvg(results: Results): string {
  const panelHeight = PANEL.top + results.variants.length * PANEL.row + PANEL.bottom;
  const rows = Math.ceil(SHOWN.length / COLUMNS);
  const height = HEAD + rows * panelHeight + 30;
  const panels = SHOWN.map((name, i) => {
    const x = (i % COLUMNS) * (WIDTH / COLUMNS);
    return panel(results, name, x, HEAD + Math.floor(i / COLUMNS) * panelHeight);
  });
  const { seeds } = results.settings;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" ${FONT}>
<title>${TITLE}</title>
<rect width="100%" height="100%" fill="#ffffff"/>
${text(24, 36, TITLE, { size: 21, weight: 700 })}
${text(24, 58, `share of right answers, %; line: 95 % interval over ${seeds} seed${seeds === 1 ? '' : 's'} and held-out questions; small dots: the seeds`, { size: 13, fill: SOFT })}
${panels.join('\n')}
${key(24, height - 16)}
</svg>
`;
}

function panel({ variants }: Results, name: (typeof SHOWN)[number], left: number, top: number): string {
  const summaries = variants.flatMap(({ scores }) => scores[name] ?? []);
  const values = summaries
    .flatMap(({ low, high, seeds }) => [low, high, ...seeds].map(v => 100 * v))
    .filter(Number.isFinite);
  const scale = scaleOf(values, 5);
  const width = WIDTH / COLUMNS - PANEL.left - PANEL.right;
  const x = (value: number): number => left + PANEL.left + scale.place(value) * width;
  const bottom = top + PANEL.top + variants.length * PANEL.row;
  const title = MEASURES.find(measure => measure.name === name)?.title ?? name;
  const ticks = scale.ticks.map(
    tick =>
      `<line x1="${fixed(x(tick))}" x2="${fixed(x(tick))}" y1="${top + PANEL.top - 12}" y2="${bottom}" stroke="${LINE}"/>` +
      text(x(tick), bottom + 18, `${tick}`, { size: 12, fill: SOFT, anchor: 'middle' }),
  );
  const baseline = variants.find(variant => variant.name === FULL.name)?.scores[name];
  const guide = baseline
    ? `<line x1="${fixed(x(100 * baseline.mean))}" x2="${fixed(x(100 * baseline.mean))}" y1="${top + PANEL.top - 12}" y2="${bottom}" stroke="${SOFT}" stroke-dasharray="4 4"/>`
    : '';
  const rows = variants.map((variant, i) => {
    const y = top + PANEL.top + i * PANEL.row + PANEL.row / 2 - 6;
    const summary = variant.scores[name];
    const label = text(left + PANEL.left - 14, y + 5, variant.title, { size: 14, anchor: 'end' });
    return summary ? label + mark(summary, x, y) : label;
  });
  return [text(left + PANEL.left, top + 36, title, { size: 16, weight: 700 }), ...ticks, guide, ...rows].join(
    '\n',
  );
}

function mark(summary: Summary, x: (value: number) => number, y: number): string {
  const colour = COLOURS[standing(summary)];
  const [low, high] = [x(100 * summary.low), x(100 * summary.high)].map(fixed);
  const seeds = summary.seeds.map(
    value =>
      `<circle cx="${fixed(x(100 * value))}" cy="${y}" r="2.6" fill="#ffffff" stroke="${colour}" stroke-width="1.2"/>`,
  );
  return (
    `<line x1="${low}" x2="${high}" y1="${y}" y2="${y}" stroke="${colour}" stroke-width="2.5" stroke-linecap="round"/>` +
    `<rect x="${fixed(x(100 * summary.mean) - 5)}" y="${y - 5}" width="10" height="10" rx="2" fill="${colour}"/>${seeds.join('')}`
  );
}

/** How a score stands to the baseline's: beyond doubt where the interval of the difference leaves out 0. */
export function standing({ difference }: Summary): keyof typeof COLOURS {
  if (difference === null) return 'baseline';
  if (difference.high < 0) return 'worse';
  return difference.low > 0 ? 'better' : 'same';
}

function key(x: number, y: number): string {
  const entries = [
    ['baseline', 'full method'],
    ['worse', 'worse than it (95 %)'],
    ['same', 'no difference shown'],
    ['better', 'better than it (95 %)'],
  ] as const;
  return entries
    .map(([name, label], i) => {
      const left = x + i * 220;
      return `<rect x="${left}" y="${y - 10}" width="10" height="10" rx="2" fill="${COLOURS[name]}"/>${text(left + 18, y, label, { size: 13, fill: SOFT })}`;
    })
    .join('');
}

function text(
  x: number,
  y: number,
  content: string,
  {
    size,
    fill = INK,
    weight = 400,
    anchor = 'start',
  }: { size: number; fill?: string; weight?: number; anchor?: string },
): string {
  const escaped = content.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
  return `<text x="${fixed(x)}" y="${fixed(y)}" font-size="${size}" font-weight="${weight}" fill="${fill}" text-anchor="${anchor}">${escaped}</text>`;
}

function fixed(value: number): string {
  return `${Math.round(value * 10) / 10}`;
}
