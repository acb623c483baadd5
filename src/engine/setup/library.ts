import { existsSync, readdirSync, realpathSync } from 'node:fs';
import { join } from 'node:path';

/** A libtensorflow with its C headers, somewhere on this machine. Paths are absolute. */
export interface Library {
  /** Where it came from, in words. */
  readonly source: string;
  readonly device: 'cpu' | 'gpu';
  /** The folder of the shared libraries; the addon's search path. */
  readonly dir: string;
  /** The shared libraries to link with, by file name in `dir`. */
  readonly files: readonly string[];
  /** Holds tensorflow/c/c_api.h. */
  readonly includeDir: string;
}

/**
 * The files of a libtensorflow in a folder: of the Python package (libtensorflow_cc.so.2, libtensorflow_framework.so.2)
 * or of the C library's archive (libtensorflow.so.2, and the framework), there or under lib; with headers in include.
 * Undefined where there is none.
 */
export function inspectLibrary(dir: string): Pick<Library, 'dir' | 'files' | 'includeDir'> | undefined {
  for (const candidate of [dir, join(dir, 'lib'), join(dir, 'tensorflow')]) {
    if (!existsSync(candidate)) continue;
    const files = libraryFiles(readdirSync(candidate));
    const includeDir = [join(candidate, 'include'), join(candidate, '..', 'include')].find(include =>
      existsSync(join(include, 'tensorflow', 'c', 'eager', 'c_api.h')),
    );
    if (files && includeDir)
      return { dir: realpathSync(candidate), files, includeDir: realpathSync(includeDir) };
  }
  return undefined;
}

/** Whether a folder of headers has those in C++ that ops are compiled against; an archive of the C library has not. */
export function hasOpHeaders(includeDir: string): boolean {
  return existsSync(join(includeDir, 'tensorflow', 'core', 'framework', 'op_kernel.h'));
}

/** The main library and the framework it needs, among a folder's files; the shortest name with a major version. */
export function libraryFiles(names: readonly string[]): string[] | undefined {
  const pick = (stem: string) =>
    names
      .filter(name => new RegExp(`^${stem}\\.(so\\.\\d+|\\d+\\.dylib|so|dylib)$`).test(name))
      .sort((a, b) => Number(/\d/.test(b)) - Number(/\d/.test(a)))[0];
  const main = pick('libtensorflow_cc') ?? pick('libtensorflow');
  const framework = pick('libtensorflow_framework');
  if (!main) return undefined;
  return framework ? [main, framework] : [main];
}
