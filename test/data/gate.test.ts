import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { giveBuffers, takeFloats } from '../../src/data/buffers.ts';
import { Gate } from '../../src/data/gate.ts';

describe('a gate', () => {
  it('lets so many in at once, in the order they came, failures or not', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 4 }),
        fc.array(fc.record({ turns: fc.integer({ min: 1, max: 5 }), fails: fc.boolean() }), {
          maxLength: 20,
        }),
        async (slots, tasks) => {
          const gate = new Gate(slots);
          const begun: number[] = [];
          let inside = 0;
          let most = 0;
          const results = await Promise.allSettled(
            tasks.map(({ turns, fails }, i) =>
              gate.run(async () => {
                begun.push(i);
                most = Math.max(most, ++inside);
                for (let turn = 0; turn < turns; turn++) await Promise.resolve();
                inside--;
                if (fails) throw new Error(`task ${i}`);
                return i;
              }),
            ),
          );
          expect(begun).toEqual(tasks.map((_, i) => i));
          expect(most).toBe(Math.min(slots, tasks.length));
          expect(results.map(({ status }) => status === 'rejected')).toEqual(tasks.map(({ fails }) => fails));
        },
      ),
    );
  });
});

describe('memory given back', () => {
  it('is used for arrays that fit, and for no other', () => {
    const first = takeFloats(100_000);
    giveBuffers([first.buffer]);
    expect(takeFloats(400_000).buffer).not.toBe(first.buffer);
    expect(takeFloats(40_000).buffer).not.toBe(first.buffer);
    const again = takeFloats(90_000);
    expect(again.buffer).toBe(first.buffer);
    expect(again).toHaveLength(90_000);
    expect(takeFloats(90_000).buffer).not.toBe(first.buffer);
  });

  it('is not worth it for small arrays, which are zero', () => {
    const small = takeFloats(100).fill(1);
    giveBuffers([small.buffer]);
    expect(takeFloats(100).every(value => value === 0)).toBe(true);
  });

  it('is given up where there is too much of it', () => {
    const many = Array.from({ length: 20 }, () => new ArrayBuffer(2 ** 22));
    giveBuffers(many);
    const taken = Array.from({ length: 20 }, () => takeFloats(2 ** 20).buffer);
    expect(many.slice(0, 4).some(buffer => taken.includes(buffer))).toBe(false);
    expect(many.slice(4).every(buffer => taken.includes(buffer))).toBe(true);
  });
});
