import { setTimeout } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { inOrder } from '../../src/data/in-order.ts';

it('yields in order, with no more than so many in the making', async () => {
  let [running, most] = [0, 0];
  const results = [];
  for await (const result of inOrder([5, 1, 4, 0, 3, 2], 3, async item => {
    most = Math.max(most, ++running);
    await setTimeout(item);
    running--;
    return item * 10;
  })) {
    results.push(result);
  }
  expect(results).toEqual([50, 10, 40, 0, 30, 20]);
  expect(most).toBe(3);
});

it('throws a failure in its turn, the ones behind it unseen', async () => {
  const results: number[] = [];
  const run = async () => {
    for await (const result of inOrder([0, 1, 2, 3], 4, async item => {
      if (item > 0) throw new Error(`item ${item}`);
      return item;
    })) {
      results.push(result);
    }
  };
  await expect(run()).rejects.toThrow('item 1');
  expect(results).toEqual([0]);
});
