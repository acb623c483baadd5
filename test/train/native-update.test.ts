import { describe, expect, test } from 'vitest';
import { composedOnly, hasNativeOps } from '../../src/engine/native-ops.ts';
import * as tf from '../../src/engine/tf.ts';
import { ones } from '../../src/nn/init.ts';
import { Parameter } from '../../src/nn/parameter.ts';
import { Random } from '../../src/random.ts';
import type { ParameterBank } from '../../src/train/freeze.ts';
import { adamw, adamwInPlace, initialState, updateVector } from '../../src/train/optimizer.ts';
import { startTestEngine } from '../helpers/engine.ts';

const engine = await startTestEngine();
const native = engine.name === 'tensorflow' && hasNativeOps();

const SHAPES = [
  [[3, 5], [40_000]],
  [[7], [1], [16_384]],
];
const OPTIMIZER = { betas: [0.9, 0.99], eps: 1e-8, weight_decay: 0.1, clip_norm: 1 } as const;

function draw(name: string, shape: readonly number[]): tf.Tensor {
  const random = new Random(11, name);
  const size = shape.reduce((a, b) => a * b, 1);
  return tf.tensor(
    Float32Array.from({ length: size }, () => random.normal()),
    [...shape],
  );
}

function banksOf(): ParameterBank[] {
  return SHAPES.map((shapes, b) => ({
    group: `group${b}`,
    peakLr: 1e-2 * (b + 1),
    weightDecay: b === 0 ? OPTIMIZER.weight_decay : 0,
    parameters: shapes.map((shape, i) => {
      const parameter = new Parameter(`p${b}.${i}`, shape, ones);
      parameter.assign(draw(parameter.name, shape));
      return parameter;
    }),
  }));
}

const gradientsOf = (banks: readonly ParameterBank[], step: number): (tf.Tensor | null)[] =>
  banks.flatMap(bank =>
    bank.parameters.map(p => (p.name === 'p1.1' ? null : draw(`g${step} ${p.name}`, p.shape))),
  );

describe.skipIf(!native)('AdamW in place', () => {
  test('equals the composed update over steps, clipped, with a parameter that gets no gradient', () => {
    const inPlace = banksOf();
    const states = initialState(inPlace);
    const composed = banksOf();
    let before = initialState(composed);
    for (let step = 0; step < 4; step++) {
      const scalars = tf.tensor1d(updateVector({ lr: [1e-2, 2e-2], updates: step }, OPTIMIZER));
      const gradients = gradientsOf(composed, step);
      const norm = adamwInPlace(inPlace, states, gradients, scalars, OPTIMIZER);
      let next = 0;
      const perBank = composed.map(bank => bank.parameters.map(() => gradients[next++] ?? null));
      const update = composedOnly(() => adamw(composed, before, perBank, scalars, OPTIMIZER));
      for (const [b, bank] of composed.entries()) {
        for (const [i, p] of bank.parameters.entries()) p.assign(update.values[b]?.[i] as tf.Tensor);
      }
      before = [...update.state];
      expect(norm.dataSync()[0]).toBeCloseTo(update.gradNorm.dataSync()[0] ?? Number.NaN, 2);
    }
    const far = (a: tf.Tensor, b: tf.Tensor): number =>
      tf.max(tf.abs(tf.sub(a, b))).dataSync()[0] ?? Number.NaN;
    for (const [b, bank] of composed.entries()) {
      for (const [i, p] of bank.parameters.entries()) {
        const twin = inPlace[b]?.parameters[i] as Parameter;
        expect(far(p.value, twin.value), p.name).toBeLessThan(2e-6);
        // Without a gradient and without decay, nothing moves.
        const moved = far(p.value, draw(p.name, p.shape));
        if (p.name === 'p1.1') expect(moved).toBe(0);
        else expect(moved, p.name).toBeGreaterThan(1e-3);
      }
      expect(far(before[b]?.m as tf.Tensor, states[b]?.m as tf.Tensor)).toBeLessThan(1e-6);
      expect(far(before[b]?.v as tf.Tensor, states[b]?.v as tf.Tensor)).toBeLessThan(1e-6);
    }
  });

  test('writes nothing where a gradient is not finite', () => {
    const banks = banksOf();
    const states = initialState(banks);
    const gradients = gradientsOf(banks, 0);
    gradients[2]?.dispose();
    gradients[2] = tf.fill([7], Number.POSITIVE_INFINITY);
    const scalars = tf.tensor1d(updateVector({ lr: [1, 1], updates: 0 }, OPTIMIZER));
    const norm = adamwInPlace(banks, states, gradients, scalars, OPTIMIZER);
    expect(norm.dataSync()[0]).toBe(Number.POSITIVE_INFINITY);
    for (const p of banks.flatMap(bank => bank.parameters)) {
      expect(p.value.dataSync()).toEqual(draw(p.name, p.shape).dataSync());
    }
    for (const { m, v } of states) expect([...m.dataSync(), ...v.dataSync()].every(x => x === 0)).toBe(true);
  });

  test('gives the same bits for any number of repetitions', () => {
    const run = (): Float32Array[] => {
      const banks = banksOf();
      const states = initialState(banks);
      for (let step = 0; step < 3; step++) {
        const scalars = tf.tensor1d(updateVector({ lr: [1e-2, 1e-2], updates: step }, OPTIMIZER));
        adamwInPlace(banks, states, gradientsOf(banks, step), scalars, OPTIMIZER);
      }
      return banks.flatMap(bank => bank.parameters.map(p => p.value.dataSync() as Float32Array));
    };
    expect(run()).toEqual(run());
  });
});
