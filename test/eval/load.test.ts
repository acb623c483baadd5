import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { writeStream } from '../../src/atomic.ts';
import { readResolvedRecipe } from '../../src/config/resolved.ts';
import * as tf from '../../src/engine/tf.ts';
import { loadForInference } from '../../src/eval/load.ts';
import { encodeSafetensors } from '../../src/models/safetensors.ts';
import { manifestText } from '../../src/train/integrity.ts';
import { startTestEngine } from '../helpers/engine.ts';
import { temporaryFolder } from '../helpers/folder.ts';
import { writeCheckpoint } from './checkpoint.ts';

const codec = { read: readResolvedRecipe };

beforeAll(async () => {
  await startTestEngine();
});

describe('loadForInference', () => {
  it('takes model, tokenizer and stage from the checkpoint alone, by run, stage or checkpoint folder', async () => {
    const folder = temporaryFolder();
    const checkpoint = await writeCheckpoint(folder);
    const before = tf.memory().numTensors;
    for (const path of [
      checkpoint,
      join(folder, 'checkpoints', 'run', 'stage3'),
      join(folder, 'checkpoints', 'run'),
    ]) {
      const inference = await loadForInference(path, codec);
      expect(inference).toMatchObject({ checkpoint, stage: 3, step: 5, warnings: [] });
      expect(inference.recipe.model.tokenizer).toBe(join(checkpoint, 'tokenizer.json'));
      expect(inference.recipe.stage.views).toBe('global+local');
      expect(inference.tokenizer.decode(inference.tokenizer.encode('[1, 2]'))).toBe('[1, 2]');
      inference.dispose();
      expect(tf.memory().numTensors).toBe(before);
    }
  });

  it('names what differs when the weights are of another model', async () => {
    const checkpoint = await writeCheckpoint(temporaryFolder());
    await replaceWeights(checkpoint);
    const before = tf.memory().numTensors;
    await expect(loadForInference(checkpoint, codec)).rejects.toThrow(
      /another model.*missing: .*unexpected: stranger.*misshapen: llm\.model\.norm\.weight \[3\], not \[16\]/,
    );
    expect(tf.memory().numTensors).toBe(before);
  });

  it('refuses a damaged checkpoint and says which file', async () => {
    const checkpoint = await writeCheckpoint(temporaryFolder());
    const file = join(checkpoint, 'model.safetensors');
    const bytes = await readFile(file);
    bytes[bytes.length - 1] = (bytes[bytes.length - 1] ?? 0) ^ 1;
    await writeFile(file, bytes);
    await expect(loadForInference(checkpoint, codec)).rejects.toThrow(/is damaged: model\.safetensors/);
  });

  it('says so where there is no checkpoint', async () => {
    await expect(loadForInference(join(temporaryFolder(), 'nowhere'), codec)).rejects.toThrow(/no folder/);
  });
});

/** Puts other weights into a checkpoint, whole as far as its manifest knows. */
async function replaceWeights(checkpoint: string): Promise<void> {
  const names = ['model.json', 'optimizer.safetensors', 'recipe.yaml', 'state.json', 'tokenizer.json'];
  const written = new Map(
    await Promise.all(
      names.map(async name => {
        const bytes = await readFile(join(checkpoint, name));
        return [name, await writeStream(join(checkpoint, name), sink => sink(bytes))] as const;
      }),
    ),
  );
  const tensor = (name: string) => ({ name, dtype: 'F32' as const, shape: [3], data: new Float32Array(3) });
  const weights = await writeStream(join(checkpoint, 'model.safetensors'), sink =>
    encodeSafetensors(sink, [tensor('stranger'), tensor('llm.model.norm.weight')]),
  );
  written.set('model.safetensors', weights);
  await writeFile(join(checkpoint, 'manifest.json'), manifestText(written));
}
