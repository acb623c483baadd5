import { beforeAll, describe, expect, it } from 'vitest';
import * as tf from '../../src/engine/tf.ts';
import { ownValues } from '../../src/engine/values.ts';
import { ones } from '../../src/nn/init.ts';
import { Parameter } from '../../src/nn/parameter.ts';
import type { NamedArraySource } from '../../src/train/checkpoint.ts';
import type { ParameterBank } from '../../src/train/freeze.ts';
import { momentSources, snapshot, weightSources } from '../../src/train/weights.ts';
import { startTestEngine } from '../helpers/engine.ts';

beforeAll(startTestEngine);

const SHAPES = [[3, 5], [7], []];

/** Three parameters, made of arrays that nothing has been computed with. */
function madeOf(arrays: readonly Float32Array[]): Parameter[] {
  return SHAPES.map((shape, i) => {
    const parameter = new Parameter(`p${i}`, shape, ones);
    parameter.assign(tf.tensor(arrays[i] as Float32Array, shape));
    return parameter;
  });
}

const arraysOf = (salt: number) =>
  SHAPES.map(shape => Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => salt + i));

function valuesOf(copies: ReadonlyMap<string, NamedArraySource>): number[][] {
  return [...copies.values()].map(({ data }) => {
    const { buffer, byteOffset, byteLength } = data as Float32Array;
    return [...new Float32Array(buffer, byteOffset, byteLength / 4)];
  });
}

/** Of all memory that the values lie in. */
function bytesHeld(copies: ReadonlyMap<string, NamedArraySource>): number {
  const buffers = new Set([...copies.values()].map(({ data }) => (data as Float32Array).buffer));
  return [...buffers].reduce((sum, { byteLength }) => sum + byteLength, 0);
}

describe('a snapshot', () => {
  it('has memory of its own, of values that the engine was given and of computed ones', async () => {
    const given = arraysOf(10);
    const expected = given.map(values => [...values]);
    const parameters = madeOf(given);
    const copies = await snapshot(weightSources(parameters));
    for (const values of given) values.fill(-1);
    expect(valuesOf(copies)).toEqual(expected);
    expect(bytesHeld(copies)).toBe(4 * (15 + 7 + 1));
    for (const p of parameters) p.assign(tf.tidy(() => tf.add(p.value, 1)));
    const before = parameters.map(p => [...p.value.dataSync()]);
    for (const { data } of (await snapshot(weightSources(parameters))).values())
      (data as Float32Array).fill(-1);
    expect(parameters.map(p => [...p.value.dataSync()])).toEqual(before);
    for (const p of parameters) p.dispose();
  });

  it('of arrays that belong to somebody is a copy', async () => {
    const data = Float32Array.of(1, 2, 3, 4);
    const copies = await snapshot(new Map([['a', { shape: [2], data: data.subarray(1, 3) }]]));
    data.fill(0);
    expect(valuesOf(copies)).toEqual([[2, 3]]);
    expect(bytesHeld(copies)).toBe(8);
  });

  it('of moments reads each bank once', async () => {
    const parameters = madeOf(arraysOf(0));
    const bank: ParameterBank = { group: 'g', peakLr: 1, weightDecay: 0, parameters };
    const flat = Float32Array.from({ length: 23 }, (_, i) => i);
    const state = { m: tf.tensor1d(flat), v: tf.tensor1d(flat.map(x => 2 * x)) };
    const copies = await snapshot(momentSources([bank], [state], 'v'));
    expect(valuesOf(copies).flat()).toEqual([...flat].map(x => 2 * x));
    expect(bytesHeld(copies)).toBe(4 * 23);
    for (const { data } of copies.values()) (data as Float32Array).fill(-1);
    expect([...ownValues(state.v)]).toEqual([...flat].map(x => 2 * x));
    tf.dispose([state.m, state.v]);
    for (const p of parameters) p.dispose();
  });
});
