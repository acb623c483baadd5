import { mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { quotaCores, usableCores } from '../../src/engine/cores.ts';
import { chooseInstalled, describeEngine, engineInfo, startEngine } from '../../src/engine/engine.ts';
import {
  cacheDir,
  damageOf,
  engineFolder,
  findInstalled,
  findStale,
  type InstalledEngine,
  nativeSourceHash,
} from '../../src/engine/installed.ts';
import { loadAddon } from '../../src/engine/tensorflow.ts';
import * as tf from '../../src/engine/tf.ts';

let dir: string;
let cacheBefore: string | undefined;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'ground-test-'));
  cacheBefore = process.env.XDG_CACHE_HOME;
});
afterEach(() => {
  rmSync(dir, { recursive: true });
  if (cacheBefore === undefined) delete process.env.XDG_CACHE_HOME;
  else process.env.XDG_CACHE_HOME = cacheBefore;
});

/** An engine made of three files with nothing in them that could be loaded. */
function fakeEngine(device: 'cpu' | 'gpu', created = 1): InstalledEngine {
  const folder = join(cacheDir({ XDG_CACHE_HOME: dir }), engineFolder('2.21.0', device, nativeSourceHash()));
  mkdirSync(folder, { recursive: true });
  const file = (name: string) => {
    const path = join(folder, name);
    writeFileSync(path, 'not a library');
    return { path, bytes: 13 };
  };
  const engine: InstalledEngine = {
    version: '2.21.0',
    device,
    source: 'a test',
    libraries: [file('libtensorflow_cc.so.2')],
    includeDir: folder,
    loader: file('ground_loader.node'),
    addon: file('ground_engine.node'),
    created,
  };
  writeFileSync(join(folder, 'engine.json'), JSON.stringify(engine));
  return engine;
}

describe('choice of the engine', () => {
  const cpu = { device: 'cpu', version: 'c' } as InstalledEngine;
  const gpu = { device: 'gpu', version: 'g' } as InstalledEngine;

  it('takes what suits the device', () => {
    expect(chooseInstalled([cpu, gpu], 'auto')).toBe(gpu);
    expect(chooseInstalled([cpu], 'auto')).toBe(cpu);
    expect(chooseInstalled([cpu, gpu], 'cpu')).toBe(cpu);
    expect(chooseInstalled([gpu], 'cpu')).toBe(gpu);
    expect(chooseInstalled([cpu], 'gpu')).toBeUndefined();
    expect(chooseInstalled([], 'auto')).toBeUndefined();
  });

  it('finds what setup has left, newest first, and tells other builds apart', () => {
    process.env.XDG_CACHE_HOME = dir;
    expect(findInstalled()).toEqual([]);
    const older = fakeEngine('cpu', 1);
    const newer = fakeEngine('gpu', 2);
    expect(findInstalled()).toEqual([newer, older]);
    expect(findStale()).toEqual([]);
    expect(findInstalled(undefined, '0123456789ab')).toEqual([]);
    expect(findStale(undefined, '0123456789ab')).toHaveLength(2);
    writeFileSync(join(older.includeDir, 'engine.json'), '{"version": "2.2');
    expect(findInstalled()).toEqual([newer]);
    expect(findStale()).toHaveLength(1);
  });

  it('ignores a relative cache folder, as the XDG specification asks', () => {
    expect(cacheDir({ XDG_CACHE_HOME: '/a b' })).toBe('/a b/ground');
    expect(cacheDir({ XDG_CACHE_HOME: 'relative' })).toMatch(/^\/.*\.cache\/ground$/);
  });
});

describe('startEngine', () => {
  it('runs WebAssembly where nothing is set up, and says what is asked for in vain', async () => {
    process.env.XDG_CACHE_HOME = dir;
    const info = await startEngine({ engine: 'auto' });
    expect(info).toEqual({ name: 'wasm', device: 'cpu', version: tf.version_core, threads: 1 });
    expect(engineInfo()).toBe(info);
    expect(describeEngine(info)).toBe(`WebAssembly, TensorFlow.js ${tf.version_core} on the CPU, 1 thread`);
    await expect(startEngine({ engine: 'tensorflow' })).rejects.toMatchObject({
      code: 'engine',
      message: 'libtensorflow is not set up',
      hint: expect.stringContaining('ground setup'),
    });
    await expect(startEngine({ device: 'gpu' })).rejects.toMatchObject({
      code: 'engine',
      hint: 'run `ground setup --device gpu`',
    });
    await expect(startEngine({ engine: 'wasm', device: 'gpu' })).rejects.toMatchObject({ code: 'engine' });
  });

  it('does not take an engine for CPUs when a GPU is asked for', async () => {
    process.env.XDG_CACHE_HOME = dir;
    fakeEngine('cpu');
    await expect(startEngine({ device: 'gpu' })).rejects.toThrow('not set up for GPUs');
  });

  it('does not fall back to WebAssembly when ground is newer than its engine', async () => {
    process.env.XDG_CACHE_HOME = dir;
    mkdirSync(join(dir, 'ground', engineFolder('2.21.0', 'cpu', '0123456789ab')), { recursive: true });
    await expect(startEngine({ engine: 'auto' })).rejects.toMatchObject({
      message: 'libtensorflow was set up for another version of ground',
      hint: expect.stringContaining('ground setup'),
    });
    await expect(startEngine({ engine: 'wasm' })).resolves.toMatchObject({ name: 'wasm' });
  });

  it.each([0, -1, 1.5, Number.NaN])('refuses %s threads', async threads => {
    await expect(startEngine({ engine: 'wasm', threads })).rejects.toMatchObject({ code: 'usage' });
  });

  it('names the file that is damaged, and the way out', async () => {
    process.env.XDG_CACHE_HOME = dir;
    const engine = fakeEngine('cpu');
    const [library] = engine.libraries;
    truncateSync(library?.path ?? '', 5);
    expect(damageOf(engine)).toBe(`${library?.path} has 5 bytes instead of 13`);
    await expect(startEngine({ engine: 'auto' })).rejects.toMatchObject({
      code: 'engine',
      message: expect.stringContaining('has 5 bytes instead of 13'),
      hint: expect.stringContaining('ground setup --force'),
    });
    rmSync(engine.addon.path);
    writeFileSync(library?.path ?? '', 'not a library');
    await expect(startEngine({ engine: 'tensorflow' })).rejects.toThrow(`${engine.addon.path} is missing`);
  });

  it('says so when a file of the right length is no library', () => {
    process.env.XDG_CACHE_HOME = dir;
    expect(() => loadAddon(fakeEngine('cpu'))).toThrowError(
      expect.objectContaining({
        code: 'engine',
        message: expect.stringContaining('cannot be loaded'),
        hint: expect.stringContaining('ground setup --force'),
      }),
    );
  });

  it.skipIf(findInstalled().length === 0)(
    'runs both engines in turn, each computing for itself',
    async () => {
      const values: number[][] = [];
      for (const engine of ['tensorflow', 'wasm', 'tensorflow'] as const) {
        const info = await startEngine({ engine, device: 'cpu' });
        expect(info.name).toBe(engine);
        expect(tf.getBackend()).toBe(engine);
        values.push(tf.tidy(() => [...tf.matMul(tf.tensor2d([1, 2, 3, 4], [2, 2]), tf.eye(2)).dataSync()]));
      }
      expect(values).toEqual([
        [1, 2, 3, 4],
        [1, 2, 3, 4],
        [1, 2, 3, 4],
      ]);
      const { threads } = engineInfo();
      await expect(startEngine({ device: 'cpu', threads: threads + 1 })).rejects.toThrow('runs already');
    },
  );
});

describe('cores', () => {
  it('reads a container quota, rounding up', () => {
    expect(quotaCores('200000 100000\n')).toBe(2);
    expect(quotaCores('150000 100000')).toBe(2);
    expect(quotaCores('max 100000')).toBe(Number.POSITIVE_INFINITY);
    expect(quotaCores('')).toBe(Number.POSITIVE_INFINITY);
    expect(usableCores()).toBeGreaterThanOrEqual(1);
  });
});
