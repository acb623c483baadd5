import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createTokenizer } from '../../src/data/tokenizer.ts';
import type { ExportSource } from '../../src/export/ferret.ts';
import type { ModelConfig } from '../../src/models/config.ts';
import { Ferret } from '../../src/models/ferret.ts';
import { tinyModel } from './tiny-model.ts';

/** A tiny model with random weights. */
export function newModel(overrides: Partial<ModelConfig> = {}): Ferret {
  const model = new Ferret(tinyModel(overrides));
  model.parameters.allocate(1);
  return model;
}

/** A model with a tokenizer of single characters, as if it came from a checkpoint. */
export function sourceIn(folder: string): ExportSource {
  const words = ['<unk>', '<s>', '</s>', '<image>', '<region_fea>'];
  const vocabulary = Object.fromEntries(
    [...words, ...'abcdefghijklmnopqrstuvwxyz0123456789'].map((w, i) => [w, i]),
  );
  const special = words.map((content, id) => ({
    id,
    content,
    single_word: false,
    lstrip: false,
    rstrip: false,
    normalized: false,
    special: true,
  }));
  const definition = {
    version: '1.0',
    added_tokens: special,
    normalizer: null,
    pre_tokenizer: { type: 'Split', pattern: { Regex: '' }, behavior: 'Isolated', invert: false },
    post_processor: null,
    decoder: null,
    model: { type: 'WordLevel', vocab: vocabulary, unk_token: '<unk>' },
  };
  const file = join(folder, 'tokenizer.json');
  writeFileSync(file, JSON.stringify(definition));
  const model = newModel({ tokenizer: file, max_length: 128 });
  return {
    model,
    tokenizer: createTokenizer(definition, null, file),
    recipe: { stage: { views: 'global+local', seed: 0, grounding_prompt: 'with boxes' } },
    stage: 3,
    step: 40,
    checkpoint: 'checkpoints/x/stage3/checkpoint-000040',
  };
}
