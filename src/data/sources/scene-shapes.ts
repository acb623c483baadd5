/**
 * What the shapes look like: tests of points in the square -1..1 (x to the right, y down). Digits are strokes of our
 * own, so that a scene does not depend on the fonts of a machine.
 */
import { DIGIT_LABEL, type Digit, type Label, type Shape } from './scene-vocabulary.ts';

/** Whether a point of the square -1..1 belongs to the shape. */
export type Inside = (x: number, y: number) => boolean;

type Point = readonly [x: number, y: number];

/** Inner radius of a ring, as a share of the outer. */
const RING_HOLE = 0.55;
/** Half the width of a digit's stroke. */
const STROKE = 0.2;
/** A star's inner radius, as a share of the outer. */
const STAR_WAIST = 0.45;

const STAR: readonly Point[] = Array.from({ length: 10 }, (_, i) => {
  const radius = i % 2 === 0 ? 1.08 : 1.08 * STAR_WAIST;
  const angle = (i * Math.PI) / 5;
  return [radius * Math.sin(angle), 0.09 - radius * Math.cos(angle)];
});

const SHAPE_TESTS: Readonly<Record<Shape, Inside>> = {
  circle: (x, y) => x * x + y * y <= 1,
  square: (x, y) => Math.max(Math.abs(x), Math.abs(y)) <= 0.9,
  triangle: (x, y) => y <= 0.9 && Math.abs(x) <= (y + 0.95) / 1.85,
  star: insidePolygon(STAR),
  cross: (x, y) => Math.min(Math.abs(x), Math.abs(y)) <= 0.3 && Math.max(Math.abs(x), Math.abs(y)) <= 0.95,
  ring: (x, y) => x * x + y * y <= 1 && x * x + y * y >= RING_HOLE * RING_HOLE,
  diamond: (x, y) => Math.abs(x) / 0.8 + Math.abs(y) <= 1,
  heart: (x, y) => insideHeart(x * 1.15, 0.1 - y * 1.12),
};

const DIGIT_STROKES: readonly (readonly (readonly Point[])[])[] = [
  // 0
  [oval(0, 0, 0.42, 0.75)],
  // 1
  [
    [
      [-0.3, -0.5],
      [0.05, -0.75],
      [0.05, 0.75],
    ],
  ],
  // 2
  [
    [
      [-0.42, -0.45],
      [-0.3, -0.68],
      [0, -0.75],
      [0.3, -0.68],
      [0.42, -0.4],
      [0.32, -0.1],
      [-0.42, 0.75],
      [0.45, 0.75],
    ],
  ],
  // 3
  [
    [
      [-0.42, -0.7],
      [0.15, -0.75],
      [0.4, -0.55],
      [0.38, -0.22],
      [0, -0.03],
      [0.4, 0.18],
      [0.42, 0.52],
      [0.15, 0.75],
      [-0.42, 0.7],
    ],
  ],
  // 4
  [
    [
      [0.22, 0.75],
      [0.22, -0.75],
      [-0.48, 0.28],
      [0.5, 0.28],
    ],
  ],
  // 5
  [
    [
      [0.4, -0.75],
      [-0.38, -0.75],
      [-0.4, -0.1],
      [0.12, -0.15],
      [0.42, 0.1],
      [0.42, 0.48],
      [0.12, 0.75],
      [-0.42, 0.68],
    ],
  ],
  // 6
  [
    oval(0, 0.32, 0.42, 0.43),
    [
      [0.28, -0.75],
      [-0.2, -0.35],
      [-0.42, 0.3],
    ],
  ],
  // 7
  [
    [
      [-0.45, -0.75],
      [0.45, -0.75],
      [-0.1, 0.75],
    ],
  ],
  // 8
  [oval(0, -0.38, 0.34, 0.37), oval(0, 0.36, 0.42, 0.39)],
  // 9
  [
    oval(0, -0.32, 0.42, 0.43),
    [
      [0.42, -0.3],
      [0.2, 0.35],
      [-0.28, 0.75],
    ],
  ],
];

const DIGIT_TESTS: readonly Inside[] = DIGIT_STROKES.map(nearLines);

/** The test of a shape, or of `text` where the label is a digit. */
export function insideOf(label: Label, text: Digit | null): Inside {
  if (label !== DIGIT_LABEL) return SHAPE_TESTS[label];
  const test = DIGIT_TESTS[Number(text)];
  if (!test) throw new RangeError(`no strokes for the digit ${text}`);
  return test;
}

/** Whether what lies within the outline of such a shape is "inside" it in plain words, a ring's hole included. */
export function holds(label: Label): boolean {
  return label === 'ring' || label === 'circle' || label === 'square';
}

function oval(x: number, y: number, a: number, b: number): Point[] {
  return Array.from({ length: 17 }, (_, i) => {
    const angle = (i * Math.PI) / 8;
    return [x + a * Math.cos(angle), y + b * Math.sin(angle)];
  });
}

function insideHeart(x: number, y: number): boolean {
  const circle = x * x + y * y - 0.8;
  return circle * circle * circle - x * x * y * y * y <= 0;
}

/** The even-odd rule. */
function insidePolygon(corners: readonly Point[]): Inside {
  const xy = Float64Array.from(corners.flat());
  return (x, y) => {
    let inside = false;
    for (let i = 0, j = xy.length - 2; i < xy.length; j = i, i += 2) {
      const xi = xy[i] as number;
      const yi = xy[i + 1] as number;
      const xj = xy[j] as number;
      const yj = xy[j + 1] as number;
      if (yi > y !== yj > y && x < ((xj - xi) * (y - yi)) / (yj - yi) + xi) inside = !inside;
    }
    return inside;
  };
}

/** Whether a point lies within a stroke's half width of one of the lines. */
function nearLines(lines: readonly (readonly Point[])[]): Inside {
  // A scene asks for tens of thousands of points: numbers in one array, nothing allocated.
  const segments = Float64Array.from(
    lines.flatMap(line => line.slice(1).flatMap((end, i) => [...(line[i] ?? end), ...end])),
  );
  return (x, y) => {
    for (let i = 0; i < segments.length; i += 4) {
      const ax = segments[i] as number;
      const ay = segments[i + 1] as number;
      const dx = (segments[i + 2] as number) - ax;
      const dy = (segments[i + 3] as number) - ay;
      const t = Math.min(1, Math.max(0, ((x - ax) * dx + (y - ay) * dy) / (dx * dx + dy * dy)));
      const ex = x - ax - t * dx;
      const ey = y - ay - t * dy;
      if (ex * ex + ey * ey <= STROKE * STROKE) return true;
    }
    return false;
  };
}
