import { beforeAll, describe, expect, it } from 'vitest';
import { composedOnly } from '../../src/engine/native-ops.ts';
import * as tf from '../../src/engine/tf.ts';
import { gridCentres, sineCosinePositions, unitLength } from '../../src/models/positions.ts';
import { startTestEngine } from '../helpers/engine.ts';
import { expectClose, randomTensor } from '../helpers/numbers.ts';

beforeAll(startTestEngine);

const lengthsOf = (rows: tf.Tensor2D): number[] => [...tf.norm(rows, 2, 1).dataSync()];

describe('a visual token at its place', () => {
  it('is as long for what is seen as for where, however long the projector made it', () => {
    tf.tidy(() => {
      const tokens = tf.mul(randomTensor('tokens', [5, 8]), 40) as tf.Tensor2D;
      const places = sineCosinePositions(tf.tensor2d(gridCentres({ rows: 2, columns: 3 }, 1), [6, 2]), 8, 6);
      for (const length of [...lengthsOf(unitLength(tokens)), ...lengthsOf(places)]) {
        expect(length).toBeCloseTo(1, 4);
      }
    });
  });

  it('is the same by fused and by composed operations, gradients included, and finite where nothing is seen', () => {
    tf.tidy(() => {
      const tokens = tf.concat([randomTensor('tokens', [4, 8]), tf.zeros([1, 8])]) as tf.Tensor2D;
      const direction = randomTensor('direction', [5, 8]);
      const both = () =>
        tf.valueAndGrad((x: tf.Tensor) => tf.sum(tf.mul(unitLength(x as tf.Tensor2D), direction)))(tokens);
      const [fused, composed] = [both(), composedOnly(both)];
      expectClose(fused.value, composed.value, 1e-5);
      expectClose(fused.grad, composed.grad, 2e-3);
      expect([...unitLength(tokens).dataSync()].slice(-8)).toEqual(Array(8).fill(0));
    });
  });
});
