import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { lineChart } from '../../src/report/chart.ts';
import { html, raw } from '../../src/report/html.ts';
import { type Point, scaleOf, smoothed, thinned } from '../../src/report/scale.ts';

/** Any finite number, those of the usual sizes more often. */
const number = fc.oneof(
  fc.double({ min: -1e9, max: 1e9, noNaN: true }),
  fc.double({ noNaN: true, noDefaultInfinity: true }),
);
/** Numbers that differ only in their last digits, if at all. */
const neighbours = fc
  .tuple(number, fc.array(fc.integer({ min: 0, max: 1 << 24 }), { minLength: 1, maxLength: 30 }))
  .map(([base, ulps]) => ulps.map(n => base * (1 - n * Number.EPSILON)));

describe('an axis', () => {
  it('holds every value between round ticks', () => {
    const values = fc.oneof(fc.array(number, { minLength: 1, maxLength: 30 }), neighbours);
    fc.assert(
      fc.property(values, fc.boolean(), (values, log) => {
        const scale = scaleOf(values, 4, { log });
        for (const value of values) {
          const place = scale.place(value);
          expect(place).toBeGreaterThanOrEqual(-1e-6);
          expect(place).toBeLessThanOrEqual(1 + 1e-6);
        }
        expect(scale.ticks.length).toBeGreaterThanOrEqual(2);
        expect(scale.ticks.length).toBeLessThanOrEqual(12);
        for (const [i, tick] of scale.ticks.entries()) {
          expect(tick).toBeGreaterThan(scale.ticks[i - 1] ?? Number.NEGATIVE_INFINITY);
          expect(tick).toBeLessThan(Number.POSITIVE_INFINITY);
        }
      }),
      {
        examples: [
          [[5e-324], false],
          [[5e-324, 1], true],
          [[-Number.MAX_VALUE, Number.MAX_VALUE], false],
          [[1, 1 + Number.EPSILON], false],
        ],
      },
    );
  });

  it('has the ticks that a person would choose', () => {
    expect(scaleOf([0.37, 2.9], 4).ticks).toEqual([0, 1, 2, 3]);
    expect(scaleOf([7.1, 7.9], 4).ticks).toEqual([7, 7.2, 7.4, 7.6, 7.8, 8]);
    expect(scaleOf([0.002, 30], 4, { log: true }).ticks).toEqual([0.001, 0.01, 0.1, 1, 10, 100]);
    expect(scaleOf([0, 0], 4).ticks).toEqual([0, 0.5, 1]);
    expect(scaleOf([], 4).ticks).toEqual([0, 0.5, 1]);
  });
});

describe('a long curve', () => {
  it('keeps its extremes, its order and its ends when it is thinned', () => {
    const points = Array.from(
      { length: 10_000 },
      (_, i): Point => [i, Math.sin(i / 90) + (i === 5555 ? 40 : 0)],
    );
    const thin = thinned(points, 500);
    expect(thin.length).toBeLessThanOrEqual(500);
    expect(thin).toContainEqual([5555, points[5555]?.[1]]);
    expect(thin.map(([step]) => step)).toEqual([...thin.map(([step]) => step)].sort((a, b) => a - b));
    expect(thinned(points.slice(0, 9), 500)).toEqual(points.slice(0, 9));
  });

  it('is smoothed without a bias towards its first value', () => {
    const flat = Array.from({ length: 50 }, (_, i): Point => [i, 3]);
    for (const [, value] of smoothed(flat, 10)) expect(value).toBeCloseTo(3, 12);
    expect(
      smoothed(
        [
          [1, 0],
          [2, 1],
        ],
        2,
      ).at(-1)?.[1],
    ).toBeCloseTo(2 / 3, 12);
  });
});

describe('a chart', () => {
  const at = (points: readonly Point[]) =>
    lineChart({ title: 'x', series: [{ name: 'a', points, color: 1 }] })?.html;

  it('is none without a finite point, a dot for one, and without numbers that are none', () => {
    expect(at([])).toBeUndefined();
    expect(at([[1, Number.NaN]])).toBeUndefined();
    expect(at([[1, 5]])).toContain('<circle class="dot"');
    const chart =
      at([
        [1, 5],
        [2, Number.POSITIVE_INFINITY],
        [3, 6],
      ]) ?? '';
    expect(chart).not.toMatch(/NaN|Infinity/);
  });

  it('cannot be broken by a name', () => {
    const name = '</script><script>alert(1)</script>';
    const series = [1, 2].map(color => ({
      name,
      points: [
        [1, 1],
        [2, 2],
      ] as Point[],
      color,
    }));
    expect(lineChart({ title: name, series })?.html.match(/<script/g)).toHaveLength(1);
  });
});

describe('markup', () => {
  it('escapes what is filled in, and only that', () => {
    const list = ['<i>', raw('<i>')].map(item => html`<li>${item}</li>`);
    expect(html`<p title="${'"\'&'}">${list}${null}${0}</p>`.html).toBe(
      '<p title="&quot;&#39;&amp;"><li>&lt;i&gt;</li><li><i></li>0</p>',
    );
  });
});
