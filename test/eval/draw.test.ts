import sharp from 'sharp';
import { describe, expect, it } from 'vitest';
import type { PixelBox } from '../../src/data/box.ts';
import type { ImageInput } from '../../src/data/image.ts';
import { BOX_COLORS, boxesSvg, drawBoxes, pngSize } from '../../src/eval/draw.ts';

const box = (x1: number, y1: number, x2: number, y2: number): PixelBox => ({
  space: 'pixels',
  x1,
  y1,
  x2,
  y2,
});

async function plainImage(
  width: number,
  height: number,
  format: 'png' | 'jpeg' = 'png',
): Promise<ImageInput> {
  const image = sharp({ create: { width, height, channels: 3, background: '#808080' } });
  return { id: 'plain', width, height, image: await image.toFormat(format).toBuffer() };
}

async function pixelAt(png: Uint8Array, x: number, y: number): Promise<number[]> {
  const { data, info } = await sharp(png).raw().toBuffer({ resolveWithObject: true });
  const start = (y * info.width + x) * info.channels;
  return [...data.subarray(start, start + 3)];
}

describe('drawBoxes', () => {
  it('colours the outline and leaves the rest of the picture alone', async () => {
    const png = await drawBoxes(await plainImage(400, 300), [
      { box: box(100, 50, 200, 150), color: BOX_COLORS.truth },
    ]);
    expect(pngSize(png)).toEqual({ width: 400, height: 300 });
    expect(await pixelAt(png, 100, 100)).toEqual([0x18, 0xa5, 0x58]);
    expect(await pixelAt(png, 199, 100)).toEqual([0x18, 0xa5, 0x58]);
    expect(await pixelAt(png, 150, 100)).toEqual([0x80, 0x80, 0x80]);
    expect(await pixelAt(png, 10, 10)).toEqual([0x80, 0x80, 0x80]);
  });

  it('enlarges a small image by a whole factor, boxes with it', async () => {
    const png = await drawBoxes(await plainImage(64, 32), [{ box: box(16, 8, 32, 24), color: '#ff0000' }]);
    expect(pngSize(png)).toEqual({ width: 384, height: 192 });
    expect(await pixelAt(png, 96, 96)).toEqual([255, 0, 0]);
    expect(await pixelAt(png, 150, 96)).toEqual([0x80, 0x80, 0x80]);
  });

  it('draws numbers without any font, inside the image', async () => {
    const plain = [{ box: box(380, 280, 400, 300), color: '#ff0000' }];
    const image = await plainImage(400, 300, 'jpeg');
    const numbered = await drawBoxes(image, [{ ...plain[0]!, label: 17 }]);
    expect(boxesSvg([{ ...plain[0]!, label: 17 }], { width: 400, height: 300 }, 1)).not.toContain('<text');
    const { data } = await sharp(numbered).raw().toBuffer({ resolveWithObject: true });
    const white = countPixels(data, 255, 255, 255);
    expect(white).toBeGreaterThan(20);
    expect(
      countPixels(
        await sharp(await drawBoxes(image, plain))
          .raw()
          .toBuffer(),
        255,
        255,
        255,
      ),
    ).toBe(0);
  });

  it('clips boxes that leave the image, and is the same every time', async () => {
    const image = await plainImage(400, 400);
    const boxes = [{ box: box(-50, -50, 500, 500), color: '#ff0000', label: 0 }];
    const png = await drawBoxes(image, boxes);
    expect(pngSize(png)).toEqual({ width: 400, height: 400 });
    expect(Buffer.compare(png, await drawBoxes(image, boxes))).toBe(0);
  });

  it('keeps what a grey image shows', async () => {
    const grey = await sharp({ create: { width: 300, height: 300, channels: 3, background: '#404040' } })
      .grayscale()
      .png()
      .toBuffer();
    const png = await drawBoxes({ id: 'grey', width: 300, height: 300, image: grey }, []);
    expect(await pixelAt(png, 5, 5)).toEqual([0x40, 0x40, 0x40]);
  });

  it('says so when the image can not be decoded', async () => {
    const broken = { id: 'broken.png', width: 3, height: 3, image: new Uint8Array([1, 2, 3]) };
    await expect(drawBoxes(broken, [])).rejects.toThrow(/broken\.png cannot be decoded/);
  });
});

it('pngSize refuses what is no PNG', () => {
  expect(() => pngSize(new Uint8Array(40))).toThrow(/not a PNG/);
});

it('boxesSvg escapes colours', () => {
  expect(boxesSvg([{ box: box(0, 0, 1, 1), color: '"><x' }], { width: 9, height: 9 }, 1)).toContain(
    '&quot;>&lt;x',
  );
});

function countPixels(data: Uint8Array, r: number, g: number, b: number): number {
  let count = 0;
  for (let i = 0; i + 2 < data.length; i += 3) {
    if (data[i] === r && data[i + 1] === g && data[i + 2] === b) count++;
  }
  return count;
}
