import fc from 'fast-check';
import sharp from 'sharp';
import { beforeAll, describe, expect, it } from 'vitest';
import {
  type Fingerprint,
  FingerprintIndex,
  fingerprintImage,
  fingerprintOf,
  hashDistance,
  isSameImage,
} from '../../src/data/image-hash.ts';
import { renderScene } from '../../src/data/sources/scenes.ts';

/** 9 x 8 pixels whose brightness is `level(x, y)`: each pixel is a cell of its own. */
function grid(level: (x: number, y: number) => number) {
  const data = new Uint8Array(9 * 8 * 3);
  for (let y = 0; y < 8; y++)
    for (let x = 0; x < 9; x++) data.fill(level(x, y), (y * 9 + x) * 3, (y * 9 + x) * 3 + 3);
  return { width: 9, height: 8, data };
}

describe('the hash', () => {
  it('has a bit for each step to the right, row after row', () => {
    expect(fingerprintOf(grid(x => 10 * x)).hash).toBe(0xffffffffffffffffn);
    expect(fingerprintOf(grid(x => 200 - 10 * x)).hash).toBe(0n);
    expect(fingerprintOf(grid((x, y) => (y === 1 && x > 3 ? 90 : 50))).hash).toBe(0x0010000000000000n);
    expect(fingerprintOf(grid((x, y) => (y === 7 && x === 8 ? 90 : 50))).hash).toBe(1n);
  });

  it('is of means: an image twice as large has the same, also where cells share pixels', () => {
    const level = (x: number, y: number) => (37 * x + 91 * y) % 251;
    const small = grid(level);
    const times = (n: number) => {
      const data = new Uint8Array(9 * n * 8 * n * 3);
      for (let y = 0; y < 8 * n; y++) {
        for (let x = 0; x < 9 * n; x++) {
          data.fill(
            level(Math.floor(x / n), Math.floor(y / n)),
            (y * 9 * n + x) * 3,
            (y * 9 * n + x) * 3 + 3,
          );
        }
      }
      return { width: 9 * n, height: 8 * n, data };
    };
    for (const n of [2, 5]) expect(fingerprintOf(times(n))).toEqual(fingerprintOf(small));
    // One pixel for all cells, and fewer pixels than cells.
    expect(fingerprintOf({ width: 1, height: 1, data: Uint8Array.of(9, 8, 7) }).hash).toBe(0n);
    expect([
      ...fingerprintOf({ width: 2, height: 1, data: Uint8Array.of(0, 0, 0, 200, 200, 200) }).thumbnail.slice(
        0,
        27,
      ),
    ]).toEqual([0, 0, 0, 0, 100, 200, 200, 200, 200].flatMap(v => [v, v, v]));
  });

  it('counts differing bits', () => {
    fc.assert(
      fc.property(fc.bigInt(0n, 2n ** 64n - 1n), fc.bigInt(0n, 2n ** 64n - 1n), (a, b) => {
        expect(hashDistance(a, b)).toBe([...(a ^ b).toString(2)].filter(bit => bit === '1').length);
      }),
    );
  });

  it('complains of what is no image', async () => {
    await expect(fingerprintImage(Uint8Array.of(1, 2, 3), 'x')).rejects.toThrow(/image x cannot be decoded/);
  });
});

describe('scenes', () => {
  let images: Uint8Array[];
  let prints: Fingerprint[];
  beforeAll(async () => {
    images = [];
    for (let i = 0; i < 24; i++) images.push((await renderScene(3, i)).image);
    prints = await Promise.all(images.map((image, i) => fingerprintImage(image, `${i}`)));
  });

  it.each([
    ['compressed', (image: Uint8Array) => sharp(image).jpeg({ quality: 50 })],
    ['scaled', (image: Uint8Array) => sharp(image).resize(88, 90, { fit: 'fill' }).jpeg({ quality: 80 })],
    [
      'cut by a pixel',
      (image: Uint8Array) => sharp(image).extract({ left: 1, top: 1, width: 94, height: 94 }),
    ],
    ['grey with alpha', (image: Uint8Array) => sharp(image).ensureAlpha()],
  ])('are found again when %s', async (_, change) => {
    const index = new FingerprintIndex();
    for (const [i, print] of prints.entries()) index.add(print, `${i}`);
    for (const [i, image] of images.entries()) {
      expect(index.find(await fingerprintImage(await change(image).toBuffer(), 'x'))).toBe(`${i}`);
    }
  });

  it('are told apart, and the index agrees with the pairs', () => {
    const index = new FingerprintIndex();
    const others = new FingerprintIndex();
    prints.forEach((print, i) => {
      if (i > 0) others.add(print, `${i}`);
      index.add(print, `${i}`);
    });
    expect(index.size).toBe(24);
    expect(others.find(prints[0]!)).toBeNull();
    for (const [i, a] of prints.entries()) {
      for (const [j, b] of prints.entries()) expect(isSameImage(a, b)).toBe(i === j);
    }
    expect(new FingerprintIndex().find(prints[0]!)).toBeNull();
  });
});
