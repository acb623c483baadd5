/** Imports the committed Hugging Face folders, and computes with what comes out. */
import { join, resolve } from 'node:path';
import { networkOverrides } from '../../src/config/imported.ts';
import { loadRecipe } from '../../src/config/load.ts';
import { recipeToYaml } from '../../src/config/resolved.ts';
import * as tf from '../../src/engine/tf.ts';
import { ClipVision } from '../../src/models/clip-vision.ts';
import type { ModelConfig } from '../../src/models/config.ts';
import { Dinov2 } from '../../src/models/dinov2.ts';
import type { Dtype } from '../../src/models/dtypes.ts';
import { Llama } from '../../src/models/llama.ts';
import { openSafetensors } from '../../src/models/safetensors.ts';
import { ParameterTree } from '../../src/nn/parameter.ts';
import type { NamedArray } from '../../src/train/checkpoint.ts';
import { type ImportFolders, type ImportReport, importHuggingFace } from '../../src/train/import.ts';
import { loadCheckpoint } from '../../src/train/reading.ts';
import { loadWeights } from '../../src/train/weights.ts';

export const FIXTURES = 'test/fixtures/huggingface';

/** Names of the fixture folders, or paths of others. */
export function folders(clip: string, dinov2: string, llm: string): ImportFolders {
  const path = (name: string): string => (name.startsWith('/') ? name : resolve(FIXTURES, name));
  return { clip: path(clip), dinov2: path(dinov2), llm: path(llm) };
}

/** Imports with the choices of the tiny recipe into `out`. */
export function importInto(
  out: string,
  from: ImportFolders,
  options: { readonly allowMissing?: boolean; readonly withText?: boolean; readonly set?: string[] } = {},
): Promise<ImportReport> {
  const { allowMissing = false, withText = false, set = [] } = options;
  return importHuggingFace({
    ...from,
    out,
    recipeFor: networks =>
      loadRecipe({
        recipeDir: 'configs/ferret-v2-tiny',
        stage: 1,
        overrides: ['model.max_length=1024', ...set, ...networkOverrides(networks)],
        files: 'ignore',
      }),
    codec: { write: recipeToYaml },
    allowMissing,
    withText,
  });
}

/** The raw bytes of every tensor of a file, by name, and their dtypes. */
export async function tensorsOf(file: string): Promise<Map<string, { dtype: Dtype; bytes: Buffer }>> {
  const source = await openSafetensors(file);
  const tensors = new Map<string, { dtype: Dtype; bytes: Buffer }>();
  for (const [name, { dtype }] of source.tensors) {
    tensors.set(name, { dtype, bytes: Buffer.from(await source.readBytes(name)) });
  }
  await source.close();
  return tensors;
}

/** One network of a checkpoint, alone. */
async function network<T>(
  checkpoint: string,
  prefix: string,
  build: (tree: ParameterTree, config: ModelConfig) => T,
): Promise<{ readonly network: T; readonly parameters: ParameterTree }> {
  const loaded = await loadCheckpoint(checkpoint, { optimizer: false });
  const parameters = new ParameterTree();
  const built = build(parameters, loaded.modelConfig);
  const weights = [...loaded.model].filter(([name]) => name.startsWith(prefix));
  loadWeights(parameters, new Map<string, NamedArray>(weights), checkpoint);
  return { network: built, parameters };
}

/** Largest absolute difference of two lists of equal length; infinite where the lengths differ. */
export function farthest(a: ArrayLike<number>, b: ArrayLike<number>): number {
  if (a.length !== b.length) return Number.POSITIVE_INFINITY;
  let largest = 0;
  for (let i = 0; i < a.length; i++)
    largest = Math.max(largest, Math.abs((a[i] ?? Number.NaN) - (b[i] ?? Number.NaN)));
  return largest;
}

interface Expected {
  readonly name: string;
  readonly shape: readonly number[];
  readonly values: Float32Array;
}

async function expected(folder: string, name: string): Promise<Expected> {
  const file = await openSafetensors(join(FIXTURES, folder, 'expected.safetensors'));
  const values = await file.readFloat32(name);
  const { shape } = file.info(name);
  await file.close();
  return { name, shape, values };
}

/** How far the hidden states of a checkpoint's encoder are from what the reference made of `folder`. */
export async function encoderError(
  checkpoint: string,
  folder: string,
  which: 'global' | 'local',
): Promise<number> {
  const { network: encoder, parameters } = await network(checkpoint, `encoder.${which}.`, (tree, config) =>
    which === 'global'
      ? new ClipVision(tree.root.at('encoder.global'), config.global_encoder)
      : new Dinov2(tree.root.at('encoder.local'), config.local_encoder),
  );
  const pixels = await expected(folder, 'pixels');
  const hidden = await expected(folder, 'hidden');
  const states = tf.tidy(() => {
    const input = tf.tensor4d(pixels.values, pixels.shape as [number, number, number, number]);
    return tf.concat(encoder.hiddenStates(input).map(state => tf.reshape(state, [-1]))).dataSync();
  });
  parameters.dispose();
  return farthest(states, hidden.values);
}

/** Scores of ids [batch, length] under a checkpoint's language model, [batch · length · vocabulary]. */
export async function logitsOf(checkpoint: string, ids: Int32Array, batch: number): Promise<Float32Array> {
  const { network: llm, parameters } = await network(
    checkpoint,
    'llm.',
    (tree, config) => new Llama(tree.root.at('llm'), config.llm),
  );
  const logits = tf.tidy(() => {
    const { states } = llm.decode(llm.embed(tf.tensor1d(ids)), llm.sequence(batch, ids.length / batch));
    return llm.logits(llm.normalized(states[states.length - 1] as tf.Tensor2D)).dataSync<'float32'>();
  });
  parameters.dispose();
  return logits;
}

/** How far a checkpoint's scores of the words that `folder` has, but for a new one, are from the reference's. */
export async function logitsError(checkpoint: string, folder: string, newId: number): Promise<number> {
  const file = await openSafetensors(join(FIXTURES, folder, 'expected.safetensors'));
  const ids = await file.readInt32('ids');
  const want = await file.readFloat32('logits');
  const [batch = 1, length = 1, words = 1] = file.info('logits').shape;
  await file.close();
  const got = await logitsOf(checkpoint, ids, batch);
  const vocabulary = got.length / batch / length;
  const known: number[] = [];
  const wanted: number[] = [];
  for (let row = 0; row < batch * length; row++) {
    for (let word = 0; word < words; word++) {
      if (word === newId) continue;
      known.push(got[row * vocabulary + word] ?? Number.NaN);
      wanted.push(want[row * words + word] ?? Number.NaN);
    }
  }
  return farthest(known, wanted);
}
