import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { readResolvedRecipe } from '../../src/config/resolved.ts';
import { loadForInference } from '../../src/eval/load.ts';
import { exportHuggingFace } from '../../src/export/huggingface.ts';
import { widen } from '../../src/models/dtypes.ts';
import { openSafetensors } from '../../src/models/safetensors.ts';
import { verifyCheckpoint } from '../../src/train/reading.ts';
import { startTestEngine } from '../helpers/engine.ts';
import { temporaryFolder } from '../helpers/folder.ts';
import { encoderError, FIXTURES, folders, importInto, logitsError, tensorsOf } from './import.ts';

beforeAll(async () => {
  await startTestEngine();
});

describe.each([
  { clip: 'clip', dinov2: 'dinov2', llm: 'llama', dtypes: ['F32', 'F16', 'F32'], left: 23 },
  { clip: 'clip-vision', dinov2: 'dinov2-registers', llm: 'qwen2', dtypes: ['BF16', 'F32', 'BF16'], left: 0 },
  { clip: 'clip', dinov2: 'dinov2-swiglu', llm: 'qwen2', dtypes: ['F32', 'F32', 'BF16'], left: 23 },
])('$clip, $dinov2 and $llm', ({ clip, dinov2, llm, dtypes, left }) => {
  test('compute what the reference computes, and leave byte for byte as they came', async () => {
    const folder = temporaryFolder();
    const checkpoint = join(folder, 'checkpoint');
    const report = await importInto(checkpoint, folders(clip, dinov2, llm));
    const { folders: from } = report;
    expect([from.clip.dtypes, from.dinov2.dtypes, from.llm.dtypes]).toEqual(dtypes.map(dtype => [dtype]));
    expect(from.clip.leftBehind).toHaveLength(left);
    expect(await verifyCheckpoint(checkpoint)).toEqual([]);
    expect(await encoderError(checkpoint, clip, 'global')).toBeLessThan(1e-4);
    expect(await encoderError(checkpoint, dinov2, 'local')).toBeLessThan(1e-4);
    expect(await logitsError(checkpoint, llm, report.addedTokens[0]?.id ?? -1)).toBeLessThan(1e-4);

    const loaded = await loadForInference(checkpoint, { read: readResolvedRecipe });
    expect(loaded.tokenizer.idOf('<region_fea>')).toBe(report.addedTokens[0]?.id);
    expect(loaded.model.config.llm.vocab_size).toBeGreaterThanOrEqual(loaded.tokenizer.vocabSize);
    loaded.dispose();

    const out = join(folder, 'export');
    await exportHuggingFace({ checkpoint, out, dtype: 'source' });
    const file = (name: string, part: string) => readFileSync(join(name, part, 'model.safetensors'));
    expect(file(out, 'dinov2').equals(file(FIXTURES, dinov2))).toBe(true);
    const [before, after] = [await allTensors(join(FIXTURES, clip)), await allTensors(join(out, 'clip'))];
    for (const [name, tensor] of after) expect(tensor).toEqual(before.get(name));
    expect(after.size).toBe(before.size - left);
    await compareWords(join(FIXTURES, llm), join(out, 'llm'), report.addedTokens[0]?.id ?? -1);

    // What has all the tokens comes back as whole files, and so do its configurations.
    const again = join(folder, 'again');
    await importInto(again, folders(join(out, 'clip'), join(out, 'dinov2'), join(out, 'llm')));
    const second = join(folder, 'second');
    await exportHuggingFace({ checkpoint: again, out: second, dtype: 'source' });
    for (const part of ['clip', 'dinov2', 'llm']) {
      expect(file(second, part).equals(file(out, part))).toBe(true);
      const config = (name: string) => readFileSync(join(name, part, 'config.json'), 'utf8');
      expect(config(second)).toBe(config(out));
    }
  });
});

/** The tensors of a folder, from one file or from all shards. */
async function allTensors(folder: string) {
  const index = join(folder, 'model.safetensors.index.json');
  let files = ['model.safetensors'];
  try {
    files = [...new Set<string>(Object.values(JSON.parse(readFileSync(index, 'utf8')).weight_map))];
  } catch {
    // One file.
  }
  const maps = await Promise.all(files.map(name => tensorsOf(join(folder, name))));
  return new Map(maps.flatMap(map => [...map]));
}

/** All tensors are equal, but the tables of words have the row of a new word: the mean of the others. */
async function compareWords(source: string, exported: string, newId: number): Promise<void> {
  const [before, after] = [await allTensors(source), await allTensors(exported)];
  expect([...after.keys()].sort()).toEqual([...before.keys()].sort());
  const tables = ['model.embed_tokens.weight', 'lm_head.weight'];
  for (const [name, tensor] of after) {
    const { bytes } = before.get(name)!;
    if (!tables.includes(name)) {
      expect(tensor).toEqual(before.get(name));
      continue;
    }
    const rowBytes = 32 * (tensor.dtype === 'F32' ? 4 : 2);
    const [was, is] = [before.get(name)!.bytes, tensor.bytes].map(table => ({
      rows: table.length / rowBytes,
      row: (id: number) => table.subarray(id * rowBytes, (id + 1) * rowBytes),
    }));
    expect(is?.rows).toBe(Math.max(was?.rows ?? 0, newId + 1));
    for (let id = 0; id < (was?.rows ?? 0); id++) if (id !== newId) expect(is?.row(id)).toEqual(was?.row(id));
    const file = await openSafetensors(join(exported, 'model.safetensors'));
    const now = await file.readFloat32(name);
    await file.close();
    const old = widen.float32(before.get(name)!.dtype, new Uint8Array(bytes), name);
    for (let i = 0; i < 32; i++) {
      let sum = 0;
      for (let at = i; at < old.length; at += 32) sum += old[at] ?? 0;
      expect(now[newId * 32 + i]).toBeCloseTo((sum / old.length) * 32, tensor.dtype === 'F32' ? 6 : 3);
    }
  }
}

test('a checkpoint in F32 leaves in any dtype; what was 16 bits wide comes back bit for bit', async () => {
  const folder = temporaryFolder();
  const checkpoint = join(folder, 'checkpoint');
  await importInto(checkpoint, folders('clip-vision', 'dinov2', 'qwen2'));
  const wide = join(folder, 'wide');
  await exportHuggingFace({ checkpoint, out: wide, dtype: 'float32' });
  const again = join(folder, 'again');
  await importInto(again, folders(join(wide, 'clip'), join(wide, 'dinov2'), join(wide, 'llm')));
  for (const [dtype, part, fixture] of [
    ['bfloat16', 'clip', 'clip-vision'],
    ['float16', 'dinov2', 'dinov2'],
  ] as const) {
    const out = join(folder, dtype);
    const report = await exportHuggingFace({ checkpoint: again, out, dtype });
    expect(report.folders.flatMap(f => f.dtypes)).toEqual(
      Array(4).fill(dtype === 'float16' ? 'F16' : 'BF16'),
    );
    expect(await allTensors(join(out, part))).toEqual(await allTensors(join(FIXTURES, fixture)));
  }
});

test('with its text tower CLIP comes and goes whole', async () => {
  const folder = temporaryFolder();
  const checkpoint = join(folder, 'checkpoint');
  const from = folders('clip', 'dinov2', 'llama');
  await expect(importInto(checkpoint, from, { withText: true })).rejects.toThrow(
    /text tower knows 60 tokens, the tokenizer of the language model has 401/,
  );
  await expect(
    importInto(checkpoint, folders('clip-vision', 'dinov2', 'llama'), { withText: true }),
  ).rejects.toThrow(/image tower alone/);
  const clip = join(folder, 'clip');
  await withVocabulary(resolve(FIXTURES, 'clip'), clip, 401);
  const report = await importInto(checkpoint, { ...from, clip }, { withText: true });
  expect(report.folders.clip.leftBehind).toEqual([]);
  expect(report.model.pretraining?.projection_dim).toBe(20);
  const out = join(folder, 'out');
  await exportHuggingFace({ checkpoint, out, dtype: 'source' });
  const [before, after] = [await allTensors(clip), await allTensors(join(out, 'clip'))];
  expect([...after.keys()].sort()).toEqual([...before.keys()].sort());
  const table = 'text_model.embeddings.token_embedding.weight';
  for (const [name, tensor] of after) if (name !== table) expect(tensor).toEqual(before.get(name));
});

/** A copy of a CLIP folder whose text tower knows `words` words. */
async function withVocabulary(source: string, target: string, words: number): Promise<void> {
  const { mkdirSync, writeFileSync } = await import('node:fs');
  const { writeSafetensors } = await import('../../src/models/safetensors.ts');
  mkdirSync(target);
  const config = JSON.parse(readFileSync(join(source, 'config.json'), 'utf8'));
  config.text_config.vocab_size = words;
  writeFileSync(join(target, 'config.json'), JSON.stringify(config));
  const file = await openSafetensors(join(source, 'model.safetensors'));
  const entries = [];
  for (const [name, { dtype, shape }] of file.tensors) {
    const grown = name === 'text_model.embeddings.token_embedding.weight';
    const data = grown ? new Float32Array(words * 16).fill(0.5) : await file.readBytes(name);
    entries.push({ name, dtype, shape: grown ? [words, 16] : shape, data });
  }
  await file.close();
  await writeSafetensors(join(target, 'model.safetensors'), entries);
}
