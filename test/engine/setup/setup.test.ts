import { spawn } from 'node:child_process';
import { existsSync, readdirSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { damageOf, findInstalled } from '../../../src/engine/installed.ts';
import { setupEngine } from '../../../src/engine/setup/setup.ts';
import { COPYING_MAKE, installed, libraryDir, makeSandbox, type Sandbox } from './sandbox.ts';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));

let box: Sandbox;
beforeEach(() => {
  box = makeSandbox();
});
afterEach(() => box.remove());

const fromFolder = (force = false) =>
  setupEngine({ device: 'cpu', libtensorflow: libraryDir, force, env: box.env });

describe.skipIf(!installed)('ground setup with a library at hand', () => {
  it('builds once, and is ready at once the next time', async () => {
    const first = await fromFolder();
    expect(first.changed).toBe(true);
    expect(first.engine).toMatchObject({ version: installed?.version, device: 'cpu', source: libraryDir });
    expect(findInstalled(box.cache)).toEqual([first.engine]);
    expect(damageOf(first.engine)).toBeUndefined();
    const second = await fromFolder();
    expect(second).toMatchObject({ changed: false, engine: first.engine });
    expect(box.log()).toEqual(['make']);
    expect((await fromFolder(true)).changed).toBe(true);
    expect(box.log()).toEqual(['make', 'make']);
    expect(findInstalled(box.cache)).toHaveLength(1);
    expect(box.leftovers()).toEqual([]);
  });

  it('mends an engine whose addon was cut short', async () => {
    const { engine } = await fromFolder();
    truncateSync(engine.addon.path, 100);
    expect((await fromFolder()).changed).toBe(true);
    expect(damageOf(findInstalled(box.cache)[0] ?? engine)).toBeUndefined();
  });

  it('works in a cache whose path has spaces', async () => {
    box.remove();
    box = makeSandbox('my cache');
    const { engine } = await fromFolder();
    expect(engine.addon.path).toContain('my cache');
  });

  it('leaves nothing half-done when it is killed, and works the next time', async () => {
    box.program('make', `echo started >> "$TEST_LOG"; sleep 60`);
    const args = ['--import', 'tsx', join(ROOT, 'src/cli/main.ts'), 'setup', '--libtensorflow', libraryDir];
    const child = spawn(process.execPath, args, { env: box.env, cwd: ROOT, detached: true, stdio: 'ignore' });
    const died = new Promise(resolve => child.on('exit', resolve));
    while (box.log().length === 0 && child.exitCode === null) await sleep(20);
    expect(box.log()).toEqual(['started']);
    child.kill('SIGKILL');
    await died;
    // What it had started lives on: its own process group, so that nothing else is hit.
    process.kill(-(child.pid ?? 0), 'SIGKILL');
    expect(findInstalled(box.cache)).toEqual([]);
    expect(box.leftovers()).toHaveLength(3); // lock, folder in the cache, build folder
    box.program('make', COPYING_MAKE);
    await fromFolder();
    expect(findInstalled(box.cache)).toHaveLength(1);
    expect(box.leftovers()).toEqual([]);
  });

  it('lets one of two setups at once do the work', async () => {
    box.program('make', `sleep 1; ${COPYING_MAKE}`);
    const notes: string[] = [];
    const options = { device: 'cpu', libtensorflow: libraryDir, env: box.env } as const;
    const both = await Promise.all([
      setupEngine({ ...options, note: text => notes.push(text) }),
      setupEngine({ ...options, note: text => notes.push(text) }),
    ]);
    expect(both.map(result => result.changed).sort()).toEqual([false, true]);
    expect(box.log()).toEqual(['make']);
    expect(notes.filter(text => text.startsWith(`another setup (process ${process.pid})`))).toHaveLength(1);
  });

  it('shows what the compiler says, and keeps the engine of before', async () => {
    const { engine } = await fromFolder();
    box.program('make', 'echo "addon.cc:1: error: no such thing" >&2; exit 2');
    await expect(fromFolder(true)).rejects.toMatchObject({
      code: 'engine',
      message: expect.stringContaining('addon.cc:1: error: no such thing'),
    });
    expect(findInstalled(box.cache)).toEqual([engine]);
    expect(box.leftovers()).toEqual([]);
  });

  it('does not install an engine that does not work', async () => {
    box.program(
      'make',
      `mkdir -p build/Release; for f in loader engine; do echo x > build/Release/ground_$f.node; done`,
    );
    await expect(fromFolder()).rejects.toMatchObject({
      code: 'engine',
      message: expect.stringMatching(/the built engine does not work: .*Error: .*ground_engine\.node/),
    });
    expect(readdirSync(box.cache)).toEqual([]);
  });
});

describe('ground setup where something is missing', () => {
  it('lists all that is missing, with the command that installs it', async () => {
    const bare = { ...box.env, PATH: join(box.dir, 'tmp') };
    await expect(setupEngine({ device: 'cpu', env: bare })).rejects.toMatchObject({
      code: 'engine',
      message: 'setup needs a C++ compiler (g++ or clang++), make, python3',
      hint: 'apt-get install g++; apt-get install make; apt-get install python3',
    });
    box.program('apk', 'exit 0');
    await expect(
      setupEngine({ device: 'cpu', env: { ...box.env, CXX: 'no-such-compiler' } }),
    ).rejects.toMatchObject({ hint: 'apk add g++' });
  });

  it('refuses a folder without a library before anything else', async () => {
    await expect(setupEngine({ device: 'cpu', libtensorflow: box.dir, env: box.env })).rejects.toMatchObject({
      code: 'engine',
      message: `${box.dir} holds no libtensorflow with its headers`,
    });
    expect(existsSync(box.cache)).toBe(false);
  });

  it('says which cache folder it cannot write', async () => {
    const file = join(box.dir, 'file');
    writeFileSync(file, '');
    await expect(
      setupEngine({ device: 'cpu', env: { ...box.env, XDG_CACHE_HOME: file } }),
    ).rejects.toMatchObject({
      code: 'io',
      message: expect.stringContaining(join(file, 'ground')),
      hint: expect.stringContaining('XDG_CACHE_HOME'),
    });
  });
});
