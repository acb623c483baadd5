import { copyFileSync, mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { GroundError } from '../../errors.ts';
import { nativeSourceDir, nativeSources } from '../installed.ts';
import { lastLines, runCommand } from './command.ts';
import { hasOpHeaders, type Library } from './library.ts';
import { nodeHeadersDir } from './tools.ts';

/** The addons' file names in an engine folder, and the link to their libraries. */
export const ADDON_FILE = 'ground_engine.node';
export const LOADER_FILE = 'ground_loader.node';
export const LIBRARY_LINK = 'lib';

/** The prefix of build folders; the number after it is the process that builds there. */
export const BUILD_PREFIX = 'ground-build-';

/**
 * Compiles the two addons against a library into `dir`, with a link to the library beside them.
 *
 * @throws GroundError('engine') with the compiler's last words
 */
export async function buildAddon(library: Library, dir: string, env: NodeJS.ProcessEnv): Promise<void> {
  // Not under `dir`: make cannot work in a path with spaces, and the user's cache folder may be one.
  const build = mkdtempSync(join(tmpdir(), `${BUILD_PREFIX}${process.pid}-`));
  try {
    prepare(build, library);
    const require = createRequire(import.meta.url);
    const headers = nodeHeadersDir();
    const links = library.files.map(file => join(build, 'deps', 'lib', file)).join(' ');
    const args = [
      require.resolve('node-gyp/bin/node-gyp.js'),
      'rebuild',
      '--jobs=max',
      ...(headers === undefined ? [] : [`--nodedir=${headers}`]),
      '--',
      `-Dtf_libraries=${links}`,
      `-Dfused=${hasOpHeaders(library.includeDir) ? 1 : 0}`,
    ];
    const done = await runCommand(process.execPath, args, { env, cwd: build });
    if (done.status !== 0) {
      throw new GroundError('engine', `the addon does not compile:\n${lastLines(done.stderr, 15)}`, {
        hint: 'see the compiler messages above; GCC 9 or Clang 10 and newer are known to do',
      });
    }
    for (const file of [LOADER_FILE, ADDON_FILE]) {
      copyFileSync(join(build, 'build', 'Release', file), join(dir, file));
    }
    symlinkSync(library.dir, join(dir, LIBRARY_LINK));
  } finally {
    rmSync(build, { recursive: true, force: true });
  }
}

/** Sources as copies, everything else as links: so no path with spaces reaches make. */
function prepare(build: string, library: Library): void {
  const sources = nativeSourceDir();
  for (const name of nativeSources(sources)) copyFileSync(join(sources, name), join(build, name));
  const deps = join(build, 'deps');
  mkdirSync(deps);
  const napi = createRequire(import.meta.url).resolve('node-addon-api/package.json');
  symlinkSync(dirname(napi), join(deps, 'napi'));
  symlinkSync(library.includeDir, join(deps, 'include'));
  symlinkSync(library.dir, join(deps, 'lib'));
}
