import {
  type Comparison,
  compare,
  type FixtureCase,
  type LeftOut,
  readCase,
  type Values,
} from '../fixture.ts';
import { runCausalLm } from './causal-lm.ts';
import { runClipDual, runClipVision } from './clip.ts';
import { runDinov2 } from './dinov2.ts';
import { runLosses } from './losses.ts';
import { runSampler } from './sampler.ts';

/** How the networks' golden cases are computed, by the `kind` of their meta.json. */
export const parityRunners: Readonly<Record<string, (fixture: FixtureCase) => ReadonlyMap<string, Values>>> =
  {
    clip_vision: runClipVision,
    clip_dual: runClipDual,
    dinov2: runDinov2,
    causal_lm: runCausalLm,
    ferret_sampler: runSampler,
    losses: runLosses,
  };

const leftOut: Readonly<Record<string, readonly LeftOut[]>> = {
  losses: [
    { pattern: /\.siglip(\.|$)/, reason: 'ground has no SigLIP loss' },
    { pattern: /\.ce_smooth(\.|$)/, reason: 'ground has no label smoothing' },
  ],
};

/** Computes a case's folder on the running engine and compares all it holds; throws on a kind without a runner. */
export async function runParityCase(dir: string): Promise<Comparison[]> {
  const fixture = await readCase(dir);
  const run = parityRunners[fixture.meta.kind];
  if (!run) throw new Error(`${dir}: no runner for cases of kind ${fixture.meta.kind}`);
  return compare(fixture, run(fixture), leftOut[fixture.meta.kind]);
}
