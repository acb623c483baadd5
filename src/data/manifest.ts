/** `manifest.json`: what a dataset folder holds. It is written last, so a folder without one is no dataset. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { errorCode, ioError, writeFileAtomic } from '../atomic.ts';
import { GroundError, messageOf } from '../errors.ts';
import { SCHEMA_VERSION } from './arrow.ts';

export const MANIFEST_FILE = 'manifest.json';
export const MANIFEST_FORMAT = 'ground-dataset';

const wholeNumber = z.number().int().nonnegative();

const shardSchema = z.strictObject({
  /** Name inside the folder; a path could lead out of it. */
  file: z.string().regex(/^[\w.-]+\.arrow$/),
  rows: wholeNumber,
  bytes: wholeNumber,
  /** CRC32C of the whole file, eight hexadecimal digits. */
  crc32c: z.string().regex(/^[0-9a-f]{8}$/),
  /** Rows of each record batch, so that a row is found without reading the file. */
  batches: z.array(wholeNumber),
});

const manifestSchema = z.strictObject({
  format: z.literal(MANIFEST_FORMAT),
  schema_version: z.literal(SCHEMA_VERSION),
  builder: z.strictObject({ name: z.string(), version: z.string() }),
  /** What the dataset was made from: the builder's arguments, for people and for building it again. */
  source: z.record(z.string(), z.json()),
  rows: wholeNumber,
  shards: z.array(shardSchema),
});

export type ShardEntry = z.infer<typeof shardSchema>;
export type Manifest = z.infer<typeof manifestSchema>;

/**
 * Reads and checks the manifest of a dataset folder. Throws `data` where it is missing (no dataset, or a build that
 * never finished), damaged, or of another schema version.
 */
export async function readManifest(dir: string): Promise<Manifest> {
  const file = join(dir, MANIFEST_FILE);
  const text = await readFile(file, 'utf8').catch(thrown => {
    if (errorCode(thrown) !== 'ENOENT' && errorCode(thrown) !== 'ENOTDIR')
      throw ioError(thrown, 'read', file);
    throw new GroundError('data', `no dataset in ${dir}: ${MANIFEST_FILE} is missing`, {
      hint: 'the path is wrong, or the build did not finish: build it with `ground data synth` or `ground data build`',
      cause: thrown,
    });
  });
  const json = parseJson(text, file);
  const version = z.looseObject({ schema_version: z.number() }).safeParse(json);
  if (version.success && version.data.schema_version !== SCHEMA_VERSION) {
    throw new GroundError(
      'data',
      `${file}: schema_version is ${version.data.schema_version}, this version of ground reads ${SCHEMA_VERSION}`,
      { hint: 'build the dataset again with this version' },
    );
  }
  const parsed = manifestSchema.safeParse(json);
  if (!parsed.success) throw damaged(file, z.prettifyError(parsed.error).replaceAll('\n', ' '));
  checkSums(parsed.data, file);
  return parsed.data;
}

/** Writes the manifest, whole or not at all: from then on the folder is a dataset. */
export async function writeManifest(dir: string, manifest: Manifest): Promise<void> {
  await writeFileAtomic(join(dir, MANIFEST_FILE), `${JSON.stringify(manifest, null, 2)}\n`);
}

function parseJson(text: string, file: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw damaged(file, messageOf(cause), cause);
  }
}

function checkSums(manifest: Manifest, file: string): void {
  const sum = (numbers: readonly number[]) => numbers.reduce((total, n) => total + n, 0);
  for (const shard of manifest.shards) {
    const inBatches = sum(shard.batches);
    if (inBatches !== shard.rows) {
      throw damaged(file, `${shard.file} has ${shard.rows} rows but its batches hold ${inBatches}`);
    }
  }
  const inShards = sum(manifest.shards.map(shard => shard.rows));
  if (inShards !== manifest.rows)
    throw damaged(file, `rows is ${manifest.rows} but the shards hold ${inShards}`);
}

function damaged(file: string, why: string, cause?: unknown): GroundError {
  return new GroundError('data', `${file} is no valid dataset manifest: ${why}`, {
    hint: 'restore the file, or build the dataset again',
    cause,
  });
}
