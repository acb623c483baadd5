/**
 * Where the time of a step goes, op by op: the same ops as recorded, run one after another.
 * Usage: npm run bench:profile [-- --model small --stage stage3 --steps 3 --rows 16]
 */
import { parseArgs } from 'node:util';
import { startEngine } from '../../src/engine/engine.ts';
import { profileOps } from '../../src/engine/profile.ts';
import { openStep } from './step-setup.ts';

const { values } = parseArgs({
  options: {
    model: { type: 'string', default: 'small' },
    stage: { type: 'string', default: 'stage3' },
    steps: { type: 'string', default: '3' },
    rows: { type: 'string', default: '16' },
  },
});
await startEngine({ device: 'cpu' });
const { run } = openStep(values.model, values.stage);
const steps = Number(values.steps);
const times = new Map<string, { count: number; milliseconds: number }>();
// Once unseen: memory is taken from the system the first time.
profileOps(() => undefined, run);
const began = performance.now();
profileOps(
  ({ op, began: from, ended }) => {
    const sum = times.get(op) ?? { count: 0, milliseconds: 0 };
    times.set(op, { count: sum.count + 1, milliseconds: sum.milliseconds + ended - from });
  },
  () => {
    for (let i = 0; i < steps; i++) run();
  },
);
const whole = performance.now() - began;
const rows = [...times].sort(([, a], [, b]) => b.milliseconds - a.milliseconds);
console.log(`${values.model}, ${values.stage}: ${(whole / steps).toFixed(1)} ms a step op by op`);
for (const [op, { count, milliseconds }] of rows.slice(0, Number(values.rows))) {
  const share = ((100 * milliseconds) / whole).toFixed(1).padStart(5);
  console.log(
    `${share} %  ${(milliseconds / steps).toFixed(2).padStart(9)} ms  ${String(count / steps).padStart(5)} × ${op}`,
  );
}
