/** The probe set: what the model answered when it was first scored, and what it answers now. */
import type { ProbeView, StageReport } from './collect.ts';
import { type Html, html } from './html.ts';

/** Cards of all probes, each with the pictures and answers of both evaluations. */
export function probesOf({ probed }: StageReport): Html | null {
  const newest = probed.at(-1);
  if (!newest || newest.probes.length === 0) return null;
  const cards = newest.probes.map(({ line }) => {
    const views = probed.flatMap(({ probes }) => probes.filter(probe => probe.line.tag === line.tag));
    return card(views);
  });
  return html`<h3>Probe set, held out ${KEY}</h3><div class="probes">${cards}</div>`;
}

/** The colours of the boxes, as `ground eval` draws them. */
const KEY = html`<span class="legend" style="display: inline-flex; margin-left: 12px; font-weight: 400">
<span><span class="swatch" style="--c: #18a558"></span>true</span><span><span class="swatch" style="--c: #e5383b"></span>predicted</span><span><span class="swatch" style="--c: #2274e5"></span>asked about</span></span>`;

function card(views: readonly ProbeView[]): Html {
  const newest = views.at(-1);
  if (!newest) return html``;
  const { prompt, task, truth } = newest.line;
  const pictures = views.flatMap(({ line, picture }) =>
    picture === null
      ? []
      : html`<figure><img src="${picture}" alt="${task}: ${prompt}"><figcaption>step ${line.step}</figcaption></figure>`,
  );
  return html`<article class="probe">${pictures.length > 0 ? html`<div class="pictures">${pictures}</div>` : null}
<div class="text"><p class="prompt">${prompt}</p><dl><dt>truth</dt><dd>${truth}</dd>${views.map(
    ({ line }) =>
      html`<dt>step ${line.step}</dt><dd>${line.answer === '' ? html`<span class="dim">(no answer)</span>` : shortened(line.answer)}${line.verdict === null ? null : html`<span class="pill ${line.verdict}">${line.verdict}</span>`}</dd>`,
  )}</dl></div></article>`;
}

/** Longest answer shown; a model that has learnt nothing yet may not stop. */
const LONGEST = 160;

function shortened(answer: string): string {
  return answer.length > LONGEST ? `${answer.slice(0, LONGEST)}…` : answer;
}
