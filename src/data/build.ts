/** From a source to a dataset folder: what `ground data synth` and `ground data build` do. */
import { resolve } from 'node:path';
import type { Manifest } from './manifest.ts';
import { existingParent, replaceDataset } from './replace.ts';
import { writeShards } from './shards.ts';
import { sceneOptions } from './sources/scene-options.ts';
import { type RenderOptions, renderScenes } from './sources/scenes.ts';
import { checkInputs, type SourceFormat, type SourceOptions, type SourceReport } from './sources/source.ts';

export interface BuildOptions {
  /** Replace a dataset that is already there; it stays until the new one is complete. */
  readonly overwrite?: boolean;
  /** Told how many of how many images are done. */
  readonly onProgress?: (done: number, total: number) => void;
}

export interface SynthOptions extends BuildOptions {
  readonly out: string;
  readonly count: number;
  readonly seed: number;
  readonly scenes: RenderOptions;
}

/** Renders scenes 0 … count - 1 of a seed into a dataset. Throws what `renderScene` and `writeShards` throw. */
export async function buildScenes(options: SynthOptions): Promise<Manifest> {
  const { count, seed, scenes } = options;
  const { preset = 'normal', split, ...overrides } = scenes;
  // Before anything is overwritten.
  sceneOptions(preset, overrides);
  return replaceDataset(options.out, options.overwrite === true, folder =>
    writeShards(renderScenes(seed, count, scenes), folder, {
      builder: 'scenes',
      source: { seed, count, options: plain(scenes) },
      overwrite: true,
      onProgress: rows => options.onProgress?.(rows, count),
    }),
  );
}

export interface BuildFromOptions extends BuildOptions, SourceOptions {
  readonly out: string;
}

/**
 * Makes a dataset of annotations in any format. The manifest keeps the inputs (paths absolute) and what became of them.
 * Throws `usage` on inputs that the format does not read, and what the source and `writeShards` throw; an old dataset at
 * `out` is then untouched.
 */
export async function buildFrom(
  format: SourceFormat,
  options: BuildFromOptions,
): Promise<{ manifest: Manifest; report: SourceReport }> {
  checkInputs(format, options);
  const { inputs, limit, masks, split, link } = options;
  return replaceDataset(options.out, options.overwrite === true, async folder => {
    const spill = { folder: existingParent(options.out), ...options.spill };
    const reader = await format.open({ inputs, limit, masks, split, link, spill });
    try {
      const total = await reader.count();
      const manifest = await writeShards(reader, folder, {
        builder: format.name,
        source: plain({ ...absolute(format, inputs), limit, masks, split, link }),
        overwrite: true,
        onProgress: rows => options.onProgress?.(rows, total),
      });
      return { manifest, report: reader.report };
    } finally {
      await reader.close?.();
    }
  });
}

/** The inputs by flag, paths absolute; one that may be given once only is no list. */
function absolute(
  { inputs }: SourceFormat,
  given: SourceOptions['inputs'],
): Record<string, string | string[]> {
  return Object.fromEntries(
    inputs.flatMap(({ flag, what, many }) => {
      const values = (given[flag] ?? []).map(value => (what === 'value' ? value : resolve(value)));
      const [first] = values;
      return first === undefined ? [] : [[flag, many ? values : first]];
    }),
  );
}

/** As JSON has it: without what is undefined. */
function plain(value: object): Manifest['source'] {
  return JSON.parse(JSON.stringify(value));
}
