import { open, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { crc32c } from '@node-rs/crc32';
import { errorCode, ioError, readBack, type Written } from '../atomic.ts';

/** Written last: the folder is whole when every file in it has the size and checksum that the manifest lists. */
export const MANIFEST = 'manifest.json';
const MANIFEST_FORMAT = 1;

/** What is wrong with one file of a folder. */
export interface Problem {
  readonly file: string;
  readonly problem: string;
}

/** What the manifest says of each file. */
export type FileList = Readonly<Record<string, { readonly bytes: number; readonly crc32c: string }>>;

/** The manifest of files by name. It carries a checksum of itself, and its text is the only one for its content. */
export function manifestText(files: ReadonlyMap<string, Written>): string {
  return canonicalText(listOf(files));
}

/** Files as the manifest lists them, by name. */
export function listOf(files: ReadonlyMap<string, Written>): FileList {
  const list = [...files].sort().map(([name, w]) => [name, { bytes: w.bytes, crc32c: hex(w.crc32c) }]);
  return Object.fromEntries(list);
}

function canonicalText(files: FileList): string {
  const checksum = hex(crc32c(JSON.stringify(files)));
  return `${JSON.stringify({ format: MANIFEST_FORMAT, files, crc32c: checksum }, null, 2)}\n`;
}

/**
 * Compares a folder with its manifest; the empty list means that it is whole. Files that the manifest does not list are
 * ignored. Without `checksums` only presence and sizes are compared, which reads nothing but the manifest.
 */
export async function checkFolder(
  folder: string,
  { checksums }: { readonly checksums: boolean },
): Promise<Problem[]> {
  const files = await readManifest(folder);
  if ('problem' in files) return [files];
  return checkFiles(folder, files.list, { checksums });
}

/** As `checkFolder`, for the files of a list; others, listed or not, are not looked at. */
export async function checkFiles(
  folder: string,
  list: FileList,
  { checksums }: { readonly checksums: boolean },
): Promise<Problem[]> {
  const found = await Promise.all(
    Object.entries(list).map(async ([file, expected]) => ({
      file,
      problem: await compare(join(folder, file), expected, checksums),
    })),
  );
  return found.flatMap(({ file, problem }) => (problem === undefined ? [] : [{ file, problem }]));
}

/** What is wrong with a checksum found in a file whose size is right; undefined when it is the one expected. */
export function checksumProblem(found: number, expected: string): string | undefined {
  if (hex(found) === expected) return undefined;
  return `has the checksum ${hex(found)} instead of ${expected}: its content changed after it was written`;
}

/** Sum of the sizes that the manifest lists, bytes; null when there is no readable manifest. */
export async function listedBytes(folder: string): Promise<number | null> {
  const files = await readManifest(folder);
  return 'problem' in files ? null : Object.values(files.list).reduce((sum, f) => sum + f.bytes, 0);
}

/** The files that a folder should have, or what is wrong with its manifest. Throws GroundError('io'). */
export async function readManifest(folder: string): Promise<{ readonly list: FileList } | Problem> {
  let text: string;
  try {
    text = await readFile(join(folder, MANIFEST), 'utf8');
  } catch (thrown) {
    if (['ENOENT', 'ENOTDIR', 'EISDIR'].includes(errorCode(thrown) ?? '')) {
      return { file: MANIFEST, problem: 'is missing' };
    }
    throw ioError(thrown, 'read', join(folder, MANIFEST));
  }
  const list = parseFiles(text);
  if (!list) return { file: MANIFEST, problem: 'is damaged' };
  return { list };
}

/** The list of files, or undefined when the text is not, byte for byte, what `manifestText` writes. */
function parseFiles(text: string): FileList | undefined {
  try {
    const { files } = JSON.parse(text);
    // Any other content, wrong types included, is written differently.
    return canonicalText(files) === text && files !== null && typeof files === 'object' ? files : undefined;
  } catch {
    return undefined;
  }
}

async function compare(
  path: string,
  expected: { readonly bytes: number; readonly crc32c: string },
  checksums: boolean,
): Promise<string | undefined> {
  const handle = await open(path, 'r').catch(thrown => {
    if (errorCode(thrown) === 'ENOENT') return undefined;
    throw ioError(thrown, 'open', path);
  });
  if (!handle) return 'is missing';
  try {
    const stat = await handle.stat();
    if (!stat.isFile()) return 'is not a file';
    if (stat.size !== expected.bytes) return `has ${stat.size} bytes instead of ${expected.bytes}`;
    if (!checksums) return undefined;
    const found = await readBack(handle, stat.size);
    return checksumProblem(found, expected.crc32c);
  } catch (thrown) {
    throw ioError(thrown, 'read', path);
  } finally {
    await handle.close();
  }
}

/** A checksum as the manifest writes it. */
export function hex(checksum: number): string {
  return checksum.toString(16).padStart(8, '0');
}
