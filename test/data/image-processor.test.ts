import { describe, expect, it } from 'vitest';
import { imageProcessorOf, processImage } from '../../src/data/image-processor.ts';

const image = { width: 4, height: 2, data: Uint8Array.from({ length: 24 }, (_, i) => i * 10) };
const processor = (json: object) => imageProcessorOf(json, 'preprocessor_config.json');

describe('image processors', () => {
  it("have CLIP's defaults", () => {
    const { width, height, values } = processImage(image, processor({}));
    expect([width, height]).toEqual([224, 224]);
    expect(values).toHaveLength(3 * 224 * 224);
  });

  it('may leave everything as it is', () => {
    const off = { do_resize: false, do_center_crop: false, do_rescale: false, do_normalize: false };
    const { planes, values } = processImage(image, processor(off));
    expect([...planes]).toEqual(
      [0, 1, 2].flatMap(c => Array.from({ length: 8 }, (_, p) => image.data[3 * p + c])),
    );
    expect([...values]).toEqual([...planes]);
  });

  it('crop the middle and fill what is missing with black', () => {
    const crop = {
      do_resize: false,
      do_rescale: false,
      do_normalize: false,
      crop_size: { height: 4, width: 2 },
    };
    const { planes } = processImage(image, processor(crop));
    const red = [...planes.subarray(0, 8)];
    expect(red).toEqual([0, 0, 30, 60, 150, 180, 0, 0]);
  });

  it('of other kinds are refused by name', () => {
    expect(() => processor({ resample: 0 })).toThrow('preprocessor_config.json: resample 0 is not supported');
    expect(() => processor({ size: { shortest_edge: 224, longest_edge: 336 } })).toThrow(/size: /);
    expect(() => processor({ image_mean: 0.5 })).toThrow(/image_mean: /);
  });
});
