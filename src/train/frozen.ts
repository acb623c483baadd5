/**
 * What a stage does not train is on the disk once: `<stage>/frozen.safetensors`, written before the first step. Every
 * checkpoint has a second name of that file (a hard link), so that each is complete by itself, wherever it is copied, and
 * deleting one takes nothing from another.
 */
import { statSync } from 'node:fs';
import { readFile, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { ioError, temporaryName, writeStreamAtomic } from '../atomic.ts';
import { linkOrCopy } from '../link.ts';
import { encodeSafetensors } from '../models/safetensors.ts';
import { FROZEN, type FrozenFile, type NamedArraySource, WEIGHT_INDEX } from './checkpoint.ts';
import { checkFolder, type FileList, hex, readManifest } from './integrity.ts';
import type { CheckpointRef } from './rundir.ts';

/** Writes a stage's file, replacing one that is there. Throws GroundError('io'). */
export async function writeFrozen(
  stageDir: string,
  weights: ReadonlyMap<string, NamedArraySource>,
): Promise<FrozenFile> {
  const path = join(stageDir, FROZEN);
  const entries = [...weights].map(([name, { shape, dtype = 'F32', data }]) => ({
    name,
    dtype,
    shape,
    data,
  }));
  const written = await writeStreamAtomic(path, sink => encodeSafetensors(sink, entries));
  return { path, written, mtimeMs: await changedAt(path), tensors: [...weights.keys()] };
}

/** Makes the file of a checkpoint that was just read the stage's own again, should that be missing or another one. */
export async function adoptFrozen(stageDir: string, frozen: FrozenFile): Promise<FrozenFile> {
  const path = join(stageDir, FROZEN);
  if (!(await isSameFile(path, frozen.path))) await replaceByLink(frozen.path, path);
  return { ...frozen, path, mtimeMs: await changedAt(path) };
}

/** Whether the file is still there and nobody has touched its content; reads none of it. */
export async function isUnchanged({ path, written, mtimeMs }: FrozenFile): Promise<boolean> {
  try {
    // Not by the threads that may be busy with images: training stands still meanwhile.
    const now = statSync(path);
    return now.isFile() && now.size === written.bytes && now.mtimeMs === mtimeMs;
  } catch {
    return false;
  }
}

/**
 * Heals checkpoints of a stage in which nothing but the shared file is damaged: its content follows from what the stage
 * started with, so it is made again, and used only if it has the very checksum that the manifest asks for. Returns the
 * checkpoints that are whole again.
 *
 * @param damaged checkpoints that were passed over
 * @param initial the weights that the stage started with
 */
export async function repairFrozen(
  stageDir: string,
  damaged: readonly CheckpointRef[],
  initial: () => Promise<ReadonlyMap<string, NamedArraySource>>,
): Promise<CheckpointRef[]> {
  const sick: { readonly ref: CheckpointRef; readonly expected: FileList[string] }[] = [];
  for (const ref of damaged) {
    const problems = await checkFolder(ref.path, { checksums: true });
    const files = await readManifest(ref.path);
    const expected = 'problem' in files ? undefined : files.list[FROZEN];
    if (expected && problems.length === 1 && problems[0]?.file === FROZEN) sick.push({ ref, expected });
  }
  const [first] = sick;
  if (!first) return [];
  const { weight_map: places } = JSON.parse(await readFile(join(first.ref.path, WEIGHT_INDEX), 'utf8'));
  const weights = new Map([...(await initial())].filter(([name]) => places[name] === FROZEN));
  const remade = await writeFrozen(stageDir, weights);
  const alike = sick.filter(({ expected }) => expected.crc32c === hex(remade.written.crc32c));
  // Made from something else than the stage began with: the run would go on with other weights.
  if (alike.length === 0) await rm(remade.path, { force: true });
  for (const { ref } of alike) await replaceByLink(remade.path, join(ref.path, FROZEN));
  return alike.map(({ ref }) => ref);
}

async function replaceByLink(from: string, to: string): Promise<void> {
  const temporary = temporaryName(to);
  await rm(temporary, { force: true });
  await linkOrCopy(from, temporary);
  await rename(temporary, to).catch(thrown => {
    throw ioError(thrown, 'publish', to);
  });
}

async function isSameFile(a: string, b: string): Promise<boolean> {
  const [one, two] = await Promise.all([a, b].map(path => stat(path).catch(() => undefined)));
  return one !== undefined && two !== undefined && one.ino === two.ino && one.dev === two.dev;
}

async function changedAt(path: string): Promise<number> {
  const { mtimeMs } = await stat(path).catch(thrown => {
    throw ioError(thrown, 'read', path);
  });
  return mtimeMs;
}
