import { beforeAll, describe, expect, it } from 'vitest';
import { philoxUniform } from '../../src/engine/philox.ts';
import { statelessUniform } from '../../src/engine/random-ops.ts';
import * as tf from '../../src/engine/tf.ts';
import { startTestEngine } from '../helpers/engine.ts';

beforeAll(startTestEngine);

describe('philoxUniform', () => {
  it.each([
    [0, 0],
    [1, 2],
    [-5, 2 ** 31 - 1],
    [-(2 ** 31), -1],
    [123456789, 77],
  ])('gives the numbers of the engine for the seed [%i, %i]', (first, second) => {
    const count = 1031;
    const seed = tf.tensor1d([first, second], 'int32');
    const there = statelessUniform([count], seed).dataSync();
    expect(Array.from(philoxUniform(first, second, count))).toEqual(Array.from(there));
    tf.dispose(seed);
  });
});
