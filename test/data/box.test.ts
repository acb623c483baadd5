import fc from 'fast-check';
import { describe, expect, expectTypeOf, it } from 'vitest';
import type { Box, BoxSpace, PaddedSquareBox, PixelBox, Size, UnitBox } from '../../src/data/box.ts';
import {
  fromBins,
  fromPaddedSquare,
  fromPermille,
  fromUnit,
  toBins,
  toPaddedSquare,
  toPermille,
  toUnit,
} from '../../src/data/box-spaces.ts';
import { boxCodec } from '../../src/data/box-text.ts';
import { boxIou } from '../../src/eval/metrics/iou.ts';
import { box } from './loader-records.ts';

const vga = { width: 640, height: 480 };
const SPACES = ['pixels', 'unit', 'permille', 'padded-square', 'bins'] as const satisfies readonly BoxSpace[];
/** Half of the last digit, or bin, in shares of the side it is a share of. */
const HALF = { pixels: 0, unit: 0.0005, permille: 0.0005, 'padded-square': 0.0005, bins: 0.0005 };

const side = fc.integer({ min: 1, max: 5000 });
const size = fc.record({ width: side, height: side });
/** An image and a box inside it, upright. */
const inImage = fc
  .tuple(size, fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { minLength: 4, maxLength: 4 }))
  .map(([image, [a = 0, b = 0, c = 0, d = 0]]) => ({
    image,
    box: box(
      Math.min(a, c) * image.width,
      Math.min(b, d) * image.height,
      Math.max(a, c) * image.width,
      Math.max(b, d) * image.height,
    ),
  }));
const corners = ({ x1, y1, x2, y2 }: Box): [number, number, number, number] => [x1, y1, x2, y2];
const flipped = ({ width, height }: Size): Size => ({ width: height, height: width });
const transposed = <B extends Box>(b: B): B => ({ ...b, x1: b.y1, y1: b.x1, x2: b.y2, y2: b.x2 });

function close(a: Box, b: Box, within: readonly [x: number, y: number]): void {
  expect(a.space).toBe(b.space);
  for (const [i, value] of corners(a).entries()) {
    expect(Math.abs(value - corners(b)[i]!)).toBeLessThanOrEqual(within[i % 2]!);
  }
}

describe('golden values', () => {
  it('of the padded square, GroundingGPT', () => {
    expect(corners(toPaddedSquare(box(64, 48, 320, 240), vga))).toEqual([0.1, 0.2, 0.5, 0.5]);
    expect(boxCodec('padded-square').write(box(64, 48, 320, 240), vga)).toBe('[0.100, 0.200, 0.500, 0.500]');
    expect(corners(toPaddedSquare(box(48, 64, 240, 320), flipped(vga)))).toEqual([0.2, 0.1, 0.5, 0.5]);
  });

  it('of the image as it is, Lyrics', () => {
    expect(corners(toUnit(box(64, 48, 320, 240), vga))).toEqual([0.1, 0.1, 0.5, 0.5]);
    expect(boxCodec('unit').write(box(64, 48, 320, 240), vga)).toBe('[0.100, 0.100, 0.500, 0.500]');
  });

  it('of bins, Ferret', () => {
    const phone = { width: 1170, height: 2532 };
    expect(toBins(box(445, 524, 692, 632), phone, 1000)).toEqual({
      space: 'bins',
      bins: 1000,
      x1: 380,
      y1: 206,
      x2: 591,
      y2: 249,
    });
    expect(boxCodec('bins').write(box(0, 0, 640, 480), vga)).toBe('[0, 0, 998, 997]');
    expect(boxCodec('bins').write(box(100, 50, 200, 300), { width: 500, height: 375 })).toBe(
      '[200, 133, 400, 800]',
    );
    expect(boxCodec('bins', 64).write(box(0, 240, 320, 480), vga)).toBe('[0, 32, 32, 63]');
  });

  it('of thousandths, whose last is 1000', () => {
    expect(boxCodec('permille').write(box(0, 0, 640, 480), vga)).toBe('[0, 0, 1000, 1000]');
    expect(boxCodec('permille').write(box(64, 48, 320.4, 240), vga)).toBe('[100, 100, 501, 500]');
  });

  it('an odd pixel of padding comes after the image', () => {
    const image = { width: 5, height: 2 };
    expect(corners(toPaddedSquare(box(0, 0, 5, 2), image))).toEqual([0, 1 / 5, 1, 3 / 5]);
  });
});

describe('every space', () => {
  it('gives pixels back: exactly from fractions, within half a bin from whole numbers', () => {
    fc.assert(
      fc.property(inImage, ({ image, box }) => {
        const { width, height } = image;
        const rounding: [number, number] = [1e-9 * width, 1e-9 * height];
        const longer = 1e-9 * Math.max(width, height);
        close(fromUnit(toUnit(box, image), image), box, rounding);
        close(fromPaddedSquare(toPaddedSquare(box, image), image), box, [longer, longer]);
        close(fromPermille(toPermille(box, image), image), box, [width * 0.00050001, height * 0.00050001]);
        // Ferret's rule first cuts the last pixel off.
        const cut: PixelBox = {
          space: 'pixels',
          x1: Math.min(box.x1, width - 1),
          y1: Math.min(box.y1, height - 1),
          x2: Math.min(box.x2, width - 1),
          y2: Math.min(box.y2, height - 1),
        };
        close(fromBins(toBins(box, image, 1000), image), cut, [width * 0.00050001, height * 0.00050001]);
      }),
    );
  });

  it('is stable: what was written is read and written again as the same text', () => {
    fc.assert(
      fc.property(inImage, fc.constantFrom(...SPACES), ({ image, box }, space) => {
        const codec = boxCodec(space);
        const text = codec.write(box, image);
        const read = codec.read(text, image);
        expect(codec.write(read, image)).toBe(text);
        // The last pixel once more, and half of the last digit of the longer side of a square.
        const loss = HALF[space] * Math.max(image.width, image.height) * 1.0001 + (space === 'bins' ? 1 : 0);
        close(read, box, [loss, loss]);
      }),
    );
  });

  it('keeps the order of corners, and clamps what lies outside', () => {
    const anywhere = fc.double({ min: -9000, max: 9000, noNaN: true });
    fc.assert(
      fc.property(size, anywhere, anywhere, fc.constantFrom(...SPACES), (image, a, b, space) => {
        const [low, high] = [Math.min(a, b), Math.max(a, b)];
        const codec = boxCodec(space);
        const back = codec.read(codec.write(box(low, low, high, high), image), image);
        expect(back.x1).toBeLessThanOrEqual(back.x2);
        expect(back.y1).toBeLessThanOrEqual(back.y2);
        const loss = 0.0005001 * Math.max(image.width, image.height);
        expect(Math.min(back.x1, back.y1)).toBeGreaterThanOrEqual(-loss);
        expect(back.x2).toBeLessThanOrEqual(image.width + loss);
        expect(back.y2).toBeLessThanOrEqual(image.height + loss);
      }),
    );
  });

  it('treats x and y alike', () => {
    fc.assert(
      fc.property(inImage, ({ image, box }) => {
        const [turned, turnedImage] = [transposed(box), flipped(image)];
        expect(toUnit(turned, turnedImage)).toEqual(transposed(toUnit(box, image)));
        expect(toPaddedSquare(turned, turnedImage)).toEqual(transposed(toPaddedSquare(box, image)));
        expect(toPermille(turned, turnedImage)).toEqual(transposed(toPermille(box, image)));
        expect(toBins(turned, turnedImage, 64)).toEqual(transposed(toBins(box, image, 64)));
      }),
    );
  });

  it('a square image is its own padded square', () => {
    fc.assert(
      fc.property(inImage, ({ image: { width }, box }) => {
        const image = { width, height: width };
        expect(corners(toPaddedSquare(box, image))).toEqual(corners(toUnit(box, image)));
      }),
    );
  });

  it('does not clamp on the way back: a box in the padding is seen to leave its image', () => {
    expect(corners(fromPaddedSquare({ space: 'padded-square', x1: 0, y1: 0, x2: 1, y2: 1 }, vga))).toEqual([
      0, -80, 640, 560,
    ]);
  });
});

describe('text', () => {
  it.each([
    ['unit', '[0.1, 0.2, 0.5, 1.5]', /1\.5 is no fraction from 0 to 1/],
    ['padded-square', '[-0.1, 0.2, 0.5, 1]', /-0\.1 is no fraction/],
    ['bins', '[0, 0, 1000, 5]', /1000 is no whole number from 0 to 999/],
    ['bins', '[0, 0, 0.5, 5]', /0\.5 is no whole number/],
    ['permille', '[0, 0, 1001, 5]', /1001 is no whole number from 0 to 1000/],
    ['pixels', '[1, 2, 3]', /it needs four numbers/],
    ['pixels', '[1, 2, 3, 4, 5]', /it needs four numbers/],
    ['pixels', '[1, 2, , 4]', /NaN is no finite number/],
    ['pixels', '[1, 2, 0x10, 4]', /NaN is no finite number/],
    ['pixels', '[[1, 2, 3, 4]]', /it is not \[x1, y1, x2, y2\]/],
    ['pixels', '', /it is not \[x1, y1, x2, y2\]/],
    ['pixels', '[1, 2, 1e999, 4]', /Infinity is no finite number/],
  ] as const)('%s: %s is refused', (space, text, message) => {
    expect(() => boxCodec(space).read(text, vga)).toThrow(message);
  });

  it('blanks and forms of a number do not matter', () => {
    const read = boxCodec('unit').read(' [.1,0.20, 5e-1 ,1.] ', vga);
    expect(corners(read)).toEqual([64, 96, 320, 480]);
  });

  it('numbers that are none are refused when written', () => {
    for (const space of SPACES) {
      expect(() => boxCodec(space).write(box(0, Number.NaN, 1, 1), vga)).toThrow(/NaN/);
    }
  });
});

describe('types', () => {
  it('forbid mixing spaces', () => {
    expectTypeOf<UnitBox>().not.toExtend<PixelBox>();
    expectTypeOf<PaddedSquareBox>().not.toExtend<UnitBox>();
    expectTypeOf<PixelBox>().toExtend<Box>();
    expectTypeOf(fromUnit).parameter(0).toEqualTypeOf<UnitBox>();
    expectTypeOf(boxIou<'pixels'>)
      .parameter(1)
      .toEqualTypeOf<PixelBox>();
  });
});
