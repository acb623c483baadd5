/** The file of shapes that both sides of the benchmarks of steps, attention and decoding read. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { modelSchema } from '../../src/config/model-schema.ts';

const stage = z.object({
  train: z.array(z.string()),
  /** Rows of the batch, each with one image. */
  samples: z.number(),
  length: z.number(),
  /** Tiles, regions and supervised positions of the whole batch. */
  tiles: z.number(),
  regions: z.number(),
  targets: z.number(),
});
const schema = z.object({
  seed: z.number(),
  learning_rate: z.number(),
  weight_decay: z.number(),
  clip_norm: z.number(),
  models: z.record(z.string(), z.object({ model: modelSchema, stages: z.record(z.string(), stage) })),
  attention: z.object({
    batch: z.number(),
    heads: z.number(),
    width: z.number(),
    lengths: z.array(z.number()),
  }),
  /** Tokens of the prompt, and tokens decoded after it. */
  decode: z.object({ model: z.string(), prompt: z.number(), tokens: z.number() }),
});

export type BenchShapes = z.infer<typeof schema>;
export type StageShape = z.infer<typeof stage>;
export type ModelShapes = BenchShapes['models'][string];

export const SHAPES_FILE = fileURLToPath(new URL('bench.json', import.meta.url));

export function readShapes(): BenchShapes {
  return schema.parse(JSON.parse(readFileSync(SHAPES_FILE, 'utf8')));
}

/** The entry of a record of shapes; throws naming what there is. */
export function named<T>(record: Readonly<Record<string, T>>, name: string): T {
  const found = record[name];
  if (found === undefined) throw new Error(`${name}: there is ${Object.keys(record).join(', ')}`);
  return found;
}
