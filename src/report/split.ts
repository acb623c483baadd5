/** Parts of a whole, as bars. */
import { PHASES, type RunPhase, type TimeSplit } from '../telemetry/events.ts';
import { roughly } from '../telemetry/format.ts';
import type { StageReport } from './collect.ts';
import { type Html, html } from './html.ts';

const PHASE_NAMES: Readonly<Record<RunPhase, string>> = {
  data: 'waiting for data',
  forwardBackward: 'forward and backward',
  update: 'update',
  logging: 'logging',
  save: 'saving',
  eval: 'evaluation',
};

/**
 * The time of a stage by phase. Its lines add up to all but what came after the last; its end tells all, but of the last
 * process only: the larger of both is nearer to the truth.
 */
function splitOf({ steps, end }: StageReport): TimeSplit {
  const of = (phase: RunPhase | 'total'): number =>
    Math.max(
      steps.reduce((sum, { seconds }) => sum + (seconds[phase] ?? 0), 0),
      end?.split[phase] ?? 0,
    );
  const total = of('total');
  const phases = PHASES.map(phase => [phase, of(phase)] as const);
  const sum = phases.reduce((n, [, seconds]) => n + seconds, 0);
  return { ...zeros, ...Object.fromEntries(phases), total: Math.max(total, sum) };
}

const zeros = { data: 0, forwardBackward: 0, update: 0, logging: 0, save: 0, eval: 0 };

/** Seconds that a stage was worked on. */
export function secondsOf(stage: StageReport): number {
  return splitOf(stage).total;
}

/** One bar of phases and what they took. */
export function timeSplitOf(stage: StageReport): Html | null {
  const split = splitOf(stage);
  if (split.total <= 0) return null;
  const used = PHASES.reduce((sum, phase) => sum + split[phase], 0);
  const parts = [
    ...PHASES.map((phase, i) => ({ name: PHASE_NAMES[phase], seconds: split[phase], color: `c${i + 1}` })),
    { name: 'other', seconds: split.total - used, color: 'rest' },
  ].filter(({ seconds }) => seconds / split.total > 0.0005);
  return html`<div class="card"><h3>Where ${roughly(split.total)} went</h3>
<div class="stack">${parts.map(({ seconds, color }) => html`<i class="${color}" style="flex: ${(seconds / split.total).toFixed(4)}"></i>`)}</div>
<table><tbody>${parts.map(
    ({ name, seconds, color }) =>
      html`<tr><td><span class="key ${color}"><i></i>${name}</span></td><td class="n">${seconds < 60 ? `${seconds.toFixed(1)} s` : roughly(seconds)}</td><td class="n dim">${((100 * seconds) / split.total).toFixed(1)} %</td></tr>`,
  )}</tbody></table></div>`;
}

/**
 * Named numbers with a bar each.
 *
 * @param full what fills the track; the largest of them where absent. Numbers beyond it, and negative ones, have no bar.
 */
export function barsOf(
  title: string,
  values: Readonly<Record<string, number>>,
  text: (value: number) => string,
  full?: number,
): Html | null {
  const entries = Object.entries(values);
  if (entries.length === 0) return null;
  const whole = full ?? Math.max(...entries.map(([, value]) => value));
  const bar = (value: number): Html | null =>
    value >= 0 && value <= whole && whole > 0
      ? html`<span class="track"><i style="width: ${((100 * value) / whole).toFixed(1)}%"></i></span>`
      : html`<span></span>`;
  return html`<div class="card"><h3>${title}</h3><div class="bars">${entries.map(
    ([name, value]) => html`<span>${name}</span>${bar(value)}<span class="n">${text(value)}</span>`,
  )}</div></div>`;
}
