/** Features of frozen encoders, made once: the first time that an image is seen they are kept on disk, from then on read. */
import { mkdir, utimes } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { ioError, writeFileAtomic } from '../atomic.ts';
import { entryBytes, type FeatureSet, type FeatureSets, writeEntry } from '../data/feature-store.ts';
import { CompiledFunctions, type RecordingListener } from '../engine/compile.ts';
import { type CompileMode, compileMode } from '../engine/mode.ts';
import * as tf from '../engine/tf.ts';
import { messageOf } from '../errors.ts';
import type { Batch, BatchFeatures, ConversationBatch, FeatureTable, Floats } from '../models/batch.ts';
import type { Ferret } from '../models/ferret.ts';
import type { Parameter } from '../nn/parameter.ts';
import { count, size } from '../telemetry/format.ts';
import { countImages, describeSet, type FrozenEncoder, frozenEncoders, setAt } from './feature-sets.ts';
import { FeatureSpace, SET_FILE } from './feature-space.ts';
import type { TrainingPlan } from './freeze.ts';
import { graphCost } from './plan/cost.ts';
import type { Recipe } from './recipe.ts';

/** Where the recipe does not say how much room features may take: as much, and only where all of them fit. */
const DEFAULT_BYTES = 4e9;

/** What was done about the images of some steps. */
export interface FeatureCounts {
  /** Images whose features were read and that were encoded; the global view counts for one, all tiles for another. */
  readonly read: number;
  readonly encoded: number;
}

/** A step's batches with all features, and what that took. */
export interface Completed {
  readonly batches: readonly Batch[];
  /** Floating-point operations, those of functions that are recorded. */
  readonly flops: number;
  readonly notes: readonly string[];
}

type Encoder = FrozenEncoder & { readonly set: FeatureSet };

export interface FeatureCacheOptions {
  readonly recipe: Recipe;
  /** checkpoints/<run> */
  readonly runDir: string;
}

/**
 * Opens the cache of a stage: null where its recipe wants none, no encoder is frozen, or, with nothing said, not all features
 * would fit. `notes` say which, and how much room is taken. Throws GroundError('io') where a folder cannot be made.
 */
export async function openFeatureCache(
  { recipe: { stage }, runDir }: FeatureCacheOptions,
  model: Ferret,
  plan: TrainingPlan,
): Promise<{ readonly cache: FeatureCache | null; readonly notes: readonly string[] }> {
  const setting = stage.feature_cache ?? {};
  if (setting === 'off') return { cache: null, notes: [] };
  const frozen = frozenEncoders(model, plan, stage);
  const images = await countImages(stage);
  if (frozen.length === 0 || images === 0) return { cache: null, notes: [] };
  const dir = setting.dir ?? join(dirname(runDir), '.features');
  const limit = setting.max_gb === undefined ? DEFAULT_BYTES : setting.max_gb * 1e9;
  const wanted = images * frozen.reduce((sum, encoder) => sum + entryBytes(encoder, encoder.views), 0);
  const most = `${count(images)} images take at most ${size(wanted)}`;
  if (setting.max_gb === undefined && wanted > limit) {
    const message = `features of frozen encoders are not kept: those of ${most}, more than ${size(limit)}; feature_cache.max_gb keeps as many as it has room for`;
    return { cache: null, notes: [message] };
  }
  const mode = compileMode(stage.engine?.compile);
  const encoders: Encoder[] = [];
  for (const encoder of frozen) {
    const description = await describeSet(encoder, model, mode);
    const set = setAt(dir, encoder, description);
    await openSet(set, description);
    encoders.push({ ...encoder, set });
  }
  const space = new FeatureSpace(dir, limit);
  const { have, removed } = space.open(
    encoders.map(({ set }) => set.folder),
    wanted,
  );
  const notes = [
    `features of frozen encoders are kept in ${dir}: those of ${most} of ${size(limit)}, ${size(have)} are there`,
    ...removed.map(path => `removed ${path}: features of other weights, to make room`),
  ];
  return { cache: new FeatureCache(model, encoders, space, mode), notes };
}

/** Makes a set's folder, says what is in it, and marks it as used now. */
async function openSet({ folder }: FeatureSet, description: string): Promise<void> {
  const file = join(folder, SET_FILE);
  try {
    await mkdir(folder, { recursive: true });
    await writeFileAtomic(file, `${description}\n`);
    await utimes(file, new Date(), new Date());
  } catch (thrown) {
    throw ioError(thrown, 'create', file);
  }
}

/** Fills batches up with features, and keeps what it had to make. */
export class FeatureCache {
  /** For the loader. */
  readonly sets: FeatureSets;
  readonly #model: Ferret;
  readonly #encoders: readonly Encoder[];
  readonly #space: FeatureSpace;
  readonly #functions: CompiledFunctions;
  readonly #flopsOf = new Map<string, number>();
  #flops = 0;
  #counts = { read: 0, encoded: 0 };
  /** Whether nothing more is written, and that has been said. */
  #closed = false;

  constructor(model: Ferret, encoders: readonly Encoder[], space: FeatureSpace, mode: CompileMode) {
    const setOf = (of: 'global' | 'local') => encoders.find(encoder => encoder.of === of)?.set ?? null;
    this.sets = { global: setOf('global'), local: setOf('local') };
    this.#model = model;
    this.#encoders = encoders;
    this.#space = space;
    const listener: RecordingListener = {
      recorded: graph => void this.#flopsOf.set(graph.name, graphCost(graph).flops),
      ran: name => {
        this.#flops += this.#flopsOf.get(name) ?? 0;
      },
    };
    this.#functions = new CompiledFunctions(undefined, listener, mode);
  }

  /** Functions recorded so far. */
  get recordings(): number {
    return this.#flopsOf.size;
  }

  /** Images read and encoded since the last call. */
  take(): FeatureCounts {
    const counts = this.#counts;
    this.#counts = { read: 0, encoded: 0 };
    return counts;
  }

  /** Encodes what is missing in a step's batches, and keeps it where there is room. The batches given are used up. */
  complete(batches: readonly Batch[]): Completed {
    this.#flops = 0;
    const notes: string[] = [];
    const completed = batches.map(batch => {
      if (batch.kind !== 'conversation' || !batch.features) return batch;
      for (const message of batch.features.damaged) notes.push(`features: ${message}; they are made again`);
      return this.#filled(batch, batch.features, notes);
    });
    return { batches: completed, flops: this.#flops, notes };
  }

  dispose(): void {
    this.#functions.dispose();
  }

  #filled(batch: ConversationBatch, features: BatchFeatures, notes: string[]): ConversationBatch {
    let filled = batch;
    for (const encoder of this.#encoders) {
      const { of } = encoder;
      const table = features[of];
      if (table === null) continue;
      this.#counts.read += table.hits;
      this.#counts.encoded += table.missing.length;
      const name = `${of}Pixels` as const;
      if (table.missing.length > 0) this.#encode(encoder, batch[name], table, notes);
      const known = filled.features ?? features;
      filled = {
        ...filled,
        [name]: { data: NOTHING, shape: [0, ...batch[name].shape.slice(1)] },
        features: { ...known, [of]: { ...table, missing: [] } },
      };
    }
    return filled;
  }

  /** Writes the missing rows of a table where they belong, and to the disk. */
  #encode(encoder: Encoder, pixels: Floats, { rows, missing }: FeatureTable, notes: string[]): void {
    const { of, parameters, set } = encoder;
    const made = this.#run(of, parameters, pixels);
    const perView = set.rows * set.width;
    let from = 0;
    for (const { key, view, views } of missing) {
      const values = made.subarray(from * perView, (from + views) * perView);
      rows.data.set(values, view * perView);
      this.#keep(set, key, views, values, notes);
      from += views;
    }
  }

  #run(of: 'global' | 'local', parameters: readonly Parameter[], { data, shape }: Floats): Float32Array {
    const views = tf.tensor4d(data, shape as [number, number, number, number]);
    const none = { globalPixels: null, localPixels: null };
    const [features] = this.#functions.call(
      `features ${of}`,
      [views, ...parameters.map(({ value }) => value)],
      () => [this.#model.visual({ ...none, [`${of}Pixels`]: views })[of] as tf.Tensor],
    );
    const values = (features as tf.Tensor).dataSync<'float32'>();
    tf.dispose([views, features as tf.Tensor]);
    return values;
  }

  /** A cache that cannot be written to costs time, never the run. */
  #keep(set: FeatureSet, key: string, views: number, values: Float32Array, notes: string[]): void {
    if (this.#closed) return;
    this.#closed = true;
    try {
      if (this.#space.take(entryBytes(set, views))) {
        writeEntry(set, key, views, values);
        this.#closed = false;
        return;
      }
      const kept = size(this.#space.used);
      notes.push(`features: ${kept} are kept, there is no room for more; the rest is made anew each time`);
    } catch (thrown) {
      notes.push(`features: no more of them are kept: ${messageOf(thrown)}`);
    }
  }
}

const NOTHING = new Float32Array(0);
