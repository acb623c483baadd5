/** Which cases are known, by their names, and how each is computed. */
import { basename } from 'node:path';
import { type FixtureCase, readCase } from './case.ts';
import { runAnyres } from './cases/anyres.ts';
import { runBert } from './cases/bert.ts';
import { runCausalLm } from './cases/causal-lm.ts';
import { runClipDual, runClipVision } from './cases/clip.ts';
import { runDinov2 } from './cases/dinov2.ts';
import { runImageProcessor } from './cases/image-processor.ts';
import { runLosses } from './cases/losses.ts';
import { runOptim } from './cases/optim.ts';
import { runQFormer } from './cases/qformer.ts';
import { runRle } from './cases/rle.ts';
import { runRoiAlign } from './cases/roi-align.ts';
import { runSampler } from './cases/sampler.ts';
import { type Comparison, compare } from './compare.ts';
import type { Results } from './results.ts';

export type Runner = (fixture: FixtureCase) => Results | Promise<Results>;

const runners: Readonly<Record<string, Runner>> = {
  'clip-vision': runClipVision,
  'clip-dual': runClipDual,
  dinov2: runDinov2,
  bert: runBert,
  llama: runCausalLm,
  qwen2: runCausalLm,
  'ferret-sampler': runSampler,
  anyres: runAnyres,
  'image-processor': runImageProcessor,
  losses: runLosses,
  optim: runOptim,
  qformer: runQFormer,
  'roi-align': runRoiAlign,
  rle: runRle,
};

/** The runner of the longest prefix of a case's name, or undefined where none is known. */
export function runnerOf(name: string): Runner | undefined {
  const known = Object.keys(runners).filter(prefix => name.startsWith(prefix));
  const longest = known.sort((a, b) => b.length - a.length)[0];
  return longest === undefined ? undefined : runners[longest];
}

/** Computes a case's folder on the running engine and compares all it holds. Throws on a case that is not known. */
export async function runCase(dir: string): Promise<Comparison[]> {
  const run = runnerOf(basename(dir));
  if (!run) throw new Error('no case of this name is known');
  const fixture = await readCase(dir);
  return compare(fixture, await run(fixture));
}
