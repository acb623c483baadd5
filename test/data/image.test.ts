import { readFileSync } from 'node:fs';
import sharp from 'sharp';
import { describe, expect, it } from 'vitest';
import { padInto, stretchInto } from '../../src/data/anyres.ts';
import { decodeImage, imageInputOf, paint, viewsOf } from '../../src/data/image.ts';
import { CLIP_NORMALISATION, IMAGENET_NORMALISATION, normaliseInto } from '../../src/data/normalise.ts';
import { type Rgb, resizeBicubic } from '../../src/data/resample.ts';
import { fixture, readGolden } from './golden.ts';

const processor = readGolden('image-processor');
const anyres = readGolden('anyres');

async function decodeFixture(name: string, file: string): Promise<Rgb> {
  const input = await imageInputOf(readFileSync(fixture(name, file)), file);
  return decodeImage(input);
}

/** [3, h, w] to [h, w, 3]. */
function interleave(planes: ArrayLike<number>, pixels: number): number[] {
  return Array.from({ length: pixels * 3 }, (_, i) => planes[(i % 3) * pixels + Math.floor(i / 3)]!);
}

function crop(image: Rgb, side: number): number[] {
  const top = Math.floor((image.height - side) / 2);
  const left = Math.floor((image.width - side) / 2);
  return Array.from({ length: side }, (_, y) =>
    Array.from(image.data.subarray(((top + y) * image.width + left) * 3).subarray(0, side * 3)),
  ).flat();
}

describe('resizing', () => {
  it.each([0, 1, 2, 3])('equals Pillow to the bit, stretched (image %i)', async i => {
    const image = await decodeFixture('image-processor', `image${i}.png`);
    const want = processor.get(`out.square.u8.${i}`)!;
    expect(Array.from(resizeBicubic(image, { width: 84, height: 84 }).data)).toEqual(
      interleave(want.data, 84 * 84),
    );
  });

  it.each([0, 1, 2, 3])("equals CLIP's processor, shortest edge and crop (image %i)", async i => {
    const image = await decodeFixture('image-processor', `image${i}.png`);
    const [short, long] = [Math.min(image.width, image.height), Math.max(image.width, image.height)];
    const other = Math.trunc((56 * long) / short);
    const size = image.width === short ? { width: 56, height: other } : { width: other, height: 56 };
    const want = processor.get(`out.clip.u8.${i}`)!;
    expect(crop(resizeBicubic(image, size), 56)).toEqual(interleave(want.data, 56 * 56));
  });

  it("normalises as CLIP's processor does", () => {
    const planes = processor.get('out.clip.u8.0')!.data as Uint8Array;
    const got = new Float32Array(planes.length + 1);
    expect(normaliseInto(got, 1, planes, 56 * 56, CLIP_NORMALISATION)).toBe(got.length);
    const want = processor.get('out.clip.pixel_values.0')!.data;
    expect(Math.max(...Array.from(want, (v, i) => Math.abs(v - got[i + 1]!)))).toBeLessThan(1e-5);
    expect(got[0]).toBe(0);
  });
});

describe('normalising', () => {
  const planes = Uint8Array.from({ length: 3 * 5000 }, (_, i) => (i * 31 + (i >> 8)) % 256);
  const rounding = { mean: [0.1, 0.2, 0.3], std: [1e-3, 1e-30, 3] } as const;

  it.each([
    ['of CLIP', CLIP_NORMALISATION],
    ['of ImageNet', IMAGENET_NORMALISATION],
    ['of any numbers', rounding],
  ])('is (level / 255 - mean) / std in float64, rounded once: %s', (_, normalisation) => {
    const { mean, std } = normalisation;
    for (const [offset, pixels] of [
      [0, 5000],
      [3, 4096],
      [1, 15],
    ] as const) {
      const levels = planes.subarray(1, 1 + 3 * pixels);
      const want = Float32Array.from(levels, (level, i) => {
        const channel = Math.floor(i / pixels);
        return (level / 255 - mean[channel]!) / std[channel]!;
      });
      const got = new Float32Array(levels.length + offset + 1);
      expect(normaliseInto(got, offset, levels, pixels, normalisation)).toBe(offset + levels.length);
      expect(got.subarray(offset, -1)).toEqual(want);
      expect(got.at(-1)).toBe(0);
    }
  });
});

describe('views', () => {
  const config = { side: 28, grids: [[2, 2]] as const, resize: 'stretch' } as const;

  it('equal the released any-resolution code', async () => {
    const image = await decodeFixture('anyres', 'image.png');
    const canvas = { width: 56, height: 56 };
    expect(paint(image, stretchInto(canvas)).data).toEqual(anyres.get('out.stretched_u8')!.data);
    expect(paint(image, padInto(image, canvas)).data).toEqual(anyres.get('out.padded_u8')!.data);
    const views = viewsOf(image, config, true);
    const base = anyres.get('out.base_u8')!.data;
    expect(interleave(views.global, 28 * 28)).toEqual(Array.from(base));
    const patches = anyres.get('out.patches_u8')!.data as Uint8Array;
    for (let t = 0; t < 4; t++) {
      const tile = views.tiles.subarray(t * 2352, (t + 1) * 2352);
      expect(interleave(tile, 28 * 28)).toEqual(Array.from(patches.subarray(t * 2352, (t + 1) * 2352)));
    }
  });

  it('without tiles cut none', async () => {
    const views = viewsOf(await decodeFixture('anyres', 'image.png'), config, false);
    expect(views.tiles).toHaveLength(0);
    expect(views.size).toEqual({ width: 53, height: 37 });
  });

  it('padded keep the aspect ratio on black', async () => {
    const white = await sharp({ create: { width: 40, height: 20, channels: 3, background: '#fff' } })
      .png()
      .toBuffer();
    const image = await decodeImage({ id: 'white', image: white, width: 40, height: 20 });
    const { global, globalPlacement } = viewsOf(image, { ...config, resize: 'pad' }, false);
    expect(globalPlacement).toMatchObject({ width: 28, height: 14, left: 0, top: 7 });
    expect([...global.subarray(0, 7 * 28)].every(v => v === 0)).toBe(true);
    expect([...global.subarray(7 * 28, 21 * 28)].every(v => v === 255)).toBe(true);
    expect([...global.subarray(21 * 28, 28 * 28)].every(v => v === 0)).toBe(true);
  });
});

describe('decoding', () => {
  const create = (channels: 3 | 4, background: object) =>
    sharp({ create: { width: 3, height: 2, channels, background } });
  const input = (image: Buffer, width = 3, height = 2) => ({ id: 'the-image', image, width, height });

  it('drops alpha without blending', async () => {
    const image = await create(4, { r: 200, g: 100, b: 50, alpha: 0 }).png().toBuffer();
    expect([...(await decodeImage(input(image))).data.subarray(0, 3)]).toEqual([200, 100, 50]);
  });

  it('repeats grey, with and without alpha, and takes 16 bits', async () => {
    const grey = create(3, { r: 77, g: 77, b: 77 }).toColourspace('b-w');
    expect([...(await decodeImage(input(await grey.png().toBuffer()))).data]).toEqual(new Array(18).fill(77));
    const deep = await create(3, { r: 77, g: 0, b: 255 }).toColourspace('rgb16').png().toBuffer();
    expect([...(await decodeImage(input(deep))).data.subarray(0, 3)]).toEqual([77, 0, 255]);
    const greyAlpha = await sharp(await grey.png().toBuffer())
      .ensureAlpha(0.5)
      .png()
      .toBuffer();
    expect([...(await decodeImage(input(greyAlpha))).data]).toEqual(new Array(18).fill(77));
  });

  it('turns CMYK into RGB', async () => {
    const image = await create(3, { r: 255, g: 0, b: 0 }).toColourspace('cmyk').jpeg().toBuffer();
    const [r = 0, g = 255, b = 255] = (await decodeImage(input(image))).data;
    expect(r).toBeGreaterThan(200);
    expect(Math.max(g, b)).toBeLessThan(80);
  });

  it('follows EXIF orientation unless the record was made for the pixels as they lie', async () => {
    const pixels = Buffer.from([255, 0, 0, 0, 255, 0]);
    const turned = await sharp(pixels, { raw: { width: 2, height: 1, channels: 3 } })
      .withMetadata({ orientation: 6 })
      .png()
      .toBuffer();
    expect(await imageInputOf(turned, 'turned')).toMatchObject({ width: 1, height: 2 });
    expect(await decodeImage(input(turned, 1, 2))).toMatchObject({ width: 1, height: 2 });
    const asIs = await decodeImage(input(turned, 2, 1));
    expect([...asIs.data]).toEqual([...pixels]);
  });

  it('takes annotated images as they are stored where the size does not tell, and photos upright', async () => {
    const pixels = Buffer.from([255, 0, 0, 0, 255, 0]);
    const upsideDown = await sharp(pixels, { raw: { width: 2, height: 1, channels: 3 } })
      .withMetadata({ orientation: 3 })
      .png()
      .toBuffer();
    expect([...(await decodeImage(input(upsideDown, 2, 1))).data]).toEqual([...pixels]);
    const photo = await decodeImage(await imageInputOf(upsideDown, 'photo'));
    expect([...photo.data]).toEqual([0, 255, 0, 255, 0, 0]);
  });

  const gradient = (width = 96, height = 64) => {
    const data = Uint8Array.from({ length: width * height * 3 }, (_, i) => (i * 7 + (i >> 6)) % 256);
    return sharp(data, { raw: { width, height, channels: 3 } });
  };

  it.each([
    ['JPEG', () => gradient().jpeg()],
    ['progressive JPEG', () => gradient().jpeg({ progressive: true })],
    ['PNG', () => gradient().png()],
    ['WebP', () => gradient().webp()],
  ])('fails on a %s that ends early rather than fill it up with grey', async (_, encode) => {
    const whole = await encode().toBuffer();
    expect((await decodeImage(input(whole, 96, 64))).data).toHaveLength(96 * 64 * 3);
    for (const share of [0.3, 0.6, 0.95]) {
      const cut = whole.subarray(0, Math.floor(whole.length * share));
      await expect(decodeImage(input(cut, 96, 64))).rejects.toThrow(/the-image cannot be decoded/);
    }
  });

  it('takes progressive files, palettes with and without alpha, and single pixels', async () => {
    const plain = await decodeImage(input(await gradient().jpeg().toBuffer(), 96, 64));
    const progressive = await gradient().jpeg({ progressive: true }).toBuffer();
    expect(await decodeImage(input(progressive, 96, 64))).toEqual(plain);
    const colour = { r: 200, g: 100, b: 50 };
    for (const alpha of [1, 0.5]) {
      const palette = await create(4, { ...colour, alpha })
        .png({ palette: true })
        .toBuffer();
      const [r = 0, g = 0, b = 0] = (await decodeImage(input(palette))).data;
      expect(Math.max(Math.abs(r - 200), Math.abs(g - 100), Math.abs(b - 50))).toBeLessThan(4);
    }
    const dot = await sharp({ create: { width: 1, height: 1, channels: 3, background: colour } })
      .png()
      .toBuffer();
    expect([...(await decodeImage(input(dot, 1, 1))).data]).toEqual([200, 100, 50]);
  });

  it.each(['gif', 'webp'] as const)('takes the first frame of an animated %s', async format => {
    const levels = [10, 200];
    const frames = await Promise.all(levels.map(r => create(3, { r, g: r, b: r }).png().toBuffer()));
    const moving = await sharp(frames, { join: { animated: true } })
      .toFormat(format, { lossless: true })
      .toBuffer();
    expect(await imageInputOf(moving, 'moving')).toMatchObject({ width: 3, height: 2 });
    expect([...(await decodeImage(input(moving))).data]).toEqual(new Array(18).fill(10));
  });

  it('refuses a small file that claims to be huge', async () => {
    const svg = Buffer.from('<svg xmlns="http://www.w3.org/2000/svg" width="20000" height="20000"/>');
    const message = /it has more than 134217728 pixels; scale it down/;
    await expect(decodeImage(input(svg, 20_000, 20_000))).rejects.toThrow(message);
    await expect(imageInputOf(svg, 'huge.svg')).rejects.toThrow(message);
  });

  it('names a damaged image and one of another size', async () => {
    const whole = await create(3, { r: 1, g: 2, b: 3 }).jpeg().toBuffer();
    await expect(decodeImage(input(whole.subarray(0, 200)))).rejects.toThrow(
      /image the-image cannot be decoded/,
    );
    await expect(decodeImage(input(Buffer.from('no image')))).rejects.toThrow(
      /image the-image cannot be decoded/,
    );
    await expect(decodeImage(input(whole, 5, 2))).rejects.toThrow(/the-image is 3x2, its record says 5x2/);
    await expect(imageInputOf(Buffer.from('no image'), 'x.txt')).rejects.toThrow(/x\.txt is no image/);
  });
});
