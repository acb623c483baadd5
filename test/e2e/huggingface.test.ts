/** Published networks through the built command: import, train, export, and back into transformers. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openSafetensors, writeSafetensors } from '../../src/models/safetensors.ts';
import { startTestEngine } from '../helpers/engine.ts';
import { findPython, runPython } from '../helpers/python.ts';
import { FIXTURES, farthest, logitsOf, tensorsOf } from '../huggingface/import.ts';
import { newestCheckpoint, QUICK, renderScenes, succeed } from './ground.ts';

const fixture = (name: string): string => resolve(FIXTURES, name);

/** Imports fixtures and trains the language model for five steps; the checkpoint. */
function importAndTrain(folder: string, clip: string, dinov2: string, llm: string, template: string): string {
  renderScenes(folder);
  const from = ['--clip', fixture(clip), '--dinov2', fixture(dinov2), '--llm', fixture(llm)];
  const choices = ['--set', 'model.max_length=1024', '--set', `model.template=${template}`];
  succeed(folder, 'import', 'hf', ...from, '--out', 'published', ...choices);
  const trained = ['--set', 'steps=5', '--set', 'train=projector.global,llm', '--set', 'lr=1e-3'];
  succeed(folder, 'train', '--recipe', 'published', '--stage', '1', '--run', 'tuned', ...QUICK, ...trained);
  return newestCheckpoint(folder, 'tuned', 1);
}

describe.each([
  { clip: 'clip', dinov2: 'dinov2-registers', llm: 'llama', template: 'vicuna_v1' },
  { clip: 'clip-vision', dinov2: 'dinov2-swiglu', llm: 'qwen2', template: 'chat' },
])('$clip, $dinov2 and $llm with template $template', ({ clip, dinov2, llm, template }) => {
  const python = findPython(['torch', 'transformers', 'safetensors']);
  let folder = '';
  let checkpoint = '';

  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'ground-test-'));
    checkpoint = importAndTrain(folder, clip, dinov2, llm, template);
    succeed(folder, 'export', 'safetensors', '--run', 'tuned', '--out', 'out');
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  test('import, five steps, export; what was frozen is as it came', async () => {
    const before = await tensorsOf(join(folder, 'published', 'model.safetensors'));
    const after = new Map([
      ...(await tensorsOf(join(checkpoint, 'model.safetensors'))),
      ...(await tensorsOf(join(checkpoint, 'frozen.safetensors'))),
    ]);
    expect([...after.keys()].sort()).toEqual([...before.keys()].sort());
    const norm = 'llm.model.norm.weight';
    expect(after.get(norm)).not.toEqual(before.get(norm));
    // A trained checkpoint holds F32: the frozen encoder leaves as it came in the dtype that it came in.
    const dtype = before.get('encoder.local.layernorm.bias')?.dtype === 'F16' ? 'float16' : 'float32';
    succeed(folder, 'export', 'safetensors', '--run', 'tuned', '--out', 'narrow', '--dtype', dtype);
    expect(await tensorsOf(join(folder, 'narrow/dinov2/model.safetensors'))).toEqual(
      await tensorsOf(join(fixture(dinov2), 'model.safetensors')),
    );
  });

  test.skipIf(python === undefined)('transformers computes the same from what is exported', async () => {
    const out = join(folder, 'out');
    const ids = Int32Array.from({ length: 24 }, (_, i) => (i * 37) % 380);
    await writeSafetensors(join(folder, 'ids.safetensors'), [
      { name: 'ids', dtype: 'I32', shape: [2, 12], data: ids },
    ]);
    writeFileSync(join(folder, 'text.json'), JSON.stringify('What is [1, 2, 3, 4] <region_fea>?'));
    const script = `
import json, sys, torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer
out, folder = sys.argv[1:3]
info = {}
def load(cls, name):
    model, report = cls.from_pretrained(f'{out}/{name}', dtype=torch.float32, output_loading_info=True)
    info[name] = [type(model).__name__] + [sorted(report[k]) for k in ('missing_keys', 'unexpected_keys', 'mismatched_keys')]
    return model.eval()
llm = load(AutoModelForCausalLM, 'llm')
load(AutoModel, 'dinov2'); load(AutoModel, 'clip')
with torch.no_grad(): logits = llm(load_file(f'{folder}/ids.safetensors')['ids'].long()).logits
save_file({'logits': logits.contiguous()}, f'{folder}/logits.safetensors')
tokenizer = AutoTokenizer.from_pretrained(f'{out}/llm')
info['ids'] = tokenizer(json.load(open(f'{folder}/text.json')), add_special_tokens=False)['input_ids']
info['end'] = tokenizer.eos_token
print(json.dumps(info))`;
    const info = JSON.parse(runPython(python!, script, [out, folder]).trim().split('\n').at(-1) ?? '');
    for (const part of ['clip', 'dinov2', 'llm']) expect(info[part].slice(1)).toEqual([[], [], []]);
    const { loadTokenizer } = await import('../../src/data/tokenizer.ts');
    const tokenizer = loadTokenizer(join(checkpoint, 'tokenizer.json'));
    expect(info.ids).toEqual(tokenizer.encode('What is [1, 2, 3, 4] <region_fea>?'));
    expect(info.ids).toContain(tokenizer.regionId);
    expect(info.end).toBe(tokenizer.tokenOf(tokenizer.endId));
    await startTestEngine();
    const file = await openSafetensors(join(folder, 'logits.safetensors'));
    const theirs = await file.readFloat32('logits');
    await file.close();
    expect(farthest(await logitsOf(checkpoint, ids, 2), theirs)).toBeLessThan(1e-4);
  });
});
