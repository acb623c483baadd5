import sharp from 'sharp';
import { describe, expect, test } from 'vitest';
import { chartSvg } from '../../scripts/ablation/chart.ts';
import { documentOf } from '../../scripts/ablation/document.ts';
import { type PlanOptions, planJobs } from '../../scripts/ablation/plan.ts';
import { MEASURES, outcomesOf, resultsOf } from '../../scripts/ablation/results.ts';
import { VARIANTS } from '../../scripts/ablation/variants.ts';
import type { PixelBox } from '../../src/data/box.ts';
import type { PredictionLine } from '../../src/eval/predictions.ts';

const box = (x1: number, y1: number, x2: number, y2: number): PixelBox => ({
  space: 'pixels',
  x1,
  y1,
  x2,
  y2,
});
const SMALL = box(10, 10, 18, 18);
const LARGE = box(20, 20, 50, 50);

/** An answer to a question about an image of 64 pixels. */
function line(task: 'rec' | 'roc', row: number, object: PixelBox, isRight: boolean): PredictionLine {
  const kept = { data: 'd', id: `${row}#${task}`, row, task, image: { width: 64, height: 64 }, object };
  return task === 'rec'
    ? {
        ...kept,
        answer: '',
        boxes: [isRight ? object : box(0, 0, 4, 4)],
        truth: { answer: '', boxes: [object] },
      }
    : {
        ...kept,
        answer: isRight ? 'a star' : 'a ring',
        boxes: [],
        truth: { answer: '', label: 'star', distractor: 'ring', region: 'box' },
      };
}

/** Forty questions of both tasks, half of them about small objects, of which `small` are right; all others are. */
const answers = (small: number): PredictionLine[] =>
  (['rec', 'roc'] as const).flatMap(task =>
    Array.from({ length: 40 }, (_, i) =>
      line(task, i, i % 2 ? LARGE : SMALL, i % 2 === 1 || i / 2 < small * 20),
    ),
  );

const two = VARIANTS.filter(({ name }) => name === 'full' || name === 'fixed');
const options: PlanOptions = {
  name: 'ablation',
  recipe: 'configs/ablation',
  seeds: 2,
  variants: two,
  steps: [10, 20, 30, 40],
  scenes: { train: 100, heldOut: 50 },
  questions: 40,
  engine: 'auto',
};
const resultsWith = (full: number, fixed: number) =>
  resultsOf(
    new Map([
      ['full', [answers(full), answers(full)]],
      ['fixed', [answers(fixed), answers(fixed)]],
    ]),
    options,
  );

describe('results', () => {
  test('questions are split at a sixth of the side', () => {
    const counts = MEASURES.map(measure => outcomesOf(answers(0.5), measure).length);
    expect(counts).toEqual([40, 20, 20, 40, 20, 20]);
    const right = MEASURES.map(
      measure => outcomesOf(answers(0.5), measure).filter(one => one.isRight).length,
    );
    expect(right).toEqual([30, 10, 20, 30, 10, 20]);
  });

  test('a measure without questions is left out', () => {
    const some = answers(1).filter(({ object }) => object === LARGE);
    const { variants } = resultsOf(new Map([['full', [some]]]), {
      ...options,
      seeds: 1,
      variants: two.slice(0, 1),
    });
    expect(Object.keys(variants[0]?.scores ?? {})).toEqual(['rec', 'rec_large', 'roc', 'roc_large']);
  });
});

describe('the page', () => {
  const jobs = planJobs(options);

  test('says where a finding agrees, disagrees and is open', () => {
    const agreeing = documentOf(resultsWith(0.9, 0.3), jobs);
    expect(agreeing).toContain('- REC, small objects: 30.0 to 90.0, +60.0 points');
    expect(agreeing.match(/\*\*agrees\*\*/g)).toHaveLength(4);
    expect(documentOf(resultsWith(0.3, 0.9), jobs).match(/\*\*disagrees\*\*/g)).toHaveLength(4);
    expect(documentOf(resultsWith(0.5, 0.5), jobs).match(/: open$/gm)).toHaveLength(4);
  });

  test('a finding that has the variant ahead is read the other way round', () => {
    const page = documentOf(
      resultsOf(
        new Map([
          ['full', [answers(0.3), answers(0.3)]],
          ['trained', [answers(0.9), answers(0.9)]],
        ]),
        { ...options, variants: VARIANTS.filter(({ name }) => name === 'full' || name === 'trained') },
      ),
      jobs,
    );
    expect(page).toContain('- REC, small objects: 30.0 to 90.0, +60.0 points');
    expect(page).toContain('from the full method to the variant');
    expect(page.match(/\*\*agrees\*\*/g)).toHaveLength(4);
    expect(page).not.toContain('**disagrees**');
  });

  test('leaves out variants that were not run, and shows the commands', () => {
    const page = documentOf(resultsWith(0.9, 0.3), jobs);
    expect(page).not.toContain('average pooling |');
    expect(page).toContain("--set 'lr={projector.global: 3.0e-4,");
    expect(page).not.toMatch(/NaN|undefined/);
  });
});

describe('the plot', () => {
  test('is a picture of the size it says, with the name of each variant', async () => {
    const svg = chartSvg(resultsWith(0.9, 0.3));
    for (const { title } of two) expect(svg.split(title).length - 1).toBeGreaterThanOrEqual(4);
    expect(svg).not.toMatch(/NaN|undefined/);
    const { width = 0, height = 0 } = await sharp(Buffer.from(svg)).metadata();
    expect(width).toBe(1100);
    const { data, info } = await sharp(Buffer.from(svg), { density: 144 })
      .raw()
      .toBuffer({ resolveWithObject: true });
    expect([info.width, info.height]).toEqual([2 * width, 2 * height]);
    // Something is drawn in the colour of a score that is worse beyond doubt.
    const isRed = (i: number): boolean => data[i] === 0xd0 && data[i + 1] === 0x49 && data[i + 2] === 0x2a;
    expect(Array.from({ length: data.length / info.channels }, (_, p) => p * info.channels).some(isRed)).toBe(
      true,
    );
  });
});
