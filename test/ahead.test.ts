import { describe, expect, it } from 'vitest';
import { ahead } from '../src/ahead.ts';

/** Tasks that end in the order of `ends`, each with its index; tells how many are under way. */
function tasksOf(ends: readonly number[]) {
  let running = 0;
  let most = 0;
  let started = 0;
  const tasks = ends.map((turns, i) => async () => {
    started++;
    most = Math.max(most, ++running);
    for (let turn = 0; turn < turns; turn++) await new Promise(resolve => setImmediate(resolve));
    running--;
    if (turns === 5) throw new Error(`task ${i}`);
    return i;
  });
  return { tasks, most: () => most, started: () => started };
}

async function collect<T>(values: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const value of values) all.push(value);
  return all;
}

describe('tasks run ahead', () => {
  it.each([1, 3, 20])('give their results in order, at most %i at a time', async depth => {
    const { tasks, most } = tasksOf([4, 1, 3, 1, 2, 1, 6, 1]);
    expect(await collect(ahead(tasks, depth))).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
    expect(most()).toBe(Math.min(depth, tasks.length));
  });

  it('give nothing for nothing', async () => {
    expect(await collect(ahead([], 4))).toEqual([]);
  });

  it('fail in the turn of the one that failed, and no more are started', async () => {
    const { tasks, started } = tasksOf([1, 5, 1, 1, 1, 1, 1, 1]);
    const seen: number[] = [];
    const work = async () => {
      for await (const value of ahead(tasks, 3)) seen.push(value);
    };
    await expect(work()).rejects.toThrow('task 1');
    expect(seen).toEqual([0]);
    expect(started()).toBe(4);
  });
});
