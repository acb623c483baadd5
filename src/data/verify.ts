/** Whether the files of a dataset are those that its manifest lists, to the bit. */
import { createReadStream } from 'node:fs';
import { join } from 'node:path';
import { crc32c } from '@node-rs/crc32';
import { GroundError, messageOf } from '../errors.ts';
import { checkShard, checkSize } from './dataset.ts';
import { readManifest, type ShardEntry } from './manifest.ts';
import { hex } from './shards.ts';

/**
 * Datasets up to this size are read whole before they are trained on: a second at most. Larger ones are read row by row,
 * and damage inside of a shard shows when its row comes.
 */
const VERIFIED_BYTES = 256 * 2 ** 20;

/** Throws `data` naming the first shard that is missing, of another size, altered or of another schema. */
export async function verifySmallDataset(dir: string): Promise<void> {
  const { shards } = await readManifest(dir);
  if (shards.reduce((sum, { bytes }) => sum + bytes, 0) > VERIFIED_BYTES) return;
  for (const shard of shards) {
    const altered = await checksumProblem(dir, shard);
    if (altered !== null) {
      throw new GroundError('data', `shard ${join(dir, shard.file)}: ${altered}`, {
        hint: 'copy the folder again or build the dataset again',
      });
    }
    await checkShard(dir, shard);
  }
}

/** What is wrong with a shard as a whole; null where all is well. Its bytes and its schema are looked at, not its rows. */
export async function shardProblem(
  dir: string,
  shard: ShardEntry,
): Promise<{ readonly problem: string; readonly readable: boolean } | null> {
  try {
    await checkSize(dir, shard);
    await checkShard(dir, shard);
  } catch (thrown) {
    return { problem: messageOf(thrown), readable: false };
  }
  const altered = await checksumProblem(dir, shard);
  return altered === null ? null : { problem: altered, readable: true };
}

async function checksumProblem(dir: string, shard: ShardEntry): Promise<string | null> {
  await checkSize(dir, shard);
  let checksum = 0;
  for await (const chunk of createReadStream(join(dir, shard.file), { highWaterMark: 2 ** 20 })) {
    checksum = crc32c(chunk, checksum);
  }
  if (hex(checksum) === shard.crc32c) return null;
  return `checksum is ${hex(checksum)}, the manifest says ${shard.crc32c}: the file was altered`;
}
