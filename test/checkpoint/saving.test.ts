import { cpSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { GroundError } from '../../src/errors.ts';
import type { RunEvent } from '../../src/telemetry/events.ts';
import { requireWhole, resolveCheckpoint } from '../../src/train/find.ts';
import { adoptFrozen, isUnchanged, writeFrozen } from '../../src/train/frozen.ts';
import { loadCheckpoint } from '../../src/train/reading.ts';
import { Saving } from '../../src/train/saving.ts';
import { openWeights } from '../../src/train/stored-weights.ts';
import { type CheckpointWriter, openWriter } from '../../src/train/writer.ts';
import { temporaryFolder } from '../helpers/folder.ts';
import { after, contentAt, frozenWeights } from './fault-model.ts';

const POLICY = { last: 2, best: 1, every: 0, goal: 'max' } as const;
const full = () => new GroundError('io', 'cannot write x: ENOSPC', { hint: 'free space' });

/** Saves into a fresh stage through a writer that fails as often as it is told to. */
async function open(failures: readonly unknown[] = []) {
  const stageDir = temporaryFolder();
  const events: RunEvent[] = [];
  const real = openWriter(false);
  const left = [...failures];
  const writer: CheckpointWriter = {
    async write(dir, content) {
      const failure = left.shift();
      if (failure !== undefined) throw failure;
      return real.write(dir, content);
    },
    close: () => real.close(),
  };
  const frozen = await writeFrozen(stageDir, frozenWeights());
  const listener = { on: (event: RunEvent) => void events.push(event), close: async () => undefined };
  const options = { stageDir, writer, listener, policy: POLICY, metric: undefined, retryAfter: [1, 1] };
  const saving = new Saving(options, '');
  const take = (step: number) => async () => contentAt(after(step), frozen);
  const types = () => events.map(event => (event.type === 'note' ? event.message : `${event.type}`));
  return { stageDir, events, saving, take, types, frozen };
}

describe('saving in the background', () => {
  it('returns once the copy is taken, and waits for the save before', async () => {
    const { saving, take, events, stageDir } = await open();
    await saving.begin(2, take(2));
    expect(events).toEqual([]);
    await saving.begin(4, take(4));
    expect(events.map(e => e.type)).toEqual(['checkpoint']);
    await saving.close();
    expect(events[1]).toMatchObject({ type: 'checkpoint', step: 4 });
    expect(Object.keys(events[1] ?? {})).toEqual(
      expect.arrayContaining(['pauseSeconds', 'waitSeconds', 'seconds', 'bytes']),
    );
    expect(saving.last).toBe(join(stageDir, 'checkpoint-000004'));
  });

  it('tells of a save that the disk refuses, and the next one succeeds', async () => {
    const { saving, take, types, events } = await open([full()]);
    await saving.begin(2, take(2));
    await saving.begin(4, take(4));
    await saving.close();
    expect(types()).toEqual(['save-failed', 'checkpoint']);
    expect(events[0]).toMatchObject({ step: 2, hint: 'free space', lastCheckpoint: null });
  });

  it('tries the last one again, and gives up in the end with what the disk said', async () => {
    const lucky = await open([full(), full()]);
    expect(await lucky.saving.complete(2, lucky.take(2))).toMatch(/checkpoint-000002$/);
    expect(lucky.types()).toEqual(['save-failed', 'save-failed', 'checkpoint']);
    const unlucky = await open([full(), full(), full()]);
    await expect(unlucky.saving.complete(2, unlucky.take(2))).rejects.toThrow('ENOSPC');
    await unlucky.saving.close();
  });

  it('does not take a mistake of the program for a full disk', async () => {
    const { saving, take, types } = await open([new TypeError('oops')]);
    await saving.begin(2, take(2));
    await expect(saving.begin(4, take(4))).rejects.toThrow('oops');
    expect(types()).toEqual([]);
  });

  it('deletes nothing while retention is paused', async () => {
    const { saving, take, stageDir } = await open();
    saving.retentionPaused = true;
    for (const step of [2, 4, 6]) await saving.complete(step, take(step));
    expect(readdirSync(stageDir).filter(name => name.startsWith('checkpoint-'))).toHaveLength(3);
    saving.retentionPaused = false;
    await saving.complete(8, take(8));
    expect(readdirSync(stageDir).filter(name => name.startsWith('checkpoint-'))).toEqual([
      'checkpoint-000006',
      'checkpoint-000008',
    ]);
  });
});

describe('weights that do not train', () => {
  it('are on the disk once, and in every checkpoint', async () => {
    const { saving, take, stageDir } = await open();
    for (const step of [2, 4]) await saving.complete(step, take(step));
    const files = ['', 'checkpoint-000002', 'checkpoint-000004'].map(at =>
      statSync(join(stageDir, at, 'frozen.safetensors')),
    );
    expect(new Set(files.map(file => file.ino)).size).toBe(1);
    expect(files[0]?.nlink).toBe(3);
    const { path } = await resolveCheckpoint(stageDir);
    const loaded = await loadCheckpoint(path);
    expect(loaded.model.get('llm.lm_head.weight')?.data).toEqual(
      frozenWeights().get('llm.lm_head.weight')?.data,
    );
    const weights = await openWeights(path);
    expect([...weights.tensors.keys()].sort()).toEqual([...loaded.model.keys()].sort());
    await weights.close();
    const { weight_map } = JSON.parse(readFileSync(join(path, 'model.safetensors.index.json'), 'utf8'));
    expect(weight_map).toEqual({
      'llm.lm_head.weight': 'frozen.safetensors',
      'projector.global.0.weight': 'model.safetensors',
    });
  });

  it('come along when a checkpoint is copied out of its run, and stay when the others are deleted', async () => {
    const { saving, take, stageDir } = await open();
    for (const step of [2, 4]) await saving.complete(step, take(step));
    const copy = join(temporaryFolder(), 'alone');
    cpSync(join(stageDir, 'checkpoint-000002'), copy, { recursive: true });
    rmSync(join(stageDir, 'checkpoint-000002'), { recursive: true });
    rmSync(join(stageDir, 'frozen.safetensors'));
    await requireWhole(join(stageDir, 'checkpoint-000004'));
    rmSync(stageDir, { recursive: true });
    await requireWhole(copy);
  });

  it('are noticed when somebody touches the file, and taken over from a checkpoint when it is gone', async () => {
    const { saving, take, stageDir, frozen } = await open();
    const path = await saving.complete(2, take(2));
    expect(await isUnchanged(frozen)).toBe(true);
    rmSync(frozen.path);
    expect(await isUnchanged(frozen)).toBe(false);
    const { frozen: shared } = await loadCheckpoint(path);
    if (!shared) throw new Error('no frozen weights');
    const adopted = await adoptFrozen(stageDir, shared);
    expect(await isUnchanged(adopted)).toBe(true);
    expect(statSync(adopted.path).ino).toBe(statSync(shared.path).ino);
    const bytes = readFileSync(adopted.path);
    bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) ^ 1;
    await new Promise(resolve => setTimeout(resolve, 20));
    writeFileSync(adopted.path, bytes);
    expect(await isUnchanged(adopted)).toBe(false);
  });
});
