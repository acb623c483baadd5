/**
 * Images that a dataset links to instead of holding them: how their paths are stored, and how they are read.
 *
 * A path is stored relative to the dataset's folder where the image lies below one of the two folders above it
 * (`data/images` beside `data/built/train`): such a project can be moved or mounted elsewhere as a whole. Images farther
 * away, on another disk say, keep their absolute path, so that the dataset's folder can be moved alone.
 */
import { readFile } from 'node:fs/promises';
import { dirname, parse, relative, resolve, sep } from 'node:path';
import { errorCode } from '../atomic.ts';
import { GroundError, messageOf } from '../errors.ts';

const FOLDERS_UP = 2;

/** What a dataset in `dir` stores for the image at `path`; slashes on every system. */
export function storedLink(dir: string, path: string): string {
  const [folder, image] = [resolve(dir), resolve(path)];
  const { root } = parse(folder);
  let above = folder;
  for (let i = 0; i < FOLDERS_UP && dirname(above) !== root; i++) above = dirname(above);
  const isNear = image.startsWith(`${above}${sep}`);
  return (isNear ? relative(folder, image) : image).replaceAll(sep, '/');
}

/** The absolute path of a stored link. */
export function resolveLink(dir: string, stored: string): string {
  return resolve(dir, stored);
}

/** The bytes of a linked image. Throws `data` where it is missing, empty or not readable, with its path. */
export async function readLink(path: string): Promise<Uint8Array> {
  const bytes = await readFile(path).catch(thrown => {
    const missing = errorCode(thrown) === 'ENOENT' || errorCode(thrown) === 'ENOTDIR';
    throw new GroundError(
      'data',
      missing ? `the linked image ${path} is missing` : `the linked image ${path}: ${messageOf(thrown)}`,
      { hint: LINK_HINT, cause: thrown },
    );
  });
  if (bytes.length === 0) {
    throw new GroundError('data', `the linked image ${path} is empty`, { hint: LINK_HINT });
  }
  return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

const LINK_HINT = 'put the images back where they were, or build the dataset again';
