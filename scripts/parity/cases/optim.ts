import { join } from 'node:path';
import { z } from 'zod';
import * as tf from '../../../src/engine/tf.ts';
import { zeros } from '../../../src/nn/init.ts';
import { ParameterTree } from '../../../src/nn/parameter.ts';
import type { ParameterBank } from '../../../src/train/freeze.ts';
import {
  adamw,
  type BankState,
  clipFactor,
  initialState,
  updateVector,
} from '../../../src/train/optimizer.ts';
import { scheduleFactor } from '../../../src/train/schedule.ts';
import { type FixtureCase, input, readJson, tensorOf } from '../case.ts';
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

/** The norms in optim.json are the tensors `out.*.total_norm` again. */
const NORM = { rtol: 5e-5, atol: 1e-8 };

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

type RunSpec = z.infer<typeof runSchema>;

function optimize(fixture: FixtureCase, run: string, spec: RunSpec, results: Results): void {
  const { tree, banks } = startOf(fixture, spec);
  const optimizer = { betas: spec.betas, eps: spec.eps, weight_decay: 0, clip_norm: spec.clip };
  const trace = new Trace();
  let state: readonly BankState[] = initialState(banks);
  for (let step = 0; step < spec.steps; step++) {
    const factor = spec.schedule === undefined ? 1 : warmedCosine(spec.schedule, step);
    const lr = banks.map(bank => bank.peakLr * factor);
    const before = state;
    tf.tidy(() => {
      const gradients = banks.map(bank => bank.parameters.map(p => gradientOf(fixture, p.name, step)));
      const scalars = tf.tensor1d(updateVector({ lr, updates: step }, optimizer));
      const update = adamw(banks, state, gradients, scalars, optimizer);
      const clip = clipFactor(update.gradNorm, spec.clip);
      trace.add('total_norm', [], update.gradNorm);
      for (const [b, bank] of banks.entries()) {
        for (const [i, parameter] of bank.parameters.entries()) {
          const { name, shape } = parameter;
          trace.add(`clipped_grad.${name}`, shape, tf.mul(gradients[b]?.[i] as tf.Tensor, clip));
          parameter.assign(update.values[b]?.[i] as tf.Tensor);
          trace.add(`param.${name}`, shape, parameter.value);
        }
      }
      for (const { m, v } of update.state) [tf.keep(m), tf.keep(v)];
      state = update.state;
    });
    dispose(before);
    results.check(`optim.json runs.${run}.log.${step}.lr`, lr, spec.log[step]?.lr ?? [], LEARNING_RATE);
  }
  const norms = spec.log.map(entry => entry.total_norm);
  results.check(`optim.json runs.${run}.log.total_norm`, trace.of('total_norm'), norms, NORM);
  trace.write(results, `out.${run}.`, spec.steps);
  for (const [b, bank] of banks.entries()) {
    addMoment(results, `out.${run}.exp_avg`, bank, state[b]?.m as tf.Tensor1D);
    addMoment(results, `out.${run}.exp_avg_sq`, bank, state[b]?.v as tf.Tensor1D);
  }
  dispose(state);
  tree.dispose();
}

/** The run's parameters at their initial values, in its groups. */
function startOf(fixture: FixtureCase, spec: RunSpec): { tree: ParameterTree; banks: ParameterBank[] } {
  const tree = new ParameterTree();
  const banks = spec.groups.map((group, i): ParameterBank => {
    const parameters = group.params.map(name => {
      const start = input(fixture, `in.param.${name}`);
      const parameter = tree.root.parameter(name, start.shape, zeros);
      parameter.assign(tensorOf(start));
      return parameter;
    });
    return { group: `group ${i}`, peakLr: group.lr, weightDecay: group.weight_decay, parameters };
  });
  return { tree, banks };
}

/** A parameter's given gradient at a step. */
function gradientOf(fixture: FixtureCase, name: string, step: number): tf.Tensor {
  const all = tensorOf(input(fixture, `in.grad.${name}`));
  return tf.reshape(tf.slice(all, [step], [1]), all.shape.slice(1));
}

/** Values that are compared after every step. */
class Trace {
  readonly #values = new Map<string, { readonly shape: readonly number[]; readonly data: number[] }>();

  add(name: string, shape: readonly number[], tensor: tf.Tensor): void {
    const entry = this.#values.get(name) ?? { shape, data: [] };
    entry.data.push(...tensor.dataSync());
    this.#values.set(name, entry);
  }

  of(name: string): readonly number[] {
    return this.#values.get(name)?.data ?? [];
  }

  write(results: Results, prefix: string, steps: number): void {
    for (const [name, { shape, data }] of this.#values) {
      results.set(`${prefix}${name}`, [steps, ...shape], Float32Array.from(data));
    }
  }
}

/** A bank's moments, which lie end to end, parameter by parameter. */
function addMoment(results: Results, name: string, bank: ParameterBank, moment: tf.Tensor1D): void {
  const values = moment.dataSync();
  let at = 0;
  for (const { name: parameter, shape, size } of bank.parameters) {
    results.set(`${name}.${parameter}`, shape, Float32Array.from(values.subarray(at, at + size)));
    at += size;
  }
}

function dispose(state: readonly BankState[]): void {
  for (const { m, v } of state) tf.dispose([m, v]);
}

/** transformers' cosine schedule with its warmup in steps, where ground's takes a share that it rounds up. */
function warmedCosine({ warmup, total }: { warmup: number; total: number }, step: number): number {
  const share = warmup === 0 ? 0 : (warmup - 0.5) / total;
  return scheduleFactor({ kind: 'cosine', warmup: share, floor: 0 }, step, total);
}
