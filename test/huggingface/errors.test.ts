import { cpSync, existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { describe, expect, test } from 'vitest';
import { GroundError } from '../../src/errors.ts';
import { openSafetensors, type TensorEntry, writeSafetensors } from '../../src/models/safetensors.ts';
import { verifyCheckpoint } from '../../src/train/reading.ts';
import { temporaryFolder } from '../helpers/folder.ts';
import { FIXTURES, folders, importInto, tensorsOf } from './import.ts';

type Json = Record<string, unknown>;

/** A folder of fixtures in which one thing is spoilt. */
function spoilt(name: string, spoil: (folder: string) => void): string {
  const folder = join(temporaryFolder(), name);
  cpSync(resolve(FIXTURES, name), folder, { recursive: true });
  spoil(folder);
  return folder;
}

function edit(file: string, change: (json: Json) => void): void {
  const json: Json = JSON.parse(readFileSync(file, 'utf8'));
  change(json);
  writeFileSync(file, JSON.stringify(json));
}

/** Rewrites a safetensors file with other tensors. */
async function rewrite(file: string, change: (entries: TensorEntry[]) => TensorEntry[]): Promise<void> {
  const source = await openSafetensors(file);
  const entries: TensorEntry[] = [];
  for (const [name, { dtype, shape }] of source.tensors) {
    entries.push({ name, dtype, shape, data: await source.readBytes(name) });
  }
  await source.close();
  await writeSafetensors(file, change(entries), { format: 'pt' });
}

/** The error of an import with one folder in place of the fixture's; nothing may have been written. */
async function failure(changed: { clip?: string; dinov2?: string; llm?: string }, set: string[] = []) {
  const out = join(temporaryFolder(), 'out');
  const from = { ...folders('clip', 'dinov2', 'llama'), ...changed };
  const thrown: unknown = await importInto(out, from, { set }).then(
    () => undefined,
    error => error,
  );
  expect(existsSync(out)).toBe(false);
  if (!(thrown instanceof GroundError)) throw new Error(`no GroundError but ${thrown}`);
  // A recipe's problems carry their hints in the message.
  if (thrown.code !== 'config') expect(thrown.hint).toBeTruthy();
  return thrown;
}

describe('files of weights', () => {
  test('a truncated header', async () => {
    const clip = spoilt('clip', folder => {
      const file = join(folder, 'model.safetensors');
      writeFileSync(file, readFileSync(file).subarray(0, 100));
    });
    const { message } = await failure({ clip });
    expect(message).toMatch(
      /clip\/model\.safetensors is not a valid safetensors file: its header claims \d+ bytes, but/,
    );
  });

  test('overlapping tensors', async () => {
    const clip = spoilt('clip', folder => {
      const file = join(folder, 'model.safetensors');
      const bytes = readFileSync(file);
      const length = Number(bytes.readBigUInt64LE(0));
      const header = JSON.parse(bytes.subarray(8, 8 + length).toString());
      const { data_offsets: offsets } = header['vision_model.post_layernorm.weight'];
      header['vision_model.post_layernorm.weight'].data_offsets = [offsets[0] - 4, offsets[1] - 4];
      const text = JSON.stringify(header).padEnd(length);
      bytes.set(Buffer.from(text), 8);
      writeFileSync(file, bytes);
    });
    const { message } = await failure({ clip });
    expect(message).toMatch(
      /clip\/model\.safetensors .*tensor vision_model\.post_layernorm\.weight overlaps .* by 4 bytes/,
    );
  });

  test('integers where weights belong', async () => {
    const dinov2 = spoilt('dinov2-registers', () => undefined);
    await rewrite(join(dinov2, 'model.safetensors'), entries =>
      entries.map(entry => (entry.name === 'layernorm.bias' ? { ...entry, dtype: 'I32' } : entry)),
    );
    const { message, hint } = await failure({ dinov2 });
    expect(message).toMatch(/tensor layernorm\.bias of .*dinov2-registers\/model\.safetensors is I32/);
    expect(hint).toMatch(/quantised/);
  });

  test('a dtype that safetensors does not know here', async () => {
    const clip = spoilt('clip', folder => {
      const file = join(folder, 'model.safetensors');
      const bytes = readFileSync(file);
      writeFileSync(file, Buffer.from(bytes.toString('latin1').replace('"F32"', '"F8 "'), 'latin1'));
    });
    expect((await failure({ clip })).message).toMatch(/model\.safetensors .*dtype "F8 " is not known/);
  });

  test('a shard that the index names and nobody has', async () => {
    const llm = spoilt('llama', folder => rmSync(join(folder, 'model-00003-of-00004.safetensors')));
    const { message, hint } = await failure({ llm });
    expect(message).toMatch(
      /model-00003-of-00004\.safetensors is missing: model\.safetensors\.index\.json says .* \d+ tensors/,
    );
    expect(hint).toMatch(/download the missing shard/);
  });

  test('a shard without a tensor that the index puts there, an index that leads out of the folder', async () => {
    const moved = spoilt('llama', folder =>
      edit(join(folder, 'model.safetensors.index.json'), json => {
        (json.weight_map as Json)['model.norm.weight'] = 'model-00001-of-00004.safetensors';
      }),
    );
    expect((await failure({ llm: moved })).message).toMatch(
      /00001-of-00004\.safetensors has no tensor model\.norm\.weight/,
    );
    const outside = spoilt('llama', folder =>
      edit(join(folder, 'model.safetensors.index.json'), json => {
        (json.weight_map as Json)['model.norm.weight'] = '../model.safetensors';
      }),
    );
    expect((await failure({ llm: outside })).message).toMatch(
      /model\.norm\.weight is in "\.\.\/model\.safetensors"/,
    );
  });

  test('pickled weights, and none', async () => {
    const pickled = spoilt('clip', folder => {
      rmSync(join(folder, 'model.safetensors'));
      writeFileSync(join(folder, 'pytorch_model.bin'), '');
    });
    const { message, hint } = await failure({ clip: pickled });
    expect(message).toMatch(/neither model\.safetensors nor .* only pytorch_model\.bin/);
    expect(hint).toMatch(/save_pretrained/);
    expect((await failure({ clip: join(temporaryFolder(), 'none') })).message).toMatch(
      /there is no .*config\.json/,
    );
  });
});

describe('tensors that do not fit', () => {
  const spoilTensors = async (): Promise<string> => {
    const clip = spoilt('clip', () => undefined);
    await rewrite(join(clip, 'model.safetensors'), entries => [
      ...entries
        .filter(({ name }) => name !== 'vision_model.post_layernorm.bias')
        .map(entry =>
          entry.name === 'vision_model.pre_layrnorm.bias' ? { ...entry, shape: [4, 8] } : entry,
        ),
      { name: 'vision_model.stranger', dtype: 'F32', shape: [1], data: Float32Array.of(1) },
    ]);
    return clip;
  };

  test('are all named', async () => {
    const { message, hint, code } = await failure({ clip: await spoilTensors() });
    expect(code).toBe('model');
    expect(message).toMatch(/clip, missing:\n {4}vision_model\.post_layernorm\.bias\n/);
    expect(message).toMatch(/clip, unexpected:\n {4}vision_model\.stranger\n/);
    expect(message).toMatch(/clip, misshapen:\n {4}vision_model\.pre_layrnorm\.bias \[4,8\], not \[32\]/);
    expect(hint).toMatch(/--allow-missing/);
  });

  test('start random where that is allowed', async () => {
    const folder = temporaryFolder();
    const from = { ...folders('clip', 'dinov2', 'llama'), clip: await spoilTensors() };
    const checkpoint = join(folder, 'out');
    const report = await importInto(checkpoint, from, { allowMissing: true });
    expect(report.folders.clip.missing).toEqual(['vision_model.post_layernorm.bias']);
    expect(report.initialised).toContain('encoder.global.vision_model.post_layernorm.bias');
    expect(report.initialised).toContain('encoder.global.vision_model.pre_layrnorm.bias');
    expect(await verifyCheckpoint(checkpoint)).toEqual([]);
    const again = join(folder, 'again');
    await importInto(again, from, { allowMissing: true });
    const file = (path: string) => tensorsOf(join(path, 'model.safetensors'));
    expect(await file(again)).toEqual(await file(checkpoint));
  });

  test('of another size than the configuration says', async () => {
    const llm = spoilt('llama', folder => edit(join(folder, 'config.json'), json => (json.vocab_size = 500)));
    const { message } = await failure({ llm });
    expect(message).toMatch(/llama, misshapen:\n {4}model\.embed_tokens\.weight \[400,32\], not \[500,32\]/);
  });
});

describe('configurations', () => {
  test.each([
    [
      'llm',
      'llama',
      'model_type',
      'mixtral',
      /config\.json: model_type "mixtral" \(LlamaForCausalLM\) is no language model/,
    ],
    ['clip', 'clip-vision', 'model_type', 'siglip', /model_type "siglip" .* is no CLIP/],
    ['dinov2', 'dinov2', 'model_type', 'vit', /model_type "vit" .* is no DINOv2/],
    ['llm', 'llama', 'hidden_act', 'swish2', /config\.json: hidden_act is "swish2", expected one of/],
    ['llm', 'llama', 'hidden_size', '32', /hidden_size is "32", expected a whole number/],
    ['llm', 'qwen2', 'use_sliding_window', true, /use_sliding_window is true, expected false/],
    [
      'llm',
      'llama',
      'rope_parameters',
      { rope_type: 'llama3', rope_theta: 1 },
      /rope_parameters: rope_type is "llama3"/,
    ],
    ['llm', 'llama', 'rope_scaling', { type: 'linear', factor: 2 }, /rope_scaling: type is "linear"/],
    ['llm', 'llama', 'quantization_config', {}, /the weights are quantised/],
    ['clip', 'clip-vision', 'num_channels', 1, /num_channels is 1, expected 3/],
  ])('%s: %s with %s %j', async (role, fixture, key, value, complaint) => {
    const folder = spoilt(fixture, path => edit(join(path, 'config.json'), json => (json[key] = value)));
    expect((await failure({ [role]: folder })).message).toMatch(complaint);
  });

  test('that do not fit the recipe', async () => {
    const { message, code } = await failure({}, ['model.image.side=36']);
    expect(code).toBe('config');
    expect(message).toMatch(/model\.image\.side: side 36 is no multiple of the patch size 8/);
  });
});

describe('tokenizers', () => {
  test('none', async () => {
    const llm = spoilt('llama', folder => rmSync(join(folder, 'tokenizer.json')));
    const { message, code } = await failure({ llm });
    expect([code, message]).toEqual(['tokenizer', expect.stringMatching(/llama has no tokenizer\.json/)]);
  });

  test('without a token that ends a text', async () => {
    const llm = spoilt('qwen2', folder => {
      edit(join(folder, 'tokenizer_config.json'), json => delete json.eos_token);
      edit(join(folder, 'config.json'), json => delete json.eos_token_id);
    });
    const { message, hint } = await failure({ llm });
    expect(message).toMatch(/tokenizer\.json has no token <\/s>/);
    expect(hint).toMatch(/eos_token in a tokenizer_config\.json/);
  });

  test('whose end only the model names', async () => {
    const llm = spoilt('qwen2', folder =>
      edit(join(folder, 'tokenizer_config.json'), json => delete json.eos_token),
    );
    const out = join(temporaryFolder(), 'out');
    await importInto(out, folders('clip', 'dinov2', llm));
    expect(JSON.parse(readFileSync(join(out, 'tokenizer_config.json'), 'utf8')).eos_token).toBe('<|im_end|>');
  });
});
