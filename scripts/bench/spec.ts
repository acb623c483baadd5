/** The file of shapes that both sides of the loader benchmark read. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';

const triple = z.tuple([z.number(), z.number(), z.number()]);
const normalisation = z.object({ mean: triple, std: triple });
const shape = z.object({
  side: z.number(),
  patch: z.number(),
  grids: z.array(z.tuple([z.number(), z.number()])),
});
const schema = z.object({
  seed: z.number(),
  /** How many different ones; epochs go over them again and again. */
  images: z.number(),
  sizes: z.array(z.tuple([z.number(), z.number()])),
  quality: z.number(),
  batch: z.number(),
  warmup_steps: z.number(),
  steps: z.number(),
  global: normalisation,
  local: normalisation,
  shapes: z.record(z.string(), shape),
});

export type LoaderSpec = z.infer<typeof schema>;

export const SPEC_FILE = fileURLToPath(new URL('loader.json', import.meta.url));

export function readSpec(): LoaderSpec {
  return schema.parse(JSON.parse(readFileSync(SPEC_FILE, 'utf8')));
}
