import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { SPIKE_DEFAULTS, type Spike, type SpikeConfig, SpikeWatch } from '../../src/train/watchdog.ts';

const CONFIG: SpikeConfig = { ...SPIKE_DEFAULTS, window: 20, patience: 3 };

/** Losses that waver around a value. */
const calm = (value: number, count: number): number[] =>
  Array.from({ length: count }, (_, i) => value + 0.1 * Math.sin(7 * i));

function follow(losses: readonly number[], config = CONFIG): Spike[] {
  const watch = new SpikeWatch(config);
  return losses.flatMap((loss, i) => watch.add(i + 1, loss) ?? []);
}

describe('the watch over jumps of the loss', () => {
  it('tells of a jump that stays for `patience` steps, with its first step and what was before', () => {
    const [spike, ...more] = follow([...calm(2, 30), 9, 9.5, 9.2, ...calm(9, 10)]);
    expect(spike).toMatchObject({ first: 31, last: 33, loss: 9.2 });
    expect(spike?.mean).toBeCloseTo(2, 1);
    expect(spike?.zscore).toBeGreaterThan(50);
    // The new level is told of once.
    expect(more).toEqual([]);
  });

  it('takes a single high loss for noise, and a falling loss for learning', () => {
    expect(follow([...calm(2, 30), 9, 9, ...calm(2, 10), 9, ...calm(2, 10)])).toEqual([]);
    expect(follow([...calm(8, 30), ...calm(2, 30), ...calm(0.5, 30)])).toEqual([]);
  });

  it('does not judge before it knows enough, nor when it is off', () => {
    expect(follow([...calm(2, 19), 50, 50, 50, 50])).toEqual([]);
    expect(follow([...calm(2, 30), 50, 50, 50, 50], { ...CONFIG, action: 'off' })).toEqual([]);
    expect(follow([...calm(2, 5), 50, 50, 50], { ...CONFIG, window: 5 })).toHaveLength(1);
  });

  it('takes losses that are all alike for exact to one percent', () => {
    const flat = new Array<number>(30).fill(2);
    expect(follow([...flat, 2.1, 2.1, 2.1])).toEqual([]);
    expect(follow([...flat, 2.2, 2.2, 2.2])).toHaveLength(1);
  });

  it('decides alike when it goes on from its state at any step', () => {
    const loss = fc.oneof(
      { weight: 8, arbitrary: fc.double({ min: 1, max: 2, noNaN: true }) },
      fc.double({ min: 1, max: 100, noNaN: true }),
    );
    fc.assert(
      fc.property(fc.array(loss, { minLength: 1, maxLength: 60 }), fc.nat(59), (losses, cut) => {
        const config = { ...CONFIG, window: 8, patience: 2 };
        const whole = new SpikeWatch(config);
        let resumed = new SpikeWatch(config);
        for (const [i, value] of losses.entries()) {
          if (i === cut) resumed = new SpikeWatch(config, JSON.parse(JSON.stringify(resumed.state)));
          expect(resumed.add(i + 1, value)).toEqual(whole.add(i + 1, value));
          expect(resumed.jumping).toBe(whole.jumping);
        }
      }),
    );
  });
});
