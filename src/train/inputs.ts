import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { ioError } from '../atomic.ts';
import { readManifest } from '../data/manifest.ts';
import type { Inputs } from './checkpoint.ts';
import type { Recipe } from './recipe.ts';

/**
 * Fingerprints of the files that decide what a stage learns and that its recipe only names: the tokenizer's bytes, and the
 * checksums of every dataset's shards, wherever they lie.
 */
export async function readInputs({ model, stage }: Recipe): Promise<Inputs> {
  const prints = new Map<string, string>();
  for (const { dataset } of stage.data) {
    if (prints.has(dataset)) continue;
    const { shards } = await readManifest(dataset);
    prints.set(dataset, sha256(JSON.stringify(shards.map(({ rows, crc32c }) => [rows, crc32c]))));
  }
  const tokenizer = await readFile(model.tokenizer).catch(thrown => {
    throw ioError(thrown, 'read', model.tokenizer);
  });
  return {
    tokenizer: sha256(tokenizer),
    data: stage.data.map(({ dataset }) => prints.get(dataset) ?? ''),
  };
}

function sha256(content: string | Uint8Array): string {
  return createHash('sha256').update(content).digest('hex');
}
