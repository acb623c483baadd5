/** A few steps of a stage, op by op, as a Chrome trace. */
import { join } from 'node:path';
import { writeFileAtomic } from '../atomic.ts';
import { type OpRun, profileOps } from '../engine/profile.ts';
import type { OpTime, RunEvent } from '../telemetry/events.ts';
import { chromeTrace, type TracedSpan } from '../telemetry/trace.ts';
import type { StageClock } from './clock.ts';

/** Steps counted from 1, the last included. */
export interface ProfiledSteps {
  readonly first: number;
  readonly last: number;
}

/** Watches the steps of a window: their phases by the stage's clock, and every op of forward, backward and update. */
export class StepProfile {
  readonly #steps: ProfiledSteps;
  readonly #stageDir: string;
  readonly #clock: StageClock;
  #spans: TracedSpan[] = [];
  #ops: OpRun[] = [];
  /** The first step that was watched; undefined outside the window. */
  #from: number | undefined;
  #stepBegan = 0;

  constructor(steps: ProfiledSteps, stageDir: string, clock: StageClock) {
    this.#steps = steps;
    this.#stageDir = stageDir;
    this.#clock = clock;
  }

  /** Whether a step of the window is being taken. */
  get watches(): boolean {
    return this.#from !== undefined;
  }

  /** To be called before a step, counted from 1. */
  begin(step: number): void {
    if (step < this.#steps.first || step > this.#steps.last) return;
    this.#from ??= step;
    this.#stepBegan = performance.now();
    this.#clock.onSpan = ({ phase, began, ended }) => {
      this.#spans.push({ name: phase, category: 'phase', began, ended });
    };
  }

  /** Runs what computes, watched inside the window. */
  run<T>(work: () => T): T {
    return this.#from === undefined ? work() : profileOps(op => this.#ops.push(op), work);
  }

  /**
   * To be called after a step and what follows it. At the end of the window, or of the stage, writes
   * `profile-<first>-<last>.json` into the stage's folder and tells about it. Throws GroundError('io').
   */
  async end(step: number, isLast: boolean): Promise<Extract<RunEvent, { type: 'profile' }> | undefined> {
    const from = this.#from;
    if (from === undefined) return undefined;
    this.#spans.push({
      name: `step ${step}`,
      category: 'step',
      began: this.#stepBegan,
      ended: performance.now(),
    });
    this.#clock.onSpan = undefined;
    if (step < this.#steps.last && !isLast) return undefined;
    this.#from = undefined;
    const path = join(this.#stageDir, `profile-${from}-${step}.json`);
    const ops = this.#ops.map(({ op, began, ended, shapes }) => {
      return { name: op, category: 'op', began, ended, details: { shapes } };
    });
    await writeFileAtomic(path, chromeTrace('ground train', [...this.#spans, ...ops]));
    const event = { type: 'profile', step, first: from, path, ops: opTimes(this.#ops) } as const;
    [this.#spans, this.#ops] = [[], []];
    return event;
  }
}

/** Time and calls of each kind of op, those that took most first. */
export function opTimes(runs: readonly Pick<OpRun, 'op' | 'began' | 'ended'>[]): OpTime[] {
  const sums = new Map<string, { calls: number; seconds: number }>();
  for (const { op, began, ended } of runs) {
    const sum = sums.get(op) ?? { calls: 0, seconds: 0 };
    sum.calls++;
    sum.seconds += (ended - began) / 1000;
    sums.set(op, sum);
  }
  const all = [...sums.values()].reduce((total, { seconds }) => total + seconds, 0);
  return [...sums]
    .map(([op, { calls, seconds }]) => ({ op, calls, seconds, share: all > 0 ? seconds / all : 0 }))
    .sort((a, b) => b.seconds - a.seconds);
}
