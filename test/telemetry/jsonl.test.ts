import { appendFileSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { RunEvent } from '../../src/telemetry/events.ts';
import { openJsonl } from '../../src/telemetry/jsonl.ts';
import { metricsLine } from '../../src/telemetry/schema.ts';
import { temporaryFolder } from '../helpers/folder.ts';
import { eventsOf } from './events.ts';

async function record(file: string, from: number, events: readonly RunEvent[]): Promise<void> {
  const log = await openJsonl(file, { step: from });
  for (const event of events) log.on(event);
  await log.close();
}

/** Lines without what depends on the clock. */
function linesOf(file: string): unknown[] {
  const lines = readFileSync(file, 'utf8').split('\n');
  expect(lines.pop()).toBe('');
  return lines.map(line => {
    // What a process that died measured is not known to the one that goes on.
    const { time, seconds: _, speed: _s, pauseSeconds: __, waitSeconds: ___, ...rest } = JSON.parse(line);
    if (rest.type === 'checkpoint') delete rest.bytes;
    expect(typeof time).toBe('number');
    return rest;
  });
}

describe('metrics.jsonl', () => {
  it('has one line an event, as the schema says, probes with the place of their pictures', async () => {
    const file = join(temporaryFolder(), 'stage2', 'metrics.jsonl');
    await record(file, 0, eventsOf(2));
    expect(linesOf(file).map(l => (l as { type: string }).type)).toEqual([
      'start',
      'step',
      'step',
      'scores',
      'text',
      'probe',
      'checkpoint',
      'end',
    ]);
    expect(linesOf(file)[5]).toMatchObject({
      step: 2,
      tag: 'eval/rec/0',
      boxes: [null],
      trueBoxes: [[1, 2, 3, 4]],
      picture: { path: 'probes/step-000002/eval-rec-0.png', width: 1, height: 1 },
    });
    const lines = readFileSync(file, 'utf8').trimEnd().split('\n');
    for (const line of lines) metricsLine.parse(JSON.parse(line));
    expect(readFileSync(file, 'utf8')).toMatch(/^\{"type":"start","time":\d/);
  });

  it('equals that of an uninterrupted run wherever the first process was killed, be it inside a line', async () => {
    const folder = temporaryFolder();
    const whole = join(folder, 'whole.jsonl');
    await record(whole, 0, eventsOf(8));
    const bytes = readFileSync(whole);
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 0, max: bytes.length }), async cut => {
        const file = join(folder, 'cut.jsonl');
        writeFileSync(file, bytes.subarray(0, cut));
        // The probe is the last line before the checkpoint's own: once it is there, the checkpoint may be, too.
        const complete = bytes.subarray(0, cut).toString().split('\n').slice(0, -1);
        const probes = complete.map(line => JSON.parse(line)).filter(line => line.type === 'probe');
        const from = Math.max(0, ...probes.map(line => line.step));
        await record(file, from, eventsOf(8, from));
        expect(linesOf(file)).toEqual(linesOf(whole));
      }),
      { numRuns: 150 },
    );
  });

  it('resumes twice, and after its end with more steps', async () => {
    const folder = temporaryFolder();
    const [file, whole] = [join(folder, 'a'), join(folder, 'b')];
    await record(file, 0, eventsOf(4));
    await record(file, 2, eventsOf(6, 2).slice(0, 3));
    await record(file, 2, eventsOf(6, 2));
    await record(file, 6, eventsOf(8, 6));
    await record(whole, 0, eventsOf(8));
    const withoutLength = (lines: unknown[]) => lines.map(l => ({ ...(l as object), steps: 0 }));
    expect(withoutLength(linesOf(file))).toEqual(withoutLength(linesOf(whole)));
  });

  it('drops the line of a failure once the stage goes on', async () => {
    const file = join(temporaryFolder(), 'm');
    const stop: RunEvent = { type: 'stop', step: 3, reason: 'failed', message: 'the loss is NaN' };
    await record(file, 0, [...eventsOf(4).filter(e => !('step' in e) || e.step <= 3), stop]);
    expect(linesOf(file).at(-1)).toEqual(stop);
    await record(file, 2, eventsOf(4, 2));
    const whole = join(temporaryFolder(), 'm');
    await record(whole, 0, eventsOf(4));
    expect(linesOf(file)).toEqual(linesOf(whole));
  });

  it('loses only the damaged line when one inside the file is unreadable', async () => {
    const file = join(temporaryFolder(), 'm');
    await record(file, 0, eventsOf(2).slice(0, 2));
    appendFileSync(file, '{"type":"st\u0000\n');
    const before = readFileSync(file, 'utf8');
    appendFileSync(file, `${JSON.stringify({ type: 'step', time: 1, step: 2 })}\n`);
    const whole = readFileSync(file, 'utf8');
    await (await openJsonl(file, { step: 2 })).close();
    expect(readFileSync(file, 'utf8')).toBe(whole);
    await (await openJsonl(file, { step: 1 })).close();
    expect(readFileSync(file, 'utf8')).toBe(before.slice(0, before.indexOf('{"type":"st\u0000')));
  });

  it('starts over at step 0', async () => {
    const file = join(temporaryFolder(), 'm');
    await record(file, 0, eventsOf(8));
    truncateSync(file, 100);
    await record(file, 0, eventsOf(2));
    expect(linesOf(file)).toHaveLength(8);
  });
});
