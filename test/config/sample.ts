import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { onTestFinished } from 'vitest';
import { type LoadOptions, loadRecipe } from '../../src/config/load.ts';
import { GroundError } from '../../src/errors.ts';
import type { Recipe } from '../../src/train/recipe.ts';

/** A small recipe that has nothing wrong with it. */
export const MODEL = `name: sample
tokenizer: tokenizer.json
image:
  side: 32
  grids: [[1, 1], [2, 1]]
global_encoder:
  hidden_size: 64
  intermediate_size: 128
  num_hidden_layers: 2
  num_attention_heads: 4
  image_size: 32
  patch_size: 8
local_encoder:
  hidden_size: 64
  num_hidden_layers: 2
  num_attention_heads: 4
  image_size: 32
  patch_size: 8
sampler:
  points: 32
  blocks: [{points: 16, neighbors: 8}, {points: 8, neighbors: 4}]
llm:
  vocab_size: 100
  hidden_size: 96
  intermediate_size: 128
  num_hidden_layers: 2
  num_attention_heads: 4
  num_key_value_heads: 2
  max_position_embeddings: 256
max_length: 128
`;

export const STAGE = `extends: model.yaml
stage: 2
name: dense alignment
from: stage1
train: [projector, sampler]
copy:
  - {from: projector.global, to: projector.local}
lr: 2.0e-4
data:
  - {dataset: data/scenes/train, task: dense-referring, weight: 1}
batch: {samples: 16}
steps: 400
`;

/** Edits of the sample: each pair of texts is a replacement in the file's text. */
export interface Edits {
  readonly model?: readonly (readonly [string, string])[];
  readonly stage?: readonly (readonly [string, string])[];
}

/** A folder that is gone after the test. */
export function temporaryFolder(): string {
  const dir = mkdtempSync(join(tmpdir(), 'ground-config-'));
  onTestFinished(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

/** Writes files below a new folder; returns the folder. */
export function folderWith(files: Readonly<Record<string, string>>): string {
  const dir = temporaryFolder();
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(dir, name)), { recursive: true });
    writeFileSync(join(dir, name), text);
  }
  return dir;
}

/** The edited sample on disk: <folder>/recipe/{model,stage2}.yaml; the folder is what paths are relative to. */
export function sampleFolder(edits: Edits = {}): string {
  return folderWith({
    'recipe/model.yaml': edit(MODEL, edits.model ?? []),
    'recipe/stage2.yaml': edit(STAGE, edits.stage ?? []),
  });
}

function edit(text: string, replacements: readonly (readonly [string, string])[]): string {
  return replacements.reduce((edited, [from, to]) => {
    if (!edited.includes(from)) throw new Error(`the sample has no "${from}"`);
    return edited.replace(from, to);
  }, text);
}

/** Loads the edited sample; datasets and tokenizer need not exist unless `options` says so. */
export function loadSample(edits: Edits = {}, options: Partial<LoadOptions> = {}): Recipe {
  const cwd = sampleFolder(edits);
  return loadRecipe({ recipeDir: join(cwd, 'recipe'), stage: 2, cwd, files: 'ignore', ...options });
}

/** What loading the edited sample complains of. */
export function complaintsAbout(edits: Edits, overrides: readonly string[] = []): string {
  return messageThrown(() => loadSample(edits, { overrides }));
}

/** The message of the `config` error that `run` throws. */
export function messageThrown(run: () => unknown): string {
  try {
    run();
  } catch (thrown) {
    if (thrown instanceof GroundError && thrown.code === 'config') return thrown.message;
    throw thrown;
  }
  throw new Error('nothing was thrown');
}
