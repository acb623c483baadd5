/** Which curves a report has. */
import type { LineOf } from '../telemetry/schema.ts';
import { lineChart, type Series } from './chart.ts';
import type { RunReport, StageReport } from './collect.ts';
import type { Html } from './html.ts';
import type { Point } from './scale.ts';

type StepLine = LineOf<'step'>;

/** The loss over all stages, one after the other. */
export function lossOfRun({ stages }: RunReport): Html | undefined {
  let offset = 0;
  const bands: { name: string; from: number; to: number }[] = [];
  const series = stages.map((stage, i): Series => {
    const from = offset;
    const points = stage.steps.map(({ step, loss }): Point => [from + step, loss ?? Number.NaN]);
    offset += Math.max(stage.summary.steps, stage.summary.step);
    bands.push({ name: `stage ${stage.summary.stage}`, from, to: offset });
    return { name: `stage ${stage.summary.stage}`, points, color: i + 1, noisy: true };
  });
  return lineChart({
    title: 'Loss over all stages',
    series,
    bands: bands.length > 1 ? bands : [],
    size: { width: 1180, height: 280 },
    log: true,
  });
}

/** The charts of one stage; those without numbers are left out. */
export function chartsOf({ steps, scores }: StageReport): Html[] {
  const parts = namesIn(steps.map(({ losses }) => losses));
  const whole: Series = { name: 'loss', points: curve(steps, line => line.loss), color: 1, noisy: true };
  const charts = [
    lineChart({
      title: 'Loss',
      log: true,
      series: [
        whole,
        ...(parts.length > 1
          ? parts.map((name, i) => ({ name, points: curve(steps, line => line.losses[name]), color: i + 2 }))
          : []),
      ],
    }),
    lineChart({
      title: 'Learning rate',
      series: namesIn(steps.map(({ lr }) => lr)).map((name, i) => ({
        name,
        points: curve(steps, line => line.lr[name]),
        color: i + 1,
      })),
    }),
    lineChart({
      title: 'Gradient norm before clipping',
      log: true,
      series: [{ name: 'norm', points: curve(steps, line => line.gradNorm), color: 4, noisy: true }],
    }),
    lineChart({
      title: 'Samples per second',
      series: [{ name: 'samples', points: curve(steps, line => line.speed.samples), color: 3, noisy: true }],
    }),
    ...(scores.length > 1 ? scoreCharts(scores) : []),
  ];
  return charts.filter(chart => chart !== undefined);
}

/** Held-out scores by what they measure; those by size and kind of region are left to the table. */
function scoreCharts(scores: readonly LineOf<'scores'>[]): (Html | undefined)[] {
  const names = namesIn(scores.map(line => line.scores));
  const chart = (title: string, pattern: RegExp): Html | undefined =>
    lineChart({
      title,
      series: names
        .filter(name => pattern.test(name))
        .map((name, i) => ({
          name: name.replace(/_(loss|grounding_gap)$/, ''),
          points: scores.map(({ step, scores: values }): Point => [step, values[name] ?? Number.NaN]),
          color: i + 1,
          dots: true,
        })),
    });
  return [
    chart('Held-out accuracy', /(_accuracy|_iou)$/),
    chart('Held-out loss', /^(?!.*shuffled).*_loss$/),
    chart('Grounding gap: how much the model looks', /grounding_gap$/),
  ];
}

function curve(steps: readonly StepLine[], value: (line: StepLine) => number | null | undefined): Point[] {
  return steps.map(line => [line.step, value(line) ?? Number.NaN]);
}

function namesIn(records: readonly Readonly<Record<string, unknown>>[]): string[] {
  return [...new Set(records.flatMap(record => Object.keys(record)))];
}
