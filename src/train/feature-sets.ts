/** Which encoders of a stage are frozen, and what their features depend on besides the image. */
import { createHash } from 'node:crypto';
import { cpus } from 'node:os';
import { join } from 'node:path';
import type { FeatureSet } from '../data/feature-store.ts';
import { readManifest } from '../data/manifest.ts';
import { patchLayout } from '../data/maps.ts';
import { CLIP_NORMALISATION, tileNormalisation } from '../data/normalise.ts';
import { TEXT_TASKS } from '../data/tasks/names.ts';
import { engineInfo } from '../engine/engine.ts';
import { nativeSourceHash } from '../engine/installed.ts';
import type { CompileMode } from '../engine/mode.ts';
import { hasNativeOps } from '../engine/native-ops.ts';
import { tileEncoderOf } from '../models/config.ts';
import type { Ferret } from '../models/ferret.ts';
import type { Parameter } from '../nn/parameter.ts';
import { type TrainingPlan, trainedBy } from './freeze.ts';
import type { StageRecipe } from './recipe.ts';

/** Raised when decoding, resizing or the order of features changes: what was kept before then counts no more. */
const FORMAT = 1;

/** One frozen encoder. */
export interface FrozenEncoder {
  readonly of: 'global' | 'local';
  /** Its weights, those left out that nothing reads. */
  readonly parameters: readonly Parameter[];
  /** Views of one image, at most. */
  readonly views: number;
  readonly rows: number;
  readonly width: number;
}

/** The encoders that a stage's conversations read and that nothing in it changes. */
export function frozenEncoders(model: Ferret, plan: TrainingPlan, stage: StageRecipe): FrozenEncoder[] {
  const { config } = model;
  const unread = model.unusedBy('conversation');
  const trained = trainedBy(plan).map(({ name }) => name);
  const layout = patchLayout(config);
  const tiles = Math.max(...config.image.grids.map(([columns, rows]) => columns * rows));
  const tileEncoder = config.tile_encoder === 'global_encoder' ? 'encoder.global' : 'encoder.local';
  const candidates = [
    {
      of: 'global',
      prefix: 'encoder.global',
      views: 1,
      rows: layout.globalCount,
      width: config.global_encoder.hidden_size,
    },
    {
      of: 'local',
      prefix: tileEncoder,
      views: stage.views === 'global' ? 0 : tiles,
      rows: layout.tileCount,
      width: tileEncoderOf(config).hidden_size,
    },
  ] as const;
  return candidates.flatMap(({ prefix, ...encoder }) => {
    if (encoder.views === 0 || trained.some(name => name.startsWith(`${prefix}.`))) return [];
    const parameters = model.parameters.under(prefix).filter(({ name }) => !unread.has(name));
    return [{ ...encoder, parameters }];
  });
}

/** What the features of an encoder follow from, as JSON: two sets of features are the same where this is. */
export async function describeSet(
  { of, parameters, rows, width }: FrozenEncoder,
  { config }: Ferret,
  mode: CompileMode,
): Promise<string> {
  const { image, tile_encoder } = config;
  const engine = engineInfo();
  const described = {
    format: FORMAT,
    encoder: of,
    weights: await digestOf(parameters),
    network: of === 'global' ? config.global_encoder : tileEncoderOf(config),
    ...(of === 'local' ? { tile_encoder: tile_encoder ?? 'local_encoder', grids: image.grids } : {}),
    side: image.side,
    resize: image.resize,
    normalisation: of === 'global' ? CLIP_NORMALISATION : tileNormalisation(config),
    shape: [rows, width],
    dtype: 'float32',
    // Other kernels, or another number of threads, may differ in the last bits.
    engine: {
      ...engine,
      mode,
      fused: hasNativeOps() ? nativeSourceHash() : null,
      processor: cpus()[0]?.model ?? '',
    },
  };
  return JSON.stringify(described, null, 2);
}

/** The place of the features that `describeSet` has described. */
export function setAt(dir: string, { of, rows, width }: FrozenEncoder, description: string): FeatureSet {
  const digest = createHash('sha256').update(description).digest('hex').slice(0, 32);
  return { folder: join(dir, `${of}-${digest}`), rows, width };
}

async function digestOf(parameters: readonly Parameter[]): Promise<string> {
  const hash = createHash('sha256');
  for (const { name, shape, value } of parameters) {
    const values = await value.data();
    hash.update(`${name} ${shape.join('x')}\n`);
    hash.update(new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
  }
  return hash.digest('hex');
}

/** Images of the conversations of a stage, at most: those in its datasets, and no more than its steps can show. */
export async function countImages({ data, batch, steps }: StageRecipe): Promise<number> {
  const images = new Map<string, number>();
  for (const { dataset, task, max_records } of data) {
    if (task === 'contrastive' || TEXT_TASKS.has(task)) continue;
    const { rows } = await readManifest(dataset);
    const used = Math.min(max_records ?? rows, rows);
    images.set(dataset, Math.max(images.get(dataset) ?? 0, used));
  }
  const there = [...images.values()].reduce((sum, n) => sum + n, 0);
  // Nobody knows how many samples will share a packed row.
  return batch.packing ? there : Math.min(there, steps * batch.samples * batch.accumulate);
}
