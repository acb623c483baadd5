/**
 * Asks a checkpoint and its ONNX export the same questions about scenes that neither was trained on, greedily, and counts
 * equal answers and, of each, boxes with an IoU of 0.5 and more.
 * Usage: npx tsx scripts/onnx-agreement.ts --checkpoint DIR --onnx DIR [--count 100]
 */
import { parseArgs } from 'node:util';
import { readResolvedRecipe } from '../src/config/resolved.ts';
import { renderScene } from '../src/data/sources/scenes.ts';
import { startEngine } from '../src/engine/engine.ts';
import { loadForInference } from '../src/eval/load.ts';
import { boxIou } from '../src/eval/metrics/iou.ts';
import { answeringOf, predictWith } from '../src/eval/predict.ts';
import { openOnnxModel } from '../src/export/onnx-model.ts';

const { values } = parseArgs({
  options: {
    checkpoint: { type: 'string' },
    onnx: { type: 'string' },
    count: { type: 'string', default: '100' },
  },
});
if (values.checkpoint === undefined || values.onnx === undefined) {
  console.error('npx tsx scripts/onnx-agreement.ts --checkpoint DIR --onnx DIR [--count 100]');
  process.exit(2);
}
await startEngine({ engine: 'auto', device: 'cpu' });
const inference = await loadForInference(values.checkpoint, { read: readResolvedRecipe });
const engine = answeringOf(inference);
const onnx = await openOnnxModel(values.onnx);
const count = Number(values.count);
let [asked, equal, hereRight, thereRight] = [0, 0, 0, 0];
for (let index = 0; asked < count; index++) {
  const record = await renderScene(9, index, { split: 'agreement' });
  const [object] = record.objects;
  if (!object) continue;
  const options = {
    image: record,
    prompt: `What is the location of ${object.phrase ?? object.label} in the image?`,
    regions: [],
    ground: engine.stage.grounding_prompt !== '',
    maxNewTokens: 32,
  };
  const here = await predictWith(engine, options);
  const there = await predictWith(onnx, options);
  asked++;
  if (here.answer === there.answer) equal++;
  else console.log(`${record.id}: "${here.answer}" and "${there.answer}"`);
  const isRight = ({ boxes }: typeof here): boolean =>
    boxes[0] !== undefined && boxIou(boxes[0], object.box) >= 0.5;
  if (isRight(here)) hereRight++;
  if (isRight(there)) thereRight++;
}
console.log(`${equal} of ${asked} answers are equal; right boxes: ${hereRight} here, ${thereRight} in ONNX`);
await onnx.close();
inference.dispose();
