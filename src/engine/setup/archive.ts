import { createWriteStream, mkdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { GroundError, messageOf } from '../../errors.ts';
import { lastLines, runCommand } from './command.ts';
import { inspectLibrary, type Library } from './library.ts';

/** The newest C library that TensorFlow publishes for itself (tensorflow.org/install/lang_c). */
const VERSION = '2.18.0';
const ADDRESS = `https://storage.googleapis.com/tensorflow/versions/${VERSION}`;

/** The archive's name for a machine, or undefined where TensorFlow publishes none. */
export function archiveName(device: 'cpu' | 'gpu', platform: string, arch: string): string | undefined {
  if (platform === 'linux' && arch === 'x64') return `libtensorflow-${device}-linux-x86_64.tar.gz`;
  if (platform === 'darwin' && arch === 'arm64' && device === 'cpu')
    return 'libtensorflow-cpu-darwin-arm64.tar.gz';
  return undefined;
}

/**
 * Downloads TensorFlow's C library: the way out where there is no pip.
 *
 * @param temp a folder that is deleted afterwards whatever happens
 * @throws GroundError('engine') when there is none for this machine or the download fails
 */
export async function fetchArchive(
  device: 'cpu' | 'gpu',
  cache: string,
  temp: string,
  env: NodeJS.ProcessEnv,
  note: (text: string) => void,
): Promise<Library> {
  const source = `TensorFlow's C library ${VERSION}`;
  const kept = join(cache, `libtensorflow-${VERSION}-${device}`);
  const before = inspectLibrary(kept);
  if (before) return { ...before, device, source };
  const name = archiveName(device, process.platform, process.arch);
  if (name === undefined) {
    throw new GroundError(
      'engine',
      `TensorFlow publishes no C library for ${process.platform} ${process.arch}`,
      {
        hint: 'install pip for python3, or give a folder: `ground setup --libtensorflow DIR`',
      },
    );
  }
  note(`downloading ${name} ${VERSION}`);
  const archive = join(temp, name);
  const unpacked = join(temp, 'archive');
  mkdirSync(unpacked);
  try {
    const response = await fetch(`${ADDRESS}/${name}`);
    if (!response.ok || !response.body) throw new Error(`HTTP status ${response.status}`);
    await pipeline(Readable.fromWeb(response.body), createWriteStream(archive));
  } catch (cause) {
    throw new GroundError('engine', `${name} cannot be downloaded: ${messageOf(cause)}`, {
      hint: 'check the network; or install pip for python3; or give a folder: `ground setup --libtensorflow DIR`',
      cause,
    });
  }
  const tar = await runCommand('tar', ['-xzf', archive, '-C', unpacked], { env });
  if (tar.status !== 0 || !inspectLibrary(unpacked)) {
    throw new GroundError('engine', `${name} cannot be unpacked: ${lastLines(tar.stderr, 3)}`);
  }
  rmSync(kept, { recursive: true, force: true });
  renameSync(unpacked, kept);
  const files = inspectLibrary(kept);
  if (!files) throw new GroundError('io', `${kept} changed while it was being set up`);
  return { ...files, device, source };
}
