import { join } from 'node:path';
import { z } from 'zod';
import * as tf from '../../../src/engine/tf.ts';
import { zeros } from '../../../src/nn/init.ts';
import { type Parameter, ParameterTree } from '../../../src/nn/parameter.ts';
import type { ParameterBank } from '../../../src/train/freeze.ts';
import {
  adamw,
  type BankState,
  clipFactor,
  initialState,
  updateVector,
} from '../../../src/train/optimizer.ts';
import { scheduleFactor } from '../../../src/train/schedule.ts';
import { type FixtureCase, input, readJson, tensorOf, valuesOf } from '../case.ts';
import { Results } from '../results.ts';

const runSchema = z.object({
  steps: z.number(),
  clip: z.number(),
  betas: z.tuple([z.number(), z.number()]),
  eps: z.number(),
  schedule: z.object({ warmup: z.number(), total: z.number() }).optional(),
  groups: z.array(z.object({ params: z.array(z.string()), lr: z.number(), weight_decay: z.number() })),
  log: z.array(z.object({ step: z.number(), lr: z.array(z.number()), total_norm: z.number() })),
});
const specSchema = z.object({
  runs: z.record(z.string(), runSchema),
  schedules: z.record(
    z.string(),
    z.object({
      type: z.enum(['cosine', 'linear']),
      lr: z.number(),
      warmup_ratio: z.number(),
      total: z.number(),
      values: z.array(z.number()),
    }),
  ),
});

/** What the README asks of learning rates. */
const LEARNING_RATE = { rtol: 1e-12, atol: 0 };

/** torch.optim.AdamW with groups and clipping over given gradients, and transformers' schedules. */
export function runOptim(fixture: FixtureCase): Results {
  const spec = specSchema.parse(readJson(join(fixture.dir, 'optim.json')));
  const results = new Results();
  results.compareWith(/^out\.lr\./, LEARNING_RATE);
  for (const [run, settings] of Object.entries(spec.runs)) optimize(fixture, run, settings, results);
  for (const [name, { type: kind, lr, warmup_ratio: warmup, total, values }] of Object.entries(
    spec.schedules,
  )) {
    const got = Float64Array.from(
      { length: total + 1 },
      (_, step) => lr * scheduleFactor({ kind, warmup, floor: 0 }, step, total),
    );
    results.set(`out.lr.${name}`, [got.length], got);
    results.check(`optim.json schedules.${name}.values`, got, values, LEARNING_RATE);
  }
  return results;
}

function optimize(
  fixture: FixtureCase,
  run: string,
  spec: z.infer<typeof runSchema>,
  results: Results,
): void {
  const tree = new ParameterTree();
  const parameters = new Map<string, Parameter>();
  for (const name of spec.groups.flatMap(group => group.params)) {
    const start = input(fixture, `in.param.${name}`);
    const parameter = tree.root.parameter(name, start.shape, zeros);
    parameter.assign(tensorOf(start));
    parameters.set(name, parameter);
  }
  const banks = spec.groups.map(
    (group, i): ParameterBank => ({
      group: `group ${i}`,
      peakLr: group.lr,
      weightDecay: group.weight_decay,
      parameters: group.params.map(name => parameters.get(name) as Parameter),
    }),
  );
  const optimizer = { betas: spec.betas, eps: spec.eps, weight_decay: 0, clip_norm: spec.clip };
  const traces = new Map<string, number[]>();
  const trace = (name: string, values: ArrayLike<number>): void => {
    traces.set(name, [...(traces.get(name) ?? []), ...Array.from(values)]);
  };
  let state: readonly BankState[] = initialState(banks);
  for (let step = 0; step < spec.steps; step++) {
    const factor = spec.schedule === undefined ? 1 : warmedCosine(spec.schedule, step);
    const lr = banks.map(bank => bank.peakLr * factor);
    const before = state;
    tf.tidy(() => {
      const gradientOf = (name: string): tf.Tensor => {
        const all = tensorOf(input(fixture, `in.grad.${name}`));
        const [, ...shape] = all.shape;
        return tf.reshape(tf.slice(all, [step], [1]), shape);
      };
      const gradients = spec.groups.map(group => group.params.map(gradientOf));
      const scalars = tf.tensor1d(updateVector({ lr, updates: step }, optimizer));
      const update = adamw(banks, state, gradients, scalars, optimizer);
      const clip = clipFactor(update.gradNorm, spec.clip);
      for (const [b, group] of spec.groups.entries()) {
        for (const [i, name] of group.params.entries()) {
          trace(`clipped_grad.${name}`, valuesOf(tf.mul(gradients[b]?.[i] as tf.Tensor, clip)).data);
          const value = update.values[b]?.[i] as tf.Tensor;
          parameters.get(name)?.assign(value);
          trace(`param.${name}`, value.dataSync());
        }
      }
      trace('total_norm', update.gradNorm.dataSync());
      for (const { m, v } of update.state) [tf.keep(m), tf.keep(v)];
      state = update.state;
    });
    for (const { m, v } of before) tf.dispose([m, v]);
    const logged = spec.log[step];
    results.check(`optim.json runs.${run}.log.${step}.lr`, lr, logged?.lr ?? [], LEARNING_RATE);
  }
  for (const [name, values] of traces) {
    const shape = parameters.get(name.slice(name.indexOf('.') + 1))?.shape ?? [];
    results.set(`out.${run}.${name}`, [spec.steps, ...shape], Float32Array.from(values));
  }
  const norms = spec.log.map(entry => entry.total_norm);
  results.check(`optim.json runs.${run}.log.total_norm`, traces.get('total_norm') ?? [], norms, {
    rtol: 5e-5,
    atol: 1e-8,
  });
  for (const [b, group] of spec.groups.entries()) {
    for (const [moments, name] of [
      [state[b]?.m, 'exp_avg'],
      [state[b]?.v, 'exp_avg_sq'],
    ] as const) {
      const values = (moments as tf.Tensor1D).dataSync();
      let at = 0;
      for (const member of group.params) {
        const { shape, size } = parameters.get(member) as Parameter;
        results.set(`out.${run}.${name}.${member}`, shape, Float32Array.from(values.subarray(at, at + size)));
        at += size;
      }
    }
  }
  for (const { m, v } of state) tf.dispose([m, v]);
  tree.dispose();
}

/** transformers' cosine schedule with its warmup in steps, where ground's takes a share that it rounds up. */
function warmedCosine({ warmup, total }: { warmup: number; total: number }, step: number): number {
  const share = warmup === 0 ? 0 : (warmup - 0.5) / total;
  return scheduleFactor({ kind: 'cosine', warmup: share, floor: 0 }, step, total);
}
