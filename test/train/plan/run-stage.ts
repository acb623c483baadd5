/**
 * Trains a stage of the tiny recipe for a few steps on one batch and prints what memory that took, as JSON: `heap`, by how
 * much the heap grows during a step and shrinks again, `idle`, what the process holds with an idle engine, and `resident`,
 * by how much it has grown since. Arguments: stage, samples, the heap tracker's file, overrides
 * of the recipe.
 */
import { closeSync, openSync, readFileSync, readSync, writeSync } from 'node:fs';
import { startEngine } from '../../../src/engine/engine.ts';
import * as tf from '../../../src/engine/tf.ts';
import { buildModel } from '../../../src/train/adapters.ts';
import { planTraining } from '../../../src/train/freeze.ts';
import { conversationBatch } from '../../../src/train/plan/sizes.ts';
import { TrainStep } from '../../../src/train/step.ts';
import { sceneSizes, tinyStage } from './tiny-stage.ts';

const [stage = '', samples = '', tracker = '', ...overrides] = process.argv.slice(2);
const file = openSync(tracker, 'r+');
const counters = Buffer.alloc(16);

function heap(): { now: number; most: number } {
  readSync(file, counters, 0, 16, 0);
  return { now: Number(counters.readBigInt64LE(0)), most: Number(counters.readBigInt64LE(8)) };
}

/** Forgets what the heap held at most before. */
function reset(): void {
  readSync(file, counters, 0, 16, 0);
  writeSync(file, counters, 0, 8, 8);
}

function resident(): number {
  const [, kilobytes] = /VmRSS:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'utf8')) ?? [];
  return 1024 * Number(kilobytes);
}

const recipe = tinyStage(Number(stage), [`batch.samples=${samples}`, 'from=null', ...overrides]);
const batch = conversationBatch(recipe.model, sceneSizes(Number(samples), recipe.stage.views));
await startEngine({ engine: 'tensorflow', device: 'cpu' });
// The first product takes what an engine takes once.
tf.tidy(() => tf.matMul(tf.ones([256, 256]), tf.ones([256, 256])).dataSync());
const idle = resident();
const model = buildModel(recipe);
model.parameters.allocate(0);
const step = new TrainStep(model, planTraining(model.parameters, recipe.stage, model.unused), recipe.stage);
let most = 0;
for (let i = 0; i < 5; i++) {
  reset();
  step.run([batch], i);
  // The first steps record, and TensorFlow optimises what was recorded.
  if (i >= 2) most = Math.max(most, heap().most - heap().now);
}
process.stdout.write(JSON.stringify({ heap: most, resident: resident() - idle, idle }));
step.dispose();
model.dispose();
closeSync(file);
