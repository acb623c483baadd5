import { Writable } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { openConsole } from '../../src/telemetry/console.ts';
import type { RunEvent } from '../../src/telemetry/events.ts';
import { count, duration, significant, thousands } from '../../src/telemetry/format.ts';
import { SPLIT, START, step } from './events.ts';

/** A stream that remembers; as a terminal it is wide enough that nothing is cut. */
class Screen extends Writable {
  readonly isTTY: boolean;
  readonly columns = 200;
  text = '';
  constructor(isTTY: boolean) {
    super();
    this.isTTY = isTTY;
  }
  override _write(chunk: Buffer, _: string, done: () => void): void {
    this.text += chunk.toString();
    done();
  }
}

const EVENTS: RunEvent[] = [
  { type: 'note', message: 'passed over checkpoint-000009' },
  { ...START, steps: 100, step: 8, resumedFrom: 'runs/tiny/stage2/checkpoint-000008' },
  { ...step(9), speed: { ...step(9).speed, left: null } },
  step(10),
  { type: 'scores', step: 10, scores: { accuracy: 0.51234, loss: 1e-7 } },
  {
    type: 'checkpoint',
    step: 10,
    path: 'runs/tiny/stage2/checkpoint-000010',
    seconds: 0.25,
    bytes: 9,
    pauseSeconds: 0,
    waitSeconds: 0,
  },
  { type: 'text', step: 10, tag: 'answer', text: 'not for the console' },
  { type: 'end', step: 10, firstLoss: 3, lastLoss: 0.3, seconds: 3661, split: SPLIT, scores: {} },
];

async function show(isTTY: boolean): Promise<string> {
  const screen = new Screen(isTTY);
  const listener = await openConsole(screen, { isTTY });
  for (const event of EVENTS) listener.on(event);
  await listener.close();
  return screen.text;
}

describe('the console', () => {
  it('writes plain lines where there is no terminal', async () => {
    expect(await show(false)).toBe(
      `passed over checkpoint-000009
run tiny, stage 2: dense alignment
wasm
module          parameters  trainable     lr  decay
encoder.global     123,456     frozen      -      -
projector            2,345      2,345   2e-4      -
total              125,801      2,345  1.9 %
continuing from runs/tiny/stage2/checkpoint-000008
steps 9 to 100
step   9/100  loss 0.3333  lr 9e-4  grad 4.5  32.0 samples/s  1.28k tokens/s  mfu 50 %  data 13 %
step  10/100  loss 0.3000  lr 1e-3  grad 5  32.0 samples/s  1.28k tokens/s  mfu 50 %  data 13 %  15:00 left
step 10 scores: accuracy 0.512, loss 1e-7
step 10 saved: runs/tiny/stage2/checkpoint-000010 (0.3 s)
done: 10 steps in 1:01:01, loss 3.0000 → 0.3000
`,
    );
  });

  it('draws a bar on a terminal, keeps the other lines above it, and leaves no listener or timer behind', async () => {
    const before = process.listenerCount('SIGINT');
    const text = await show(true);
    expect(text).toContain(
      'stage 2 ██░░░░░░░░░░░░░░░░░░ 10/100  loss 0.3000  lr 1e-3  15:00 left  32.0 samples/s',
    );
    expect(text).toContain('step 10 scores: accuracy 0.512, loss 1e-7\n');
    expect(text.endsWith('done: 10 steps in 1:01:01, loss 3.0000 → 0.3000\n')).toBe(true);
    expect(process.listenerCount('SIGINT')).toBe(before);
  });
});

describe('numbers for people', () => {
  it('are short', () => {
    expect([0, 0.00012345, 1234.5, 123456789, -0.5, Number.NaN].map(significant)).toEqual([
      '0',
      '1.23e-4',
      '1230',
      '1.23e+8',
      '-0.5',
      'NaN',
    ]);
    expect([0, 59.6, 3599, 3600, -5].map(duration)).toEqual(['0:00', '1:00', '59:59', '1:00:00', '0:00']);
    expect([0, 999, 999.9, 12345, 4.56e9, 1e21].map(thousands)).toEqual([
      '0',
      '999',
      '1k',
      '12.3k',
      '4.56G',
      '1000000P',
    ]);
    expect(count(7_000_000_000)).toBe('7,000,000,000');
  });
});
