/** Golden cases: folders with weights, inputs, expected outputs and gradients, and the rule by which to compare them. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import * as tf from '../../src/engine/tf.ts';
import { openSafetensors } from '../../src/models/safetensors.ts';

export interface Values {
  readonly shape: readonly number[];
  readonly data: Float32Array | Int32Array;
}

const tolerance = z.object({ rtol: z.number(), atol: z.number(), zero_atol: z.number().optional() });
const metaSchema = z.object({
  case: z.string(),
  kind: z.string(),
  tolerance: z.object({ out: tolerance, scalar: tolerance, grad: tolerance }),
  analytically_zero: z.array(z.string()).default([]),
  compare_where: z.record(z.string(), z.string()).default({}),
  compare_as_sets: z.array(z.string()).default([]),
  lattice: z.boolean().default(false),
  params: z.object({ big: z.number() }).optional(),
});

export interface FixtureCase {
  readonly meta: z.infer<typeof metaSchema>;
  /** config.json as it is, for the runner to parse. */
  readonly config: unknown;
  readonly weights: ReadonlyMap<string, Values>;
  readonly io: ReadonlyMap<string, Values>;
}

/** Reads a case's folder. */
export async function readCase(dir: string): Promise<FixtureCase> {
  const json = (file: string): unknown => JSON.parse(readFileSync(join(dir, file), 'utf8'));
  return {
    meta: metaSchema.parse(json('meta.json')),
    config: existsSync(join(dir, 'config.json')) ? json('config.json') : undefined,
    weights: await readAll(join(dir, 'weights.safetensors')),
    io: await readAll(join(dir, 'io.safetensors')),
  };
}

async function readAll(file: string): Promise<Map<string, Values>> {
  const all = new Map<string, Values>();
  if (!existsSync(file)) return all;
  const opened = await openSafetensors(file);
  for (const [name, { dtype, shape }] of opened.tensors) {
    const floats = dtype === 'F32' || dtype === 'F64';
    all.set(name, { shape, data: await (floats ? opened.readFloat32(name) : opened.readInt32(name)) });
  }
  await opened.close();
  return all;
}

/** An input of the case; throws when it is not there. */
export function input(fixture: FixtureCase, name: string): Values {
  const found = fixture.io.get(name);
  if (!found) throw new Error(`${fixture.meta.case} has no ${name}`);
  return found;
}

/** Values as a tensor. */
export function tensorOf({ shape, data }: Values): tf.Tensor {
  return tf.tensor(data, [...shape], data instanceof Int32Array ? 'int32' : 'float32');
}

/** A tensor's values, read back; disposes it. */
export function valuesOf(tensor: tf.Tensor): Values {
  const data = tensor.dataSync();
  const values = {
    shape: tensor.shape,
    data: data instanceof Int32Array ? data.slice() : Float32Array.from(data),
  };
  tensor.dispose();
  return values;
}

export interface Comparison {
  readonly tensor: string;
  /** Why it was not compared, where a runner says that `ground` does not compute it. */
  readonly skipped?: string;
  /** Largest difference found (for gradients that are zero in exact arithmetic: largest magnitude), and allowed. */
  readonly error: number;
  readonly allowed: number;
  readonly passes: boolean;
}

/** Expected tensors that have no counterpart in `ground`, and why. */
export interface LeftOut {
  readonly pattern: RegExp;
  readonly reason: string;
}

/**
 * Compares every out.* and grad.* of the case with what was computed. A tensor that was not computed, has another
 * shape or holds NaN fails with an infinite error.
 */
export function compare(
  fixture: FixtureCase,
  got: ReadonlyMap<string, Values>,
  leftOut: readonly LeftOut[] = [],
): Comparison[] {
  const wanted = [...fixture.io].filter(([name]) => name.startsWith('out.') || name.startsWith('grad.'));
  return wanted.map(([tensor, want]) => {
    const skipped = leftOut.find(({ pattern }) => pattern.test(tensor))?.reason;
    if (skipped !== undefined) return { tensor, skipped, error: 0, allowed: 0, passes: true };
    const have = got.get(tensor);
    const [error, allowed] =
      have === undefined || have.shape.join() !== want.shape.join()
        ? [Number.POSITIVE_INFINITY, 0]
        : difference(fixture, tensor, have, want);
    return { tensor, error, allowed, passes: error <= allowed };
  });
}

function difference(
  fixture: FixtureCase,
  name: string,
  got: Values,
  want: Values,
): [error: number, allowed: number] {
  const { meta } = fixture;
  const group = name.startsWith('grad.') ? 'grad' : want.data.length === 1 ? 'scalar' : 'out';
  const { rtol, atol, zero_atol } = meta.tolerance[group];
  if (meta.analytically_zero.includes(name)) return [largest(got.data), zero_atol ?? 0];
  if (want.data instanceof Int32Array) {
    const ordered = meta.compare_as_sets.includes(name) ? sortedRows : (v: Values) => v.data;
    return [largestGap(ordered(got), want, ordered(want), undefined), 0];
  }
  const where = meta.compare_where[name];
  const mask = where === undefined ? undefined : input(fixture, where).data;
  return [
    largestGap(got.data, want, want.data, mask),
    atol + rtol * largestGap(want.data, want, new Float32Array(want.data.length), mask),
  ];
}

/** Largest |a - b| over the rows where the mask (if any) is not 0; infinite where a value is NaN. */
function largestGap(
  a: ArrayLike<number>,
  { shape }: Values,
  b: ArrayLike<number>,
  mask: ArrayLike<number> | undefined,
): number {
  const rows = mask?.length ?? 1;
  const width = shape.reduce((n, d) => n * d, 1) / rows;
  let gap = 0;
  for (let i = 0; i < a.length; i++) {
    if (mask !== undefined && mask[Math.floor(i / width)] === 0) continue;
    const d = Math.abs((a[i] ?? Number.NaN) - (b[i] ?? Number.NaN));
    gap = Number.isNaN(d) ? Number.POSITIVE_INFINITY : Math.max(gap, d);
  }
  return gap;
}

function largest(data: ArrayLike<number>): number {
  return largestGap(
    data,
    { shape: [data.length], data: new Float32Array() },
    new Float32Array(data.length),
    undefined,
  );
}

function sortedRows({ shape, data }: Values): Int32Array {
  const width = shape[shape.length - 1] ?? 1;
  const out = Int32Array.from(data);
  for (let i = 0; i < out.length; i += width) out.subarray(i, i + width).sort();
  return out;
}
