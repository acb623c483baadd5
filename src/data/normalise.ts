/** 8-bit views to the floats that encoders read, at the very end: until then they take a quarter of the memory. */
import type { ModelConfig } from '../models/config.ts';
import { type NormaliseKernel, openNormaliseKernel } from './wasm/normalise.ts';

/** What is taken off a level in 0..1, and what the rest is divided by; for red, green and blue. */
export interface Normalisation {
  readonly mean: readonly [number, number, number];
  readonly std: readonly [number, number, number];
}

/** OpenAI CLIP's. */
export const CLIP_NORMALISATION: Normalisation = {
  mean: [0.48145466, 0.4578275, 0.40821073],
  std: [0.26862954, 0.26130258, 0.27577711],
};
/** ImageNet's, which DINOv2 uses. */
export const IMAGENET_NORMALISATION: Normalisation = {
  mean: [0.485, 0.456, 0.406],
  std: [0.229, 0.224, 0.225],
};

/** That of the encoder that reads the tiles. */
export function tileNormalisation({ tile_encoder }: Pick<ModelConfig, 'tile_encoder'>): Normalisation {
  return tile_encoder === 'global_encoder' ? CLIP_NORMALISATION : IMAGENET_NORMALISATION;
}

/**
 * Writes (pixel / 255 - mean) / std, rounded to float32, of [n, 3, side, side] 8-bit planes into `out` at `offset`; `pixels`
 * is side². Returns the offset behind what was written.
 */
export function normaliseInto(
  out: Float32Array,
  offset: number,
  planes: Uint8Array,
  pixels: number,
  normalisation: Normalisation,
): number {
  if (scratch === undefined) scratch = openScratch();
  const channels = channelsOf(normalisation);
  for (let start = 0, plane = 0; start < planes.length; start += pixels, plane++) {
    const levels = planes.subarray(start, start + pixels);
    const { table, line } = channels[plane % 3]!;
    if (scratch && line) byKernel(scratch, out, offset + start, levels, line);
    else byTable(out, offset + start, levels, table);
  }
  return offset + planes.length;
}

interface Channel {
  /** The float of each level. */
  readonly table: Float32Array;
  /** Scale and shift that give the same floats to the bit; null where rounding differs for a level. */
  readonly line: Float64Array | null;
}

const known = new WeakMap<Normalisation, readonly Channel[]>();

function channelsOf(normalisation: Normalisation): readonly Channel[] {
  const made =
    known.get(normalisation) ?? normalisation.mean.map((m, c) => channelOf(m, normalisation.std[c]!));
  known.set(normalisation, made);
  return made;
}

function channelOf(mean: number, std: number): Channel {
  const table = Float32Array.from({ length: 256 }, (_, level) => (level / 255 - mean) / std);
  const [scale, shift] = [1 / (255 * std), -mean / std];
  const same = table.every((value, level) => Math.fround(level * scale + shift) === value);
  return { table, line: same ? Float64Array.of(scale, shift) : null };
}

function byTable(out: Float32Array, offset: number, levels: Uint8Array, table: Float32Array): void {
  for (let i = 0, o = offset; i < levels.length; i++, o++) out[o] = table[levels[i]!]!;
}

/** The kernel's memory: levels, scale and shift, floats. Small enough to stay in the processor's first cache. */
interface Scratch {
  readonly kernel: NormaliseKernel;
  readonly levels: Uint8Array;
  readonly line: Float64Array;
  readonly floats: Float32Array;
}

const CHUNK = 4096;

let scratch: Scratch | null | undefined;

function openScratch(): Scratch | null {
  const kernel = openNormaliseKernel();
  if (!kernel) return null;
  const { buffer } = kernel.memory;
  return {
    kernel,
    levels: new Uint8Array(buffer, 0, CHUNK),
    line: new Float64Array(buffer, CHUNK, 2),
    floats: new Float32Array(buffer, 2 * CHUNK, CHUNK),
  };
}

function byKernel(
  { kernel, ...memory }: Scratch,
  out: Float32Array,
  offset: number,
  levels: Uint8Array,
  line: Float64Array,
): void {
  memory.line.set(line);
  for (let start = 0; start < levels.length; start += CHUNK) {
    const chunk = levels.subarray(start, start + CHUNK);
    memory.levels.set(chunk);
    kernel.levels(0, chunk.length, CHUNK, 2 * CHUNK);
    out.set(chunk.length === CHUNK ? memory.floats : memory.floats.subarray(0, chunk.length), offset + start);
  }
}
