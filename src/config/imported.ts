/** The recipe of an imported model: the choices of another recipe, with published networks in it. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { writeFileAtomic } from '../atomic.ts';
import { GroundError } from '../errors.ts';
import type { ModelConfig } from '../models/config.ts';
import { parseFrom } from '../train/from.ts';
import type { Networks } from '../train/import.ts';
import { readConfigFile, valuesOf } from './file.ts';
import { stagesOf } from './load.ts';
import { applyOverride, readOverrides } from './overrides.ts';
import { problemsError } from './problems.ts';

/** The overrides that put networks in place of a recipe's own. */
export function networkOverrides(networks: Networks): string[] {
  return Object.entries(networks).flatMap(([network, keys]) =>
    Object.entries(keys).map(([key, value]) => `model.${network}.${key}=${value}`),
  );
}

/** Throws `usage` on an override that is not one of the model: stages are changed when they are trained. */
export function checkModelOverrides(overrides: readonly string[]): void {
  const other = overrides.find(text => !text.startsWith('model.'));
  if (other === undefined) return;
  throw new GroundError('usage', `--set ${other}: only the model can be changed here`, {
    hint: 'for example --set model.image.side=336; give the rest to ground train',
  });
}

/**
 * Makes a checkpoint's folder a recipe as well: a model.yaml with the imported networks, and the stage files from
 * `stage` on, of which those that started elsewhere start from the checkpoint. Returns the files' names.
 */
export async function writeImportedRecipe(options: {
  readonly recipeDir: string;
  readonly stage: number;
  readonly overrides: readonly string[];
  readonly model: ModelConfig;
  readonly out: string;
}): Promise<string[]> {
  const { recipeDir, stage, model, out } = options;
  const written = [await writeModel(options)];
  for (const number of stagesOf(recipeDir).filter(k => k >= stage)) {
    const name = `stage${number}.yaml`;
    const { doc } = readConfigFile(join(recipeDir, name), process.cwd());
    const key = doc.has('init_from') ? 'init_from' : 'from';
    const from: unknown = doc.get(key);
    const earlier = typeof from === 'string' ? parseFrom(from).stage : null;
    if (earlier === null || earlier < stage) doc.set(key, out);
    if (model.pretraining === undefined && doc.hasIn(['model', 'pretraining']))
      doc.deleteIn(['model', 'pretraining']);
    await writeFileAtomic(join(out, name), doc.toString({ lineWidth: 0, flowCollectionPadding: false }));
    written.push(name);
  }
  return written;
}

/** The keys of the recipe's own model.yaml, where it has one: what its stages override is theirs. */
async function writeModel({
  recipeDir,
  overrides,
  model,
  out,
}: Parameters<typeof writeImportedRecipe>[0]): Promise<string> {
  const file = join(recipeDir, 'model.yaml');
  let tree: Record<string, unknown> = {
    model: existsSync(file) ? valuesOf(readConfigFile(file, process.cwd())) : { ...model },
  };
  for (const override of readOverrides(overrides).overrides) {
    const applied = applyOverride(tree, override);
    if ('problem' in applied) throw problemsError([applied.problem], recipeDir);
    tree = applied.tree;
  }
  const { pretraining: _, ...choices } = tree.model as Record<string, unknown>;
  const values = {
    ...choices,
    tokenizer: 'tokenizer.json',
    global_encoder: model.global_encoder,
    local_encoder: model.local_encoder,
    llm: model.llm,
    ...(model.pretraining === undefined ? {} : { pretraining: model.pretraining }),
  };
  const header =
    '# Written by ground import hf: the networks are those that were imported, the rest is the recipe’s.\n';
  await writeFileAtomic(join(out, 'model.yaml'), header + stringify(values, { lineWidth: 0 }));
  return 'model.yaml';
}
