import { relative, resolve } from 'node:path';
import type { Command } from 'commander';
import type { ImportReport } from '../train/import.ts';
import {
  type CommonOptions,
  findRecipeDir,
  type RecipeOptions,
  wholeNumber,
  withCommon,
  withRecipe,
} from './options.ts';
import { createOutput, type Output } from './output.ts';

interface ImportOptions extends CommonOptions, RecipeOptions {
  readonly clip: string;
  readonly dinov2: string;
  readonly llm: string;
  readonly out: string;
  readonly stage: number;
  readonly allowMissing?: boolean;
  readonly withText?: boolean;
}

/** Adds `ground import hf`. */
export function register(program: Command): void {
  const command = program
    .command('import')
    .description('make a checkpoint of published weights')
    .command('hf')
    .description('CLIP, DINOv2 and a language model from local Hugging Face folders')
    .requiredOption('--clip <dir>', 'CLIPModel or CLIPVisionModel: config.json and safetensors')
    .requiredOption('--dinov2 <dir>', 'Dinov2Model or Dinov2WithRegistersModel')
    .requiredOption('--llm <dir>', 'Llama, Vicuna or Qwen2, with its tokenizer.json')
    .requiredOption('--out <dir>', 'the checkpoint to write; one already there is replaced')
    .option('--stage <n>', 'the first stage that is to start from it', wholeNumber, 1)
    .option('--allow-missing', 'go on where tensors are missing or do not fit: they start random')
    .option('--with-text', "take CLIP's text tower along, for contrastive pretraining");
  withCommon(withRecipe(command)).action((options: ImportOptions) =>
    importHf(options, createOutput(options)),
  );
}

async function importHf(options: ImportOptions, out: Output): Promise<void> {
  const { loadRecipe } = await import('../config/load.ts');
  const { recipeToYaml } = await import('../config/resolved.ts');
  const { checkModelOverrides, networkOverrides, writeImportedRecipe } = await import(
    '../config/imported.ts'
  );
  const { importHuggingFace } = await import('../train/import.ts');
  const recipeDir = findRecipeDir(options.recipe);
  checkModelOverrides(options.set);
  const report = await importHuggingFace({
    clip: resolve(options.clip),
    dinov2: resolve(options.dinov2),
    llm: resolve(options.llm),
    out: resolve(options.out),
    recipeFor: networks =>
      loadRecipe({
        recipeDir,
        stage: options.stage,
        overrides: [...options.set, ...networkOverrides(networks)],
        files: 'ignore',
      }),
    codec: { write: recipeToYaml },
    allowMissing: options.allowMissing === true,
    withText: options.withText === true,
  });
  const files = await writeImportedRecipe({
    recipeDir,
    stage: options.stage,
    overrides: options.set,
    model: report.model,
    out: report.out,
  });
  show(report, files, options.stage, out);
}

function show(report: ImportReport, files: readonly string[], stage: number, out: Output): void {
  const path = relative('.', report.out) || '.';
  out.line(`${path}: ${(report.bytes / 1e6).toFixed(1)} MB, with ${files.join(', ')}`);
  out.table(
    ['from', 'network', 'tensors', 'parameters', 'stored as', 'left behind'],
    Object.values(report.folders).map(f => [
      relative('.', f.folder) || '.',
      f.modelType,
      f.tensors,
      f.parameters,
      f.dtypes.join(' '),
      f.leftBehind.length,
    ]),
  );
  for (const { folder, missing, unexpected, misshapen } of Object.values(report.folders)) {
    for (const [kind, names] of Object.entries({ missing, unexpected, misshapen })) {
      for (const name of names) out.note(`warning: ${folder}: ${kind}: ${name}`);
    }
  }
  for (const { token, id } of report.addedTokens) {
    out.line(`new token ${token} = ${id}: its rows are the mean of the others`);
  }
  const groups = [...new Set(report.initialised.map(name => name.split('.')[0]))];
  out.line(`random start: ${report.initialised.length} tensors of ${groups.join(', ')}`);
  out.line(`next: ground train --recipe ${path} --stage ${stage} --run NAME`);
  out.result({ ...report, recipe: files });
}
