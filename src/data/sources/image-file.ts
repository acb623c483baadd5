/** Image files that annotations name: found, read, and measured. */
import { readdir, readFile } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import sharp from 'sharp';
import { errorCode, ioError } from '../../atomic.ts';
import type { Size } from '../box.ts';

export interface ImageFile extends Size {
  readonly bytes: Uint8Array;
  /** Absolute. */
  readonly path: string;
}

/** Why an image cannot be used, in the words of a report. */
export type ImageProblem = 'image file missing' | 'image file not readable';

/** Codes of a name that no file has: annotations may hold anything. */
const NO_FILE: ReadonlySet<string> = new Set(['ENOENT', 'ENOTDIR', 'EISDIR', 'ENAMETOOLONG']);

/** Throws `io` where `folder` is no readable folder. */
export async function requireFolder(folder: string): Promise<void> {
  await readdir(folder).catch(thrown => {
    throw ioError(thrown, 'read the image folder', folder);
  });
}

/**
 * The image that an annotation file calls `name`: looked for under `folder` by that name and, where it is a path, by its
 * last part. Its size is as stored: annotations do not follow the orientation that a camera noted. Throws `io` on a disk
 * that fails.
 */
export async function readImageFile(folder: string, name: string): Promise<ImageFile | ImageProblem> {
  for (const path of new Set([join(folder, name), join(folder, basename(name))])) {
    const bytes = await readFile(path).catch(thrown => {
      if (NO_FILE.has(errorCode(thrown) ?? '')) return null;
      throw ioError(thrown, 'read', path);
    });
    if (!bytes) continue;
    const size = await sizeOf(bytes);
    return size ? { bytes: new Uint8Array(bytes), path: resolve(path), ...size } : 'image file not readable';
  }
  return 'image file missing';
}

async function sizeOf(bytes: Uint8Array): Promise<Size | null> {
  try {
    const { width, height } = await sharp(bytes).metadata();
    return { width, height };
  } catch {
    return null;
  }
}
