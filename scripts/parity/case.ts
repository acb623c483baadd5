/** Golden cases: folders with weights, inputs, expected outputs and gradients, and the rule by which to compare them. */
import { existsSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { z } from 'zod';
import * as tf from '../../src/engine/tf.ts';
import { openSafetensors, type SafetensorsFile } from '../../src/models/safetensors.ts';

export interface Values {
  readonly shape: readonly number[];
  readonly data: Float32Array | Float64Array | Int32Array;
}

const tolerance = z.object({ rtol: z.number(), atol: z.number(), zero_atol: z.number().optional() });

/** How far off a tensor may be: `atol + rtol · max|want|`, and `zero_atol` where it is zero in exact arithmetic. */
export type Tolerance = z.infer<typeof tolerance>;

const metaSchema = z.object({
  tolerance: z
    .object({ out: tolerance.optional(), scalar: tolerance.optional(), grad: tolerance.optional() })
    .default({}),
  analytically_zero: z.array(z.string()).default([]),
  compare_where: z.record(z.string(), z.string()).default({}),
  compare_as_sets: z.array(z.string()).default([]),
});

export interface FixtureCase {
  /** The folder's name. */
  readonly name: string;
  readonly dir: string;
  readonly meta: z.infer<typeof metaSchema>;
  /** meta.json as it is, for what only one kind of case has. */
  readonly rawMeta: unknown;
  /** config.json as it is, for the runner to parse. */
  readonly config: unknown;
  readonly weights: ReadonlyMap<string, Values>;
  readonly io: ReadonlyMap<string, Values>;
}

/** Reads a case's folder. */
export async function readCase(dir: string): Promise<FixtureCase> {
  const rawMeta = readJson(join(dir, 'meta.json'));
  return {
    name: basename(dir),
    dir,
    meta: metaSchema.parse(rawMeta),
    rawMeta,
    config: existsSync(join(dir, 'config.json')) ? readJson(join(dir, 'config.json')) : undefined,
    weights: await readAll(join(dir, 'weights.safetensors')),
    io: await readAll(join(dir, 'io.safetensors')),
  };
}

/** A file of JSON. */
export function readJson(file: string): unknown {
  return JSON.parse(readFileSync(file, 'utf8'));
}

async function readAll(file: string): Promise<Map<string, Values>> {
  const all = new Map<string, Values>();
  if (!existsSync(file)) return all;
  const opened = await openSafetensors(file);
  for (const [name, { shape }] of opened.tensors) all.set(name, { shape, data: await read(opened, name) });
  await opened.close();
  return all;
}

async function read(file: SafetensorsFile, name: string): Promise<Values['data']> {
  switch (file.info(name).dtype) {
    case 'F64':
      return new Float64Array((await file.readBytes(name)).buffer);
    case 'F32':
    case 'F16':
    case 'BF16':
      return file.readFloat32(name);
    default:
      return file.readInt32(name);
  }
}

/** A tensor of the case; throws when it is not there. */
export function input(fixture: FixtureCase, name: string): Values {
  const found = fixture.io.get(name);
  if (!found) throw new Error(`${fixture.name} has no ${name}`);
  return found;
}

/** Values as a tensor. */
export function tensorOf({ shape, data }: Values): tf.Tensor {
  return data instanceof Int32Array
    ? tf.tensor(data, [...shape], 'int32')
    : tf.tensor(Float32Array.from(data), [...shape], 'float32');
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
