import { readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { PixelBox } from '../../../src/data/box.ts';
import { detectionScores, headlineScores, matchImage } from '../../../src/eval/metrics/detection.ts';
import { rasterScore } from '../../../src/eval/metrics/raster.ts';
import { findPython, runPython } from '../../helpers/python.ts';

type Corners = [number, number, number, number];
interface Case {
  readonly images: readonly {
    readonly truth: readonly { category: string; box: Corners; crowd: boolean; area?: number }[];
    readonly detections: readonly { category: string; box: Corners; score: number }[];
  }[];
  /** COCOeval's `stats`; null for its -1. */
  readonly expected: readonly (number | null)[];
}

const fixtures = join(import.meta.dirname, '../../fixtures/metrics');
const file = join(fixtures, 'coco-eval.json');
const cases: readonly Case[] = JSON.parse(readFileSync(file, 'utf8'));

const pixels = ([x1, y1, x2, y2]: Corners): PixelBox => ({ space: 'pixels', x1, y1, x2, y2 });

function statsOf({ images }: Pick<Case, 'images'>): (number | null)[] {
  const matched = images.map(({ truth, detections }) =>
    matchImage({
      truth: truth.map(t => ({ ...t, box: pixels(t.box) })),
      detections: detections.map(d => ({ ...d, box: pixels(d.box) })),
    }),
  );
  const scores = detectionScores(matched);
  expect(headlineScores(matched)).toEqual({ ap: scores.ap, ap50: scores.ap50, ar100: scores.ar100 });
  return Object.values(scores);
}

function expectSame(actual: readonly (number | null)[], expected: readonly (number | null)[]): void {
  expect(actual).toHaveLength(expected.length);
  for (const [i, value] of expected.entries()) {
    if (value === null) expect(actual[i]).toBeNull();
    else expect(actual[i]).toBeCloseTo(value, 10);
  }
}

describe('detectionScores', () => {
  it.each(cases.map((one, i) => [i, one] as const))('gives COCOeval’s twelve numbers, case %i', (_, one) => {
    expectSame(statsOf(one), one.expected);
  });

  const python = findPython(['pycocotools']);
  it.skipIf(python === undefined)('agrees with the pycocotools at hand', () => {
    const moved = cases.map(({ images }) => ({
      images: images.map(({ truth, detections }) => ({
        truth,
        detections: detections.map(d => ({
          ...d,
          box: [d.box[0], d.box[1], d.box[2] + 3, d.box[3] + 2] as Corners,
        })),
      })),
    }));
    const path = join(tmpdir(), `ground-coco-${process.pid}.json`);
    writeFileSync(path, JSON.stringify(moved));
    const script = readFileSync(join(fixtures, 'coco_eval.py'), 'utf8');
    const scored: readonly Case[] = JSON.parse(runPython(python ?? '', script, ['score', path]));
    for (const one of scored) expectSame(statsOf(one), one.expected);
  });

  it('has no score without an object', () => {
    expect(statsOf({ images: [] })).toEqual(Array(12).fill(null));
  });
});

describe('rasterScore', () => {
  const at = (y: number): PixelBox => pixels([0, y, 5, y + 5]);

  it('is the share of neighbours that do not go up', () => {
    expect(rasterScore([at(0), at(3), at(3), at(1)], 4)).toBeCloseTo(2 / 3, 12);
    expect(rasterScore([at(0), null, at(3)], 3)).toBe(0);
  });

  it('is nothing where an order was due and there is none', () => {
    expect(rasterScore([], 2)).toBe(0);
    expect(rasterScore([at(0)], 2)).toBe(0);
    expect(rasterScore([at(0)], 1)).toBeNull();
  });
});
