/**
 * Asks a checkpoint, op by op and with its steps recorded, and its ONNX export the same questions about a dataset, greedily,
 * and compares the answers token for token. Ends with 1 where an answer differs.
 * Usage: npx tsx scripts/onnx-agreement.ts --checkpoint DIR --onnx DIR --data DIR [--count 100] [--batch 8] [--max-tokens 128]
 */
import { parseArgs } from 'node:util';
import { readResolvedRecipe } from '../src/config/resolved.ts';
import { openDataset } from '../src/data/dataset.ts';
import { startEngine } from '../src/engine/engine.ts';
import { loadForInference } from '../src/eval/load.ts';
import { AGREEMENT_TASKS, agreementPrompts, compareAnswers } from '../src/export/agreement.ts';
import { openOnnxModel } from '../src/export/onnx-model.ts';

const { values } = parseArgs({
  options: {
    checkpoint: { type: 'string' },
    onnx: { type: 'string' },
    data: { type: 'string' },
    count: { type: 'string', default: '100' },
    batch: { type: 'string', default: '8' },
    'max-tokens': { type: 'string', default: '128' },
  },
});
const { checkpoint, onnx: folder, data } = values;
if (checkpoint === undefined || folder === undefined || data === undefined) {
  console.error('npx tsx scripts/onnx-agreement.ts --checkpoint DIR --onnx DIR --data DIR [--count 100]');
  process.exit(2);
}
await startEngine({ engine: 'auto', device: 'cpu' });
const inference = await loadForInference(checkpoint, { read: readResolvedRecipe });
const onnx = await openOnnxModel(folder);
const dataset = await openDataset(data);
const { views, grounding_prompt: groundingPrompt } = onnx.stage;
const context = { model: onnx.config, tokenizer: inference.tokenizer, views, seed: 0 };
const prompts = await agreementPrompts(dataset, context, groundingPrompt, Number(values.count));
const result = await compareAnswers(inference.model, onnx, prompts, {
  batch: Number(values.batch),
  maxNewTokens: Number(values['max-tokens']),
});
const { equal, largestDifference, smallestLead, disagreements } = result;
console.log(
  `${result.prompts} prompts (${AGREEMENT_TASKS.join(', ')}), ${result.tokens} tokens op by op; ` +
    `the closest choice was won by ${smallestLead.toExponential(1)}`,
);
for (const way of ['recorded', 'onnx'] as const) {
  console.log(
    `${way}: ${equal[way]} of ${result.prompts} answers are the same, token for token; ` +
      `largest difference of a best score ${largestDifference[way].toExponential(1)}`,
  );
}
const word = (token: number | null): string =>
  token === null ? 'the end' : `"${inference.tokenizer.decode([token])}"`;
for (const { sample, way, at, here, there, lead } of disagreements) {
  console.log(
    `${sample}: ${way} says ${word(there)} as token ${at}, op by op ${word(here)}, won by ${lead.toExponential(1)}`,
  );
}
await dataset.close();
await onnx.close();
inference.dispose();
process.exitCode = disagreements.length > 0 ? 1 : 0;
