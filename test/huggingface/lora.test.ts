import { writeFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { exportHuggingFace } from '../../src/export/huggingface.ts';
import { openSafetensors, writeSafetensors } from '../../src/models/safetensors.ts';
import { Random } from '../../src/random.ts';
import { temporaryFolder } from '../helpers/folder.ts';
import { folders, importInto } from './import.ts';

const MODULE = 'model.layers.0.self_attn.q_proj';
const RANK = 2;

function randomValues(name: string, count: number): Float32Array<ArrayBuffer> {
  const random = new Random('lora test', name);
  return Float32Array.from({ length: count }, () => random.normal());
}

/** A PEFT adapter of one linear layer; `change` spoils its configuration or its tensors. */
async function writeAdapter(
  folder: string,
  [rows, columns]: readonly number[],
  change: { readonly config?: object; readonly module?: string; readonly onlyA?: boolean } = {},
): Promise<{ a: Float32Array; b: Float32Array }> {
  await mkdir(folder, { recursive: true });
  const config = {
    peft_type: 'LORA',
    r: RANK,
    lora_alpha: 8,
    bias: 'none',
    use_dora: false,
    modules_to_save: null,
  };
  writeFileSync(join(folder, 'adapter_config.json'), JSON.stringify({ ...config, ...change.config }));
  const a = randomValues('a', RANK * (columns ?? 0));
  const b = randomValues('b', (rows ?? 0) * RANK);
  const key = `base_model.model.${change.module ?? MODULE}`;
  const entries = [
    { name: `${key}.lora_A.weight`, dtype: 'F32' as const, shape: [RANK, columns ?? 0], data: a },
    { name: `${key}.lora_B.weight`, dtype: 'F32' as const, shape: [rows ?? 0, RANK], data: b },
  ];
  await writeSafetensors(
    join(folder, 'adapter_model.safetensors'),
    change.onlyA ? entries.slice(0, 1) : entries,
    {},
  );
  return { a, b };
}

async function tensorsOf(
  file: string,
): Promise<Map<string, { shape: readonly number[]; values: Float32Array }>> {
  const source = await openSafetensors(file);
  const tensors = new Map<string, { shape: readonly number[]; values: Float32Array }>();
  for (const [name, { shape }] of source.tensors) {
    tensors.set(name, { shape, values: await source.readFloat32(name) });
  }
  await source.close();
  return tensors;
}

test('an adapter is added to the weights it names and to no other; a wrong one is refused before anything is written', async () => {
  const folder = temporaryFolder();
  const checkpoint = join(folder, 'checkpoint');
  await importInto(checkpoint, folders('clip', 'dinov2', 'llama'));
  const plain = join(folder, 'plain');
  await exportHuggingFace({ checkpoint, out: plain, dtype: 'source' });
  const before = await tensorsOf(join(plain, 'llm', 'model.safetensors'));
  const { shape, values } = before.get(`${MODULE}.weight`) as { shape: number[]; values: Float32Array };
  const [rows = 0, columns = 0] = shape;

  const lora = join(folder, 'adapter');
  const { a, b } = await writeAdapter(lora, shape);
  const out = join(folder, 'merged');
  const report = await exportHuggingFace({ checkpoint, out, dtype: 'source', lora });
  const after = await tensorsOf(join(out, 'llm', 'model.safetensors'));
  let largest = 0;
  for (let row = 0; row < rows; row++) {
    for (let c = 0; c < columns; c++) {
      let change = 0;
      for (let k = 0; k < RANK; k++)
        change += (b[row * RANK + k] ?? 0) * (a[k * columns + c] ?? 0) * (8 / RANK);
      largest = Math.max(largest, Math.abs(change));
      const got = after.get(`${MODULE}.weight`)?.values[row * columns + c] ?? Number.NaN;
      expect(Math.abs(got - ((values[row * columns + c] ?? 0) + change))).toBeLessThan(1e-5);
    }
  }
  expect(report.lora).toMatchObject({ folder: lora, weights: 1 });
  expect(report.lora?.largestChange).toBeCloseTo(largest, 6);
  for (const [name, tensor] of before) {
    if (name !== `${MODULE}.weight`) expect(after.get(name)).toEqual(tensor);
  }

  const wrong: [Parameters<typeof writeAdapter>[2], readonly number[], RegExp][] = [
    [{ module: 'model.layers.99.self_attn.q_proj' }, shape, /the language model has no model\.layers\.99/],
    [{ onlyA: true }, shape, /q_proj has lora_A alone/],
    [{ config: { use_dora: true } }, shape, /use_dora is true, which cannot be merged/],
    [{ config: { r: 0 } }, shape, /r is 0/],
    [{}, [rows, columns + 1], /lora_A\.weight has shape \[2,\d+\], the model needs \[2,\d+\]/],
    [{ module: 'model.embed_tokens.lora_embedding' }, shape, /the language model has no/],
  ];
  for (const [i, [change, size, message]] of wrong.entries()) {
    const bad = join(folder, `bad${i}`);
    await writeAdapter(bad, size, change);
    const refused = exportHuggingFace({
      checkpoint,
      out: join(folder, `out${i}`),
      dtype: 'source',
      lora: bad,
    });
    await expect(refused).rejects.toThrow(message);
    await expect(openSafetensors(join(folder, `out${i}`, 'llm', 'model.safetensors'))).rejects.toThrow();
  }
});
