/** Our side of the benchmark of steps: recorded with fused ops, or (`eager`) op by op with composed layers. */
import { tensorflowBackend } from '../../src/engine/backend.ts';
import { startEngine } from '../../src/engine/engine.ts';
import { composedOnly } from '../../src/engine/native-ops.ts';
import { measurePeak } from '../../src/train/plan/speed.ts';
import type { StepResult } from '../../src/train/step.ts';
import { batchArrays, weightArrays, writeArrays } from './arrays.ts';
import { peakMemory, serve, THREADS, timeOf } from './side.ts';
import { stepRequest } from './step-protocol.ts';
import { openStep } from './step-setup.ts';

const [modelName = '', stageName = '', way = ''] = process.argv.slice(2);

/** Runs with layers composed and functions not recorded, as TensorFlow.js by itself would. */
function eagerly<T>(f: () => T): T {
  const backend = tensorflowBackend();
  if (!backend) return composedOnly(f);
  const real = backend.binding;
  backend.binding = { ...real, eagerOnly: true };
  try {
    return composedOnly(f);
  } finally {
    backend.binding = real;
  }
}

await startEngine({ device: 'cpu', threads: THREADS });
const { model, batch, run: runStep } = openStep(modelName, stageName);
const around = way === 'eager' ? eagerly : <T>(f: () => T): T => f();
const run = (): StepResult => around(runStep);

await serve(async request => {
  const asked = stepRequest.parse(request);
  switch (asked.do) {
    case 'write':
      writeArrays(asked.folder, 'weights', weightArrays(model));
      writeArrays(asked.folder, 'batch', batchArrays(batch, model.config));
      return {};
    case 'check': {
      const results = Array.from({ length: asked.steps }, run);
      const [first] = results;
      return {
        losses: results.map(({ loss }) => loss),
        gradNorm: first?.gradNorm ?? Number.NaN,
        flops: first?.flops ?? 0,
      };
    }
    case 'time':
      return { seconds: timeOf(asked.seconds, run) };
    case 'peak':
      return { flops: measurePeak() };
    case 'memory':
      return { bytes: peakMemory() };
  }
});
