import { readFileSync } from 'node:fs';
import { beforeAll, describe, expect, it } from 'vitest';
import * as tf from '../../src/engine/tf.ts';
import { openSafetensors } from '../../src/models/safetensors.ts';
import { zeros } from '../../src/nn/init.ts';
import { type Parameter, ParameterTree } from '../../src/nn/parameter.ts';
import type { ParameterBank } from '../../src/train/freeze.ts';
import { adamw, initialState, updateVector } from '../../src/train/optimizer.ts';
import { scheduleFactor } from '../../src/train/schedule.ts';
import { startTestEngine } from '../helpers/engine.ts';

const FOLDER = new URL('../fixtures/parity/optim/', import.meta.url);

interface Run {
  readonly steps: number;
  readonly clip: number;
  readonly betas: [number, number];
  readonly eps: number;
  readonly schedule?: { readonly warmup: number; readonly total: number };
  readonly groups: readonly {
    readonly params: string[];
    readonly lr: number;
    readonly weight_decay: number;
  }[];
  readonly log: readonly { readonly lr: number[] }[];
}
const spec = JSON.parse(readFileSync(new URL('optim.json', FOLDER), 'utf8')) as {
  readonly runs: Record<string, Run>;
  readonly schedules: Record<
    string,
    {
      type: 'cosine' | 'linear';
      lr: number;
      warmup_ratio: number;
      total: number;
      values: number[];
    }
  >;
};

beforeAll(async () => {
  await startTestEngine();
});

function expectClose(got: ArrayLike<number>, want: ArrayLike<number>, name: string): void {
  const largest = Math.max(...Array.from(want, Math.abs));
  expect(got.length, name).toBe(want.length);
  for (let i = 0; i < want.length; i++) {
    expect(Math.abs((got[i] ?? Number.NaN) - (want[i] ?? 0)), `${name}[${i}]`).toBeLessThanOrEqual(
      1e-8 + 5e-5 * largest,
    );
  }
}

describe('AdamW', () => {
  it.each(Object.keys(spec.runs))('equals torch.optim.AdamW with clipping, run %s', async name => {
    const run = spec.runs[name] as Run;
    const file = await openSafetensors(new URL('io.safetensors', FOLDER).pathname);
    const tree = new ParameterTree();
    const parameters = new Map<string, Parameter>();
    const gradients = new Map<string, Float32Array>();
    for (const p of run.groups.flatMap(g => g.params)) {
      const { shape } = file.tensors.get(`in.param.${p}`) as { shape: readonly number[] };
      const parameter = tree.root.parameter(p, shape, zeros);
      parameter.assign(tf.tensor(await file.readFloat32(`in.param.${p}`), [...shape]));
      parameters.set(p, parameter);
      gradients.set(p, await file.readFloat32(`in.grad.${p}`));
    }
    const banks: ParameterBank[] = run.groups.map((g, i) => ({
      group: `g${i}`,
      peakLr: g.lr,
      weightDecay: g.weight_decay,
      parameters: g.params.map(p => parameters.get(p) as Parameter),
    }));
    const optimizer = { betas: run.betas, eps: run.eps, weight_decay: 0, clip_norm: run.clip };
    let state = initialState(banks);
    for (let step = 0; step < run.steps; step++) {
      const lr = (run.log[step] as { lr: number[] }).lr;
      const gradsOf = (p: Parameter): tf.Tensor =>
        tf.tensor((gradients.get(p.name) as Float32Array).slice(step * p.size, (step + 1) * p.size), [
          ...p.shape,
        ]);
      const update = adamw(
        banks,
        state,
        banks.map(bank => bank.parameters.map(gradsOf)),
        tf.tensor1d(updateVector({ lr, updates: step }, optimizer)),
        optimizer,
      );
      state = [...update.state];
      banks.forEach((bank, b) => {
        bank.parameters.forEach((p, i) => {
          p.assign((update.values[b] as tf.Tensor[])[i] as tf.Tensor);
        });
      });
      const norms = await file.readFloat32(`out.${name}.total_norm`);
      expectClose(update.gradNorm.dataSync(), [norms[step] as number], `norm ${step}`);
      for (const p of parameters.values()) {
        const want = (await file.readFloat32(`out.${name}.param.${p.name}`)).slice(
          step * p.size,
          (step + 1) * p.size,
        );
        expectClose(p.value.dataSync(), want, `${p.name} after step ${step}`);
      }
    }
    for (const [b, bank] of banks.entries()) {
      let offset = 0;
      const { m, v } = state[b] as { m: tf.Tensor1D; v: tf.Tensor1D };
      for (const p of bank.parameters) {
        const part = (t: tf.Tensor1D): Float32Array => t.dataSync<'float32'>().slice(offset, offset + p.size);
        expectClose(part(m), await file.readFloat32(`out.${name}.exp_avg.${p.name}`), `m ${p.name}`);
        expectClose(part(v), await file.readFloat32(`out.${name}.exp_avg_sq.${p.name}`), `v ${p.name}`);
        offset += p.size;
      }
    }
    await file.close();
  });

  it('takes a missing gradient for zero: moments decay, and so do weights', () => {
    const tree = new ParameterTree();
    const w = tree.root.parameter('w', [2, 1], zeros);
    w.assign(tf.tensor2d([1, -2], [2, 1]));
    const banks = [{ group: 'w', peakLr: 0.1, weightDecay: 0.5, parameters: [w] }];
    const state = [{ m: tf.tensor1d([1, 1]), v: tf.tensor1d([1, 1]) }];
    const optimizer = { betas: [0.9, 0.99] as const, eps: 1e-8, weight_decay: 0.5, clip_norm: 1 };
    const scalars = tf.tensor1d(updateVector({ lr: [0.1], updates: 9 }, optimizer));
    const update = adamw(banks, state, [[null]], scalars, optimizer);
    expect(update.gradNorm.dataSync()[0]).toBe(0);
    expectClose((update.state[0] as { m: tf.Tensor }).m.dataSync(), [0.9, 0.9], 'm');
    const step = (0.1 * 0.9) / (1 - 0.9 ** 10) / Math.sqrt(0.99 / (1 - 0.99 ** 10));
    expectClose(
      ((update.values[0] as tf.Tensor[])[0] as tf.Tensor).dataSync(),
      [0.95 - step, -1.9 - step],
      'w',
    );
  });
});

describe('learning-rate schedules', () => {
  it.each(Object.keys(spec.schedules))("equal transformers', %s", name => {
    const s = spec.schedules[name] as (typeof spec.schedules)[string];
    const schedule = { kind: s.type, warmup: s.warmup_ratio, floor: 0 };
    for (const [step, want] of s.values.entries()) {
      const got = s.lr * scheduleFactor(schedule, step, s.total);
      expect(Math.abs(got - want)).toBeLessThanOrEqual(1e-12 * s.lr);
    }
  });

  it('end at the floor and rise to the peak', () => {
    for (const kind of ['cosine', 'linear'] as const) {
      const schedule = { kind, warmup: 0.1, floor: 0.2 };
      expect(scheduleFactor(schedule, 0, 100)).toBe(0);
      expect(scheduleFactor(schedule, 10, 100)).toBeCloseTo(1, 12);
      expect(scheduleFactor(schedule, 100, 100)).toBeCloseTo(0.2, 12);
    }
    expect(scheduleFactor({ kind: 'constant', warmup: 0, floor: 0 }, 57, 100)).toBe(1);
  });
});
