import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { loadTokenizer, type Tokenizer } from '../data/tokenizer.ts';
import { GroundError } from '../errors.ts';
import { parseFrom } from '../train/from.ts';
import type { Recipe } from '../train/recipe.ts';
import { labelOf } from './file.ts';
import type { Complaint } from './issues.ts';

/** What a recipe needs on disk: its datasets, its tokenizer, the weights it starts from. */
export function checkFiles(recipe: Recipe, cwd: string): Complaint[] {
  const { model, stage } = recipe;
  const missing = new Set<string>();
  const sources = [
    ...stage.data.map((source, i) => ({ source, key: ['data', i, 'dataset'] })),
    ...stage.eval.data.map((source, i) => ({ source, key: ['eval', 'data', i, 'dataset'] })),
  ];
  const complaints: Complaint[] = [];
  for (const { source, key } of sources) {
    // One folder is often read by several tasks: say once that it is missing.
    if (missing.has(source.dataset) || existsSync(join(source.dataset, 'manifest.json'))) continue;
    missing.add(source.dataset);
    const label = labelOf(source.dataset, cwd);
    complaints.push({
      key,
      message: existsSync(source.dataset)
        ? `${label} is no dataset: it has no manifest.json`
        : `dataset ${label} does not exist`,
      hint: datasetCommand(label),
    });
  }
  const origin = stage.from === null ? null : parseFrom(stage.from);
  if (origin?.stage === null && !existsSync(origin.place)) {
    complaints.push({
      key: ['from'],
      message: `no checkpoint folder at ${labelOf(origin.place, cwd)}`,
      hint: 'name an earlier stage (stage1), a checkpoint folder, or null for random weights',
    });
  }
  return [...complaints, ...checkTokenizer(recipe, labelOf(model.tokenizer, cwd))];
}

/** The command that makes a dataset which is not there. */
function datasetCommand(label: string): string {
  return /scenes/.test(label)
    ? `ground data synth --out ${label} renders it`
    : `ground data build --from coco --images DIR --instances FILE --captions FILE --out ${label} builds it`;
}

function checkTokenizer({ model }: Recipe, label: string): Complaint[] {
  let tokenizer: Tokenizer;
  try {
    tokenizer = loadTokenizer(model.tokenizer);
  } catch (thrown) {
    if (!(thrown instanceof GroundError)) throw thrown;
    const message = existsSync(model.tokenizer) ? thrown.message : `${label} does not exist`;
    const hint = thrown.hint ?? 'it is the tokenizer.json of the language model';
    return [{ key: ['model', 'tokenizer'], message, hint }];
  }
  const complaints: Complaint[] = [];
  if (model.template === 'chat' && tokenizer.chat === null) {
    complaints.push({
      key: ['model', 'template'],
      message: `${label} has no chat template`,
      hint: 'put its tokenizer_config.json or chat_template.jinja beside it, or choose vicuna_v1',
    });
  }
  const text = model.pretraining?.text_encoder;
  const textKey = ['model', 'pretraining', 'text_encoder'];
  const size = tokenizer.vocabSize;
  const tables = [
    { key: ['model', 'llm', 'vocab_size'], rows: model.llm.vocab_size },
    ...(text ? [{ key: [...textKey, 'vocab_size'], rows: text.vocab_size }] : []),
  ];
  for (const { key, rows } of tables) {
    if (rows >= size) continue;
    complaints.push({
      key,
      message: `${rows} rows are too few for the ${size} tokens of ${label}`,
      hint: `set it to ${size} or more`,
    });
  }
  if (text && text.eos_token_id !== tokenizer.endId) {
    complaints.push({
      key: [...textKey, 'eos_token_id'],
      message: `${text.eos_token_id} does not end a text in ${label}: ${tokenizer.endId} does`,
      hint: `set it to ${tokenizer.endId}`,
    });
  }
  return complaints;
}
