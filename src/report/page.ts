/** A run as one HTML page that needs nothing but itself. */
import { count, roughly, significant, size, thousands } from '../telemetry/format.ts';
import type { RunReport, StageReport } from './collect.ts';
import { chartsOf, lossOfRun } from './curves.ts';
import { type Html, html, raw } from './html.ts';
import { probesOf } from './probes.ts';
import { SCRIPT } from './script.ts';
import { barsOf, secondsOf, timeSplitOf } from './split.ts';
import { STYLE } from './style.ts';

/** The browser itself refuses whatever would leave the page. */
const POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'";

/** The page of a run. `version` and `written` (Unix time, seconds) are of the report itself. */
export function reportPage(report: RunReport, version: string, written: number): string {
  const hero = lossOfRun(report);
  return html`${raw('<!doctype html>')}
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="${POLICY}">
<title>${report.run} · ground</title><style>${raw(STYLE)}</style></head><body><main>
${headOf(report)}
${tilesOf(report)}
${report.stages.length > 1 && hero ? html`<div class="card">${hero}</div>` : null}
<div class="card scroll">${stageTable(report)}</div>
${report.stages.map(stageSection)}
<footer>Written by ground ${version} on ${dateText(written)}</footer>
</main><script>${raw(SCRIPT)}</script></body></html>
`.html;
}

function headOf({ run, status, stages, bytes }: RunReport): Html {
  const began = Math.min(...stages.flatMap(({ summary }) => summary.began ?? []));
  const engine = stages.findLast(stage => stage.start)?.start?.engine;
  const facts = [
    Number.isFinite(began) ? `began ${dateText(began)}` : null,
    engine ?? null,
    `${size(bytes)} on disk`,
  ];
  return html`<p class="eyebrow">Training run</p>
<h1>${run} <span class="pill ${status}">${status}</span></h1>
<p class="sub">${facts.flatMap(fact => (fact === null ? [] : html`<span>${fact}</span>`))}</p>`;
}

function tilesOf({ stages }: RunReport): Html {
  const steps = stages.reduce((sum, { summary }) => sum + summary.step, 0);
  const last = stages.findLast(stage => stage.steps.length > 0);
  const best = stages.findLast(({ summary }) => summary.best)?.summary;
  const gap = stages.flatMap(({ scores }) => scores.at(-1)?.scores.grounding_gap ?? []).at(-1);
  const mfu = median(stages.flatMap(stage => stage.steps.flatMap(({ speed }) => speed.mfu ?? [])));
  const parameters = last?.start?.modules.reduce((sum, module) => sum + module.parameters, 0);
  const tiles = [
    last &&
      tile(
        'Loss',
        lossText(last.steps.at(-1)?.loss),
        `from ${lossText(last.steps[0]?.loss)}, stage ${last.summary.stage}`,
      ),
    best?.best &&
      tile(
        best.best.name.replaceAll('_', ' '),
        significant(best.best.value),
        `best, step ${count(best.best.step)} of stage ${best.stage}`,
      ),
    gap !== undefined &&
      gap !== null &&
      tile('Grounding gap', significant(gap), 'loss without the right image'),
    tile('Steps', count(steps), `${stages.length} ${stages.length === 1 ? 'stage' : 'stages'}`),
    parameters !== undefined && tile('Parameters', thousands(parameters), 'of all modules'),
    tile('Time', roughly(stages.reduce((sum, stage) => sum + secondsOf(stage), 0)), 'of all stages'),
    mfu !== undefined &&
      tile('MFU', `${(100 * mfu).toFixed(mfu < 0.1 ? 1 : 0)} %`, "of the machine's matrix peak, median"),
  ];
  return html`<div class="tiles">${tiles.flatMap(t => t || [])}</div>`;
}

function tile(label: string, value: string, hint: string): Html {
  return html`<div class="tile"><div class="label">${label}</div><div class="value">${value}</div><div class="hint">${hint}</div></div>`;
}

function stageTable({ stages }: RunReport): Html {
  const sum = (stage: StageReport, key: 'parameters' | 'trainable'): string => {
    const modules = stage.start?.modules;
    return modules ? count(modules.reduce((n, m) => n + m[key], 0)) : '–';
  };
  return html`<table><thead><tr><th>Stage</th><th>Status</th><th class="n">Parameters</th><th class="n">Trainable</th><th class="n">Steps</th><th class="n">First loss</th><th class="n">Last loss</th><th class="n">Best score</th><th class="n">Grounding gap</th><th class="n">Time</th></tr></thead>
<tbody>${stages.map(stage => {
    const { summary, steps, scores, end } = stage;
    const gap = scores.at(-1)?.scores.grounding_gap;
    return html`<tr><td>${summary.stage} <span class="dim">${summary.name}</span></td><td><span class="pill ${summary.status}">${summary.status}</span></td><td class="n">${sum(stage, 'parameters')}</td><td class="n">${sum(stage, 'trainable')}</td><td class="n">${count(summary.step)}${summary.step < summary.steps ? html` <span class="dim">of ${count(summary.steps)}</span>` : null}</td><td class="n">${lossText(end?.firstLoss ?? steps[0]?.loss)}</td><td class="n">${lossText(end?.lastLoss ?? summary.loss)}</td><td class="n">${summary.best ? html`${significant(summary.best.value)} <span class="dim">${summary.best.name}</span>` : '–'}</td><td class="n">${gap === undefined || gap === null ? '–' : significant(gap)}</td><td class="n">${roughly(secondsOf(stage))}</td></tr>`;
  })}</tbody></table>`;
}

function stageSection(stage: StageReport): Html {
  const { summary, start, incidents, recipe } = stage;
  const trained = start?.modules.filter(module => module.trainable > 0).map(module => module.group) ?? [];
  const mixture = stage.steps.at(-1)?.mixture;
  return html`<section class="stage" id="stage-${summary.stage}"><header><span class="number">${summary.stage}</span><h2>${summary.name}</h2><span class="pill ${summary.status}">${summary.status}</span><span class="sub">${trained.length > 0 ? `trains ${trained.join(', ')}` : ''}</span></header>
<div class="charts">${chartsOf(stage).map(chart => html`<div class="card">${chart}</div>`)}</div>
<div class="columns">${timeSplitOf(stage)}${mixture ? barsOf('What it was trained on, samples', mixture, thousands) : null}${finalScores(stage)}</div>
${probesOf(stage)}
${incidents.length > 0 ? html`<details><summary>Notes (${incidents.length})</summary><ul>${incidents.map(({ step, text }) => html`<li>${step === null ? '' : `step ${step}: `}${text}</li>`)}</ul></details>` : null}
${recipe === null ? null : html`<details><summary>Recipe</summary><pre>${recipe}</pre></details>`}</section>`;
}

/** The scores of the last evaluation: shares as bars, the rest as numbers. */
function finalScores({ scores }: StageReport): Html | null {
  const last = scores.at(-1);
  if (!last) return null;
  const shown = Object.fromEntries(
    Object.entries(last.scores).flatMap(([name, value]) =>
      value === null || name.includes('shuffled') ? [] : [[name.replaceAll('_', ' '), value]],
    ),
  );
  return barsOf(`Held-out scores at step ${count(last.step)}`, shown, significant, 1);
}

function median(values: readonly number[]): number | undefined {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];
}

function lossText(loss: number | null | undefined): string {
  return loss === null || loss === undefined ? '–' : loss.toFixed(4);
}

function dateText(seconds: number): string {
  const format = new Intl.DateTimeFormat('en-GB', {
    dateStyle: 'medium',
    timeStyle: 'short',
    timeZone: 'UTC',
  });
  return `${format.format(new Date(1000 * seconds))} UTC`;
}
