import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { chooseGrid, type Grid, padInto, stretchInto } from '../../src/data/anyres.ts';
import { paint, viewsOf } from '../../src/data/image.ts';
import { type Rgb, resize } from '../../src/data/resample.ts';
import { resizeByLoops, resizeToPlanes, type Window } from '../../src/data/resize-planes.ts';
import { assemble } from '../../src/data/wasm/assemble.ts';
import { openResampleKernels } from '../../src/data/wasm/resample.ts';
import { Random } from '../../src/random.ts';

/** Noise, with many of the extreme levels that overshoot when they are resized. */
function noise(width: number, height: number, seed: number): Rgb {
  const random = new Random('noise', seed);
  const data = Uint8Array.from({ length: width * height * 3 }, () =>
    random.int(0, 3) === 0 ? 255 * random.int(0, 2) : random.int(0, 256),
  );
  return { width, height, data };
}

const extent = fc.integer({ min: 1, max: 90 });
const picture = fc.tuple(extent, extent, fc.nat()).map(([width, height, seed]) => noise(width, height, seed));

describe('resizing to planes', () => {
  it('has kernels here: the other tests compare them', () => {
    expect(openResampleKernels()).not.toBeNull();
  });

  it('gives what the plain loops give, whole and in parts', () => {
    const part = fc.tuple(extent, extent).chain(([width, height]) => {
      const window = fc.tuple(fc.nat(width - 1), fc.nat(height - 1)).chain(([left, top]) =>
        fc.record({
          left: fc.constant(left),
          top: fc.constant(top),
          width: fc.nat(width - left),
          height: fc.nat(height - top),
        }),
      );
      return fc.record({ size: fc.constant({ width, height }), windows: fc.array(window, { maxLength: 3 }) });
    });
    fc.assert(
      fc.property(
        picture,
        part,
        fc.constantFrom('bicubic', 'bilinear'),
        (image, { size, windows }, filter) => {
          const all: Window[] = [{ left: 0, top: 0, ...size }, ...windows];
          const want = resizeByLoops(image, size, all, filter);
          expect(Buffer.compare(resizeToPlanes(image, size, all, filter), want)).toBe(0);
        },
      ),
      { numRuns: 150 },
    );
  });

  it('takes images of many bands and far reductions', () => {
    for (const [width, height, to] of [
      [1, 3000, 7],
      [3000, 1, 7],
      [70_000, 2, 5],
      [513, 700, 2],
    ] as const) {
      const image = noise(width, height, width);
      const size = { width: to, height: to };
      const window = { left: 0, top: 0, ...size };
      const { data } = resize(image, size, 'bicubic');
      const planes = resizeToPlanes(image, size, [window], 'bicubic');
      const plane = to * to;
      expect([...planes]).toEqual(
        Array.from({ length: 3 * plane }, (_, i) => data[(i % plane) * 3 + Math.floor(i / plane)]),
      );
    }
  });
});

describe('views', () => {
  it('are parts of the painted canvas, stretched and padded', () => {
    const grids: readonly Grid[] = [
      [1, 1],
      [2, 1],
      [1, 3],
      [2, 2],
    ];
    const square = (image: Rgb, left: number, top: number, side: number): Uint8Array => {
      const window = { left, top, width: side, height: side };
      return resizeByLoops(image, image, [window], 'bicubic');
    };
    fc.assert(
      fc.property(
        picture,
        fc.integer({ min: 1, max: 40 }),
        fc.constantFrom('pad', 'stretch'),
        (image, side, mode) => {
          const place = (canvas: { width: number; height: number }) =>
            mode === 'pad' ? padInto(image, canvas) : stretchInto(canvas);
          const views = viewsOf(image, { side, grids, resize: mode }, true);
          const global = paint(image, place({ width: side, height: side }));
          expect(Buffer.compare(views.global, square(global, 0, 0, side))).toBe(0);
          const [columns, rows] = chooseGrid(image, grids, side);
          const canvas = paint(image, place({ width: columns * side, height: rows * side }));
          const tiles = Array.from({ length: columns * rows }, (_, i) =>
            square(canvas, (i % columns) * side, Math.floor(i / columns) * side, side),
          );
          expect(Buffer.compare(views.tiles, Buffer.concat(tiles))).toBe(0);
        },
      ),
      { numRuns: 100 },
    );
  });
});

describe('the assembler', () => {
  const run = (
    source: string,
  ): Readonly<Record<string, (...values: number[]) => void>> & {
    memory: { buffer: ArrayBuffer };
  } =>
    Object.assign(
      Object.create(null),
      new WebAssembly.Instance(new WebAssembly.Module(assemble(source))).exports,
    );

  it('makes functions, loops, branches out and large constants', () => {
    const { power, memory } = run(`
      ;; base to the power of times, but at most 1,000,000
      (func $power (param $base i32) (param $times i32) (local $i i32) (local $p i32)
        (local.set $p (i32.const 1))
        (block $out
          (loop $again
            (br_if $out (i32.lt_u (i32.const 1000000) (i32.mul (local.get $p) (local.get $base))))
            (local.set $p (i32.mul (local.get $p) (local.get $base)))
            (br_if $again (i32.lt_u
              (local.tee $i (i32.sub (local.get $i) (i32.const -1)))
              (local.get $times)))))
        (v128.store offset=1024 (i32.const 16) (i32x4.splat (local.get $p))))`);
    power?.(3, 5);
    expect([...new Int32Array(memory.buffer, 1040, 5)]).toEqual([243, 243, 243, 243, 0]);
    power?.(10, 60);
    expect(new Int32Array(memory.buffer, 1040, 1)[0]).toBe(1_000_000);
  });

  it('refuses what it does not know', () => {
    expect(() => assemble('(func $f (i64.const 1))')).toThrow(/i64\.const/);
    expect(() => assemble('(func $f (local.get $missing))')).toThrow(/missing/);
    expect(() => assemble('(func $f (param $x f64))')).toThrow(/f64/);
    expect(() => assemble('(func $f (br $nowhere))')).toThrow(/nowhere/);
    expect(() => assemble('(func $f')).toThrow(/parentheses/);
    expect(() => assemble('(memory 1)')).toThrow(/functions/);
  });
});
