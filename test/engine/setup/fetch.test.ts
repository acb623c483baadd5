import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { archiveName, fetchArchive } from '../../../src/engine/setup/archive.ts';
import { requireSpace } from '../../../src/engine/setup/cache.ts';
import { inspectLibrary, libraryFiles } from '../../../src/engine/setup/library.ts';
import { findInPython } from '../../../src/engine/setup/python.ts';
import { setupEngine } from '../../../src/engine/setup/setup.ts';
import { fetchWheel, parseCudaRequirements, TENSORFLOW_VERSION } from '../../../src/engine/setup/wheel.ts';
import { makeSandbox, PYTHON_PATH, type Sandbox, writeWheel } from './sandbox.ts';

const quiet = () => {};

let box: Sandbox;
let temp: string;
beforeEach(() => {
  box = makeSandbox();
  temp = join(box.cache, 'tmp-test');
  mkdirSync(temp, { recursive: true });
});
afterEach(() => {
  vi.unstubAllGlobals();
  box.remove();
});

/** A python3 whose pip "downloads" a file of the sandbox; all else is the real one's. */
function pipThatGives(wheel: string, name: string): void {
  box.program(
    'python3',
    `case "$*" in
  "-m pip --version") echo pip 1.0;;
  "-m pip download"*) echo "$*" >> "$TEST_LOG"; while [ "$1" != -d ]; do shift; done; cp "${wheel}" "$2/${name}";;
  *) exec "${PYTHON_PATH}" "$@";;
esac`,
  );
}

const WHEEL_NAME = `tensorflow_cpu-${TENSORFLOW_VERSION}-cp311-cp311-linux.whl`;
const TENSORFLOW_FILES = {
  'tensorflow/libtensorflow_cc.so.2': 'library',
  'tensorflow/libtensorflow_framework.so.2': 'framework',
  'tensorflow/include/tensorflow/c/eager/c_api.h': 'header',
  'tensorflow/include/tsl/platform/ctstring_internal.h': 'header',
  'tensorflow/include/tensorflow/core/framework/op_kernel.h': 'header',
  'tensorflow/include/external/com_google/other.h': 'not needed',
  'tensorflow/python/big.so': 'not needed',
  'tensorflow/libtensorflow_cc.so.2/../../escape': 'not needed',
};

describe('the wheel', () => {
  const wheel = () => join(box.dir, 'wheel.zip');

  it('keeps the libraries and the headers that are needed, and fetches only once', async () => {
    writeWheel(wheel(), TENSORFLOW_FILES);
    pipThatGives(wheel(), WHEEL_NAME);
    const library = await fetchWheel('cpu', box.cache, temp, box.env, quiet);
    expect(library).toMatchObject({
      device: 'cpu',
      dir: join(box.cache, `libtensorflow-${TENSORFLOW_VERSION}-cpu`, 'tensorflow'),
      files: ['libtensorflow_cc.so.2', 'libtensorflow_framework.so.2'],
    });
    expect(existsSync(join(library.includeDir, 'tsl/platform/ctstring_internal.h'))).toBe(true);
    expect(existsSync(join(library.includeDir, 'external'))).toBe(false);
    expect(existsSync(join(library.dir, 'python'))).toBe(false);
    expect(await fetchWheel('cpu', box.cache, temp, box.env, quiet)).toEqual(library);
    expect(box.log()).toHaveLength(1);
    expect(box.log()[0]).toContain(`tensorflow-cpu==${TENSORFLOW_VERSION}`);
  });

  it('for GPUs fetches the CUDA packages that the wheel names, beside the library', async () => {
    const metadata = [
      'Requires-Dist: numpy>=1.26.0',
      'Requires-Dist: nvidia-cudnn-cu12<10.0,>=9.3; extra == "and-cuda"',
      'Requires-Dist: pytest (>=7) ; extra == "test"',
    ].join('\n');
    writeWheel(wheel(), { ...TENSORFLOW_FILES, 'tensorflow-2.dist-info/METADATA': metadata });
    writeWheel(join(box.dir, 'cuda.zip'), {
      'nvidia/cudnn/lib/libcudnn.so.9': 'cudnn',
      'nvidia/cudnn/include/cudnn.h': 'not needed',
    });
    box.program(
      'python3',
      `case "$*" in
  "-m pip download"*nvidia*) echo "$*" >> "$TEST_LOG"; while [ "$1" != -d ]; do shift; done; cp "${box.dir}/cuda.zip" "$2/nvidia_cudnn.whl";;
  "-m pip download"*) while [ "$1" != -d ]; do shift; done; cp "${wheel()}" "$2/tensorflow.whl";;
  *) exec "${PYTHON_PATH}" "$@";;
esac`,
    );
    const { dir, device } = await fetchWheel('gpu', box.cache, temp, box.env, quiet);
    expect(device).toBe('gpu');
    expect(box.log()[0]).toMatch(/nvidia-cudnn-cu12<10\.0,>=9\.3$/);
    expect(readFileSync(join(dir, '../nvidia/cudnn/lib/libcudnn.so.9'), 'utf8')).toBe('cudnn');
    expect(existsSync(join(dir, '../nvidia/cudnn/include'))).toBe(false);
  });

  it('shows what pip says when it fails, and keeps nothing', async () => {
    box.program(
      'python3',
      `case "$*" in *download*) echo "ERROR: No matching distribution" >&2; exit 1;; *--version*) exit 0;; *) exec "${PYTHON_PATH}" "$@";; esac`,
    );
    await expect(setupEngine({ device: 'cpu', env: box.env })).rejects.toMatchObject({
      code: 'engine',
      message: expect.stringContaining('ERROR: No matching distribution'),
      hint: expect.stringContaining('--libtensorflow DIR'),
    });
    expect(box.leftovers()).toEqual([]);
  });

  it('takes the wheel for another Python where there is none for this one', async () => {
    writeWheel(wheel(), TENSORFLOW_FILES);
    box.program(
      'python3',
      `case "$*" in
  *download*--python-version*) while [ "$1" != -d ]; do shift; done; cp "${wheel()}" "$2/${WHEEL_NAME}";;
  *download*) echo "ERROR: No matching distribution" >&2; exit 1;;
  *) exec "${PYTHON_PATH}" "$@";;
esac`,
    );
    expect((await fetchWheel('cpu', box.cache, temp, box.env, quiet)).device).toBe('cpu');
  });

  it('refuses a wheel that was cut short, and keeps nothing', async () => {
    writeWheel(wheel(), TENSORFLOW_FILES);
    truncateSync(wheel(), statSync(wheel()).size - 30);
    pipThatGives(wheel(), WHEEL_NAME);
    await expect(setupEngine({ device: 'cpu', env: box.env })).rejects.toThrow(
      /cannot unpack(.|\n)*BadZipFile/,
    );
    expect(existsSync(join(box.cache, `libtensorflow-${TENSORFLOW_VERSION}-cpu`))).toBe(false);
    expect(box.leftovers()).toEqual([]);
  });

  it('refuses a wheel without the library', async () => {
    writeWheel(wheel(), { 'tensorflow/__init__.py': '' });
    pipThatGives(wheel(), WHEEL_NAME);
    await expect(fetchWheel('cpu', box.cache, temp, box.env, quiet)).rejects.toThrow(
      'holds no libtensorflow',
    );
  });

  it('reads requirements as old and new wheels write them', () => {
    const metadata = `Requires-Dist: nvidia-nccl-cu12<3.0,>=2.27.7; extra == "and-cuda"
Requires-Dist: nvidia-cublas-cu12 (==12.5.3.2) ; extra == 'and-cuda'
Requires-Dist: keras>=3.12.0
`;
    expect(parseCudaRequirements(metadata)).toEqual([
      'nvidia-nccl-cu12<3.0,>=2.27.7',
      'nvidia-cublas-cu12==12.5.3.2',
    ]);
  });
});

describe("Python's TensorFlow", () => {
  function package_(cuda: boolean): NodeJS.ProcessEnv {
    const site = join(box.dir, 'site');
    for (const [name, text] of Object.entries({
      'tensorflow/__init__.py': 'raise SystemExit("this must not be imported")',
      'tensorflow/python/platform/build_info.py': `build_info = dict([('is_cuda_build', ${cuda ? 'True' : 'False'})])`,
      'tensorflow/libtensorflow_cc.so.2': '',
      'tensorflow/libtensorflow_framework.so.2': '',
      'tensorflow/include/tensorflow/c/eager/c_api.h': '',
    })) {
      mkdirSync(join(site, name, '..'), { recursive: true });
      writeFileSync(join(site, name), text);
    }
    return { ...box.env, PYTHONPATH: site };
  }

  it('is found without importing it', async () => {
    const env = package_(false);
    expect(await findInPython('cpu', env)).toMatchObject({
      device: 'cpu',
      dir: join(box.dir, 'site/tensorflow'),
      source: expect.stringContaining('TensorFlow of python3'),
    });
    expect(await findInPython('gpu', env)).toBeUndefined();
  });

  it('serves GPUs if it was built for them', async () => {
    expect(await findInPython('gpu', package_(true))).toMatchObject({ device: 'gpu' });
  });

  it('is not there where Python has none, or there is no Python', async () => {
    expect(await findInPython('cpu', { ...box.env, PYTHONPATH: join(box.dir, 'nowhere') })).toBeUndefined();
    expect(await findInPython('cpu', { ...box.env, PATH: temp })).toBeUndefined();
  });
});

describe('the C library archive', () => {
  it('exists for some machines only', () => {
    expect(archiveName('cpu', 'linux', 'x64')).toBe('libtensorflow-cpu-linux-x86_64.tar.gz');
    expect(archiveName('gpu', 'linux', 'x64')).toBe('libtensorflow-gpu-linux-x86_64.tar.gz');
    expect(archiveName('gpu', 'darwin', 'arm64')).toBeUndefined();
    expect(archiveName('cpu', 'linux', 'riscv64')).toBeUndefined();
  });

  it.skipIf(process.platform !== 'linux' || process.arch !== 'x64')(
    'is downloaded and unpacked once',
    async () => {
      const content = join(box.dir, 'content');
      for (const name of ['lib/libtensorflow.so.2', 'include/tensorflow/c/eager/c_api.h']) {
        mkdirSync(join(content, name, '..'), { recursive: true });
        writeFileSync(join(content, name), '');
      }
      execFileSync('tar', ['-czf', join(box.dir, 'archive.tar.gz'), '-C', content, 'lib', 'include']);
      const fetched = vi.fn(async () => new Response(readFileSync(join(box.dir, 'archive.tar.gz'))));
      vi.stubGlobal('fetch', fetched);
      const library = await fetchArchive('cpu', box.cache, temp, box.env, quiet);
      expect(library.files).toEqual(['libtensorflow.so.2']);
      expect(await fetchArchive('cpu', box.cache, temp, box.env, quiet)).toEqual(library);
      expect(fetched).toHaveBeenCalledTimes(1);
    },
  );

  it.skipIf(process.platform !== 'linux' || process.arch !== 'x64')(
    'is tried where there is no pip',
    async () => {
      box.program('python3', `case "$*" in *pip*) exit 1;; *) exec "${PYTHON_PATH}" "$@";; esac`);
      vi.stubGlobal('fetch', async () => new Response('gone', { status: 404 }));
      await expect(setupEngine({ device: 'cpu', env: box.env })).rejects.toMatchObject({
        code: 'engine',
        message: 'libtensorflow-cpu-linux-x86_64.tar.gz cannot be downloaded: HTTP status 404',
        hint: expect.stringContaining('pip'),
      });
      expect(box.leftovers()).toEqual([]);
    },
  );
});

describe('a library folder', () => {
  it('is recognised by its files', () => {
    expect(libraryFiles(['libtensorflow_framework.so.2', 'libtensorflow_cc.so.2', 'x.py'])).toEqual([
      'libtensorflow_cc.so.2',
      'libtensorflow_framework.so.2',
    ]);
    const archive = [
      'libtensorflow.so',
      'libtensorflow.so.2',
      'libtensorflow.so.2.18.0',
      'libtensorflow_framework.so.2',
    ];
    expect(libraryFiles(archive)).toEqual(['libtensorflow.so.2', 'libtensorflow_framework.so.2']);
    expect(libraryFiles(['libtensorflow_cc.2.dylib', 'libtensorflow_framework.2.dylib'])).toEqual([
      'libtensorflow_cc.2.dylib',
      'libtensorflow_framework.2.dylib',
    ]);
    expect(libraryFiles(['libtensorflow_framework.so.2'])).toBeUndefined();
    expect(inspectLibrary(join(box.dir, 'nowhere'))).toBeUndefined();
  });

  it('is of no use without headers', () => {
    writeFileSync(join(temp, 'libtensorflow.so.2'), '');
    expect(inspectLibrary(temp)).toBeUndefined();
  });
});

it('a disk without room is refused before the download', () => {
  expect(() => requireSpace(box.cache, 1e18)).toThrowError(
    expect.objectContaining({ code: 'io', message: expect.stringContaining('setup needs 1000000000.0 GB') }),
  );
  expect(() => requireSpace(box.cache, 1)).not.toThrow();
});
