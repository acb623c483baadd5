/** From a source to a dataset folder: what `ground data synth` and `ground data build` do. */
import { resolve } from 'node:path';
import type { Manifest } from './manifest.ts';
import { writeShards } from './shards.ts';
import { type CocoOptions, type CocoReport, readCoco } from './sources/coco.ts';
import { sceneOptions } from './sources/scene-options.ts';
import { type RenderOptions, renderScenes } from './sources/scenes.ts';

export interface BuildOptions {
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
  return writeShards(renderScenes(seed, count, scenes), options.out, {
    builder: 'scenes',
    source: { seed, count, options: plain(scenes) },
    overwrite: options.overwrite === true,
    onProgress: rows => options.onProgress?.(rows, count),
  });
}

export interface BuildCocoOptions extends BuildOptions, CocoOptions {
  readonly out: string;
}

/** Makes a dataset of COCO annotations. Throws what `readCoco` and `writeShards` throw. */
export async function buildCoco(
  options: BuildCocoOptions,
): Promise<{ manifest: Manifest; report: CocoReport }> {
  const { images, instances, captions, limit, masks } = options;
  const paths = { images, instances, captions };
  const absolute = Object.fromEntries(
    Object.entries(paths).map(([name, path]) => [name, path === undefined ? path : resolve(path)]),
  );
  const reader = readCoco(options);
  const total = await reader.count();
  const manifest = await writeShards(reader, options.out, {
    builder: 'coco',
    source: plain({ ...absolute, limit, masks }),
    overwrite: options.overwrite === true,
    onProgress: rows => options.onProgress?.(rows, total),
  });
  return { manifest, report: reader.report };
}

/** As JSON has it: without what is undefined. */
function plain(value: object): Manifest['source'] {
  return JSON.parse(JSON.stringify(value));
}
