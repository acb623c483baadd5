import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { imageProcessorOf, processImage } from '../../../src/data/image-processor.ts';
import { type FixtureCase, readJson } from '../case.ts';
import { Results } from '../results.ts';
import { decodeFile, PIXEL_VALUES } from './pixels.ts';

const metaSchema = z.object({
  images: z.array(z.unknown()),
  params: z.object({ runs: z.record(z.string(), z.unknown()) }),
});

/** transformers' CLIPImageProcessor (Pillow) in several settings, on image files. */
export async function runImageProcessor(fixture: FixtureCase): Promise<Results> {
  const meta = metaSchema.parse(fixture.rawMeta);
  const results = new Results();
  results.compareWith(/\.pixel_values\./, fixture.meta.tolerance.out ?? PIXEL_VALUES);
  results.leaveOut(/\.torchvision\./, 'another backend of transformers: information, not the target');
  const images = await Promise.all(
    meta.images.map((_, i) => decodeFile(fixture, `image${i}.png`, `in.rgb.${i}`, results)),
  );
  for (const [run, inMeta] of Object.entries(meta.params.runs)) {
    const file = join(fixture.dir, `preprocessor_config.${run}.json`);
    const processor = imageProcessorOf(existsSync(file) ? readJson(file) : inMeta, file);
    for (const [i, image] of images.entries()) {
      const { width, height, planes, values } = processImage(image, processor);
      results.setBytes(`out.${run}.u8.${i}`, [3, height, width], planes);
      results.set(`out.${run}.pixel_values.${i}`, [3, height, width], values);
    }
  }
  return results;
}
