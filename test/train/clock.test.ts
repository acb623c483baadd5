import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PHASES } from '../../src/telemetry/events.ts';
import { StageClock } from '../../src/train/clock.ts';
import { Countdown, Pace } from '../../src/train/pace.ts';

/** A clock that stands still but where told to go on. */
function stopwatch() {
  let now = 1000;
  return {
    now: () => now,
    pass: (milliseconds: number) => {
      now += milliseconds;
    },
  };
}

describe('the clock of a stage', () => {
  it('gives what happens inside a phase to itself only', async () => {
    const { now, pass } = stopwatch();
    const clock = new StageClock(now);
    pass(5);
    await clock.wait('eval', async () => {
      pass(100);
      clock.time('logging', () => pass(30));
      pass(70);
    });
    expect(clock.lap()).toEqual({
      data: 0,
      forwardBackward: 0,
      update: 0,
      logging: 0.03,
      save: 0,
      eval: 0.17,
      total: 0.205,
    });
    clock.time('save', () => pass(10));
    expect(clock.lap()).toMatchObject({ eval: 0, save: 0.01, total: 0.01 });
    expect(clock.total()).toMatchObject({ eval: 0.17, save: 0.01, total: 0.215 });
  });

  it('closes a phase that throws', async () => {
    const { now, pass } = stopwatch();
    const clock = new StageClock(now);
    const fail = () => {
      pass(7);
      throw new Error('no');
    };
    expect(() => clock.time('update', fail)).toThrow('no');
    await expect(clock.wait('data', async () => fail())).rejects.toThrow('no');
    pass(1);
    expect(clock.lap()).toMatchObject({ update: 0.007, data: 0.007, total: 0.015 });
  });

  it('never counts a moment twice, however phases nest and laps are taken', () => {
    const node = (inside: fc.Arbitrary<Node[]>): fc.Arbitrary<Node> =>
      fc.record({ phase: fc.constantFrom(...PHASES), before: fc.nat(50), inside });
    const children = (depth: number): fc.Arbitrary<Node[]> =>
      depth === 0 ? fc.constant([]) : fc.array(node(children(depth - 1)), { maxLength: 3 });
    const tree = node(children(3));
    fc.assert(
      fc.property(fc.array(fc.array(tree, { maxLength: 3 }), { maxLength: 4 }), laps => {
        const { now, pass } = stopwatch();
        const clock = new StageClock(now);
        const run = ({ phase, before, inside }: Node): void =>
          clock.time(phase, () => {
            pass(before);
            for (const child of inside) run(child);
          });
        const taken = laps.map(nodes => {
          for (const node of nodes) run(node);
          pass(3);
          return clock.lap();
        });
        for (const { total, ...phases } of taken) {
          expect(Object.values(phases).reduce((a, b) => a + b, 0) + 0.003).toBeCloseTo(total, 9);
        }
        expect(taken.reduce((sum, lap) => sum + lap.total, 0)).toBeCloseTo(clock.total().total, 9);
      }),
    );
  });

  it('tells the whole extent of each phase', () => {
    const { now, pass } = stopwatch();
    const clock = new StageClock(now);
    const spans: unknown[] = [];
    clock.onSpan = span => spans.push(span);
    clock.time('save', () => {
      pass(2);
      clock.time('logging', () => pass(3));
    });
    expect(spans).toEqual([
      { phase: 'logging', began: 1002, ended: 1005 },
      { phase: 'save', began: 1000, ended: 1005 },
    ]);
  });
});

interface Node {
  readonly phase: (typeof PHASES)[number];
  readonly before: number;
  readonly inside: readonly Node[];
}

const split = (total: number, rest: object = {}) => ({
  data: 0,
  forwardBackward: 0,
  update: 0,
  logging: 0,
  save: 0,
  eval: 0,
  total,
  ...rest,
});

describe('the pace of a stage', () => {
  it('is that of the steps since the last line, in the time that was neither saving nor scoring', () => {
    const pace = new Pace(10, 1000);
    pace.add({ samples: 4, tokens: 100, flops: 500 });
    pace.add({ samples: 6, tokens: 200, flops: 700 });
    expect(pace.take(2, split(5, { save: 1, eval: 2 }))).toEqual({
      steps: 2,
      samples: 5,
      tokens: 150,
      flops: 600,
      mfu: 0.6,
      left: null,
    });
    pace.add({ samples: 4, tokens: 10, flops: null });
    pace.add({ samples: 4, tokens: 10, flops: 10 });
    expect(pace.take(4, split(1))).toMatchObject({ steps: 2, samples: 8, flops: null, mfu: null });
  });

  it('takes a step faster than the measured peak for the peak', () => {
    const pace = new Pace(10, 1000);
    const take = (flops: number): number | null => {
      pace.add({ samples: 1, tokens: 1, flops });
      return pace.take(1, split(1)).mfu;
    };
    expect([take(500), take(4000), take(1000)]).toEqual([0.5, 1, 0.25]);
  });

  it('counts down without the first step', () => {
    const { now, pass } = stopwatch();
    const countdown = new Countdown(10, now);
    pass(60_000);
    expect(countdown.left(1)).toBeNull();
    pass(2000);
    expect(countdown.left(2)).toBe(16);
    pass(10_000);
    expect(countdown.left(4)).toBe(24);
    expect(countdown.left(10)).toBe(0);
  });
});
