import type { ModuleSummary, RunEvent, RunListener } from './events.ts';
import { columns, count, duration, significant, thousands } from './format.ts';

/** Where the console writes; `process.stderr` fits. */
export interface ConsoleStream extends NodeJS.WritableStream {
  readonly isTTY?: boolean;
}

export interface ConsoleOptions {
  /** A bar that is redrawn in place, or plain lines. */
  readonly isTTY: boolean;
}

type StepEvent = Extract<RunEvent, { type: 'step' }>;

/** Shows a run to a person: its modules, then a bar on a terminal or one line a step event elsewhere, then its scores. */
export async function openConsole(stream: ConsoleStream, options: ConsoleOptions): Promise<RunListener> {
  const bar = options.isTTY ? await openBar(stream) : undefined;
  const line = (text: string): void => {
    if (bar) bar.above(text);
    else stream.write(`${text}\n`);
  };
  let steps = 0;
  return {
    on(event) {
      switch (event.type) {
        case 'start':
          steps = event.steps;
          for (const text of describeStart(event)) line(text);
          bar?.start(`stage ${event.stage}`, steps, event.step);
          return;
        case 'step':
          if (bar) bar.update(event.step, barDetail(event));
          else line(stepLine(event, steps));
          return;
        case 'scores':
          line(`step ${event.step} scores: ${describeScores(event.scores)}`);
          return;
        case 'checkpoint':
          line(`step ${event.step} saved: ${event.path} (${event.seconds.toFixed(1)} s)`);
          return;
        case 'save-failed':
          for (const text of describeFailure(event)) line(text);
          return;
        case 'note':
          line(event.message);
          return;
        case 'skip':
          line(`step ${event.step} skipped: ${event.message}`);
          return;
        case 'spike':
          line(
            `step ${event.step}: the loss has jumped to ${significant(event.loss)} since step ${event.first}, ` +
              `${event.zscore.toFixed(0)} deviations above ${significant(event.mean)}`,
          );
          return;
        case 'rollback':
          line(
            `back to ${event.checkpoint ?? 'the beginning of the stage'} (step ${event.to}); ` +
              `steps ${event.first} to ${event.last} will be passed over`,
          );
          return;
        case 'end':
          bar?.stop();
          line(
            `done: ${count(event.step)} steps in ${duration(event.seconds)}, ` +
              `loss ${event.firstLoss.toFixed(4)} → ${event.lastLoss.toFixed(4)}`,
          );
          return;
        case 'stop':
          bar?.stop();
          line(`${event.reason} after step ${count(event.step)}`);
          return;
        case 'profile':
          line(`steps ${event.first} to ${event.step} profiled: ${event.path}`);
          return;
        case 'text':
        case 'probe':
        case 'histograms':
          return;
      }
    },
    async close() {
      bar?.stop();
    },
  };
}

function describeStart(event: Extract<RunEvent, { type: 'start' }>): string[] {
  const from = event.resumedFrom === null ? [] : [`continuing from ${event.resumedFrom}`];
  return [
    `run ${event.run}, stage ${event.stage}: ${event.stageName}`,
    event.engine,
    ...moduleTable(event.modules),
    ...from,
    event.step === 0 ? `${count(event.steps)} steps` : `steps ${event.step + 1} to ${event.steps}`,
  ];
}

function describeFailure(event: Extract<RunEvent, { type: 'save-failed' }>): string[] {
  const kept = event.lastCheckpoint === null ? 'there is no checkpoint yet' : `${event.lastCheckpoint} stays`;
  return [
    `step ${event.step} NOT saved: ${event.message}`,
    ...(event.hint === null ? [] : [`  hint: ${event.hint}`]),
    `  training goes on, the next save tries again; ${kept}`,
  ];
}

/** Group, parameters, trainable ones, learning rate and decay of each module, and the totals. */
function moduleTable(modules: readonly ModuleSummary[]): string[] {
  const sum = (key: 'parameters' | 'trainable'): number => modules.reduce((n, m) => n + m[key], 0);
  const share = (100 * sum('trainable')) / Math.max(1, sum('parameters'));
  return columns([
    ['module', 'parameters', 'trainable', 'lr', 'decay'],
    ...modules.map(m => [
      m.group,
      count(m.parameters),
      m.trainable === 0 ? 'frozen' : count(m.trainable),
      m.trainable === 0 ? '-' : rateRange(m),
      m.weightDecay === undefined ? '-' : significant(m.weightDecay),
    ]),
    ['total', count(sum('parameters')), count(sum('trainable')), `${share.toFixed(1)} %`],
  ]);
}

/** `1e-3`, or `1e-4 to 1e-3` where rates fall from block to block. */
function rateRange({ lr, lowestLr }: ModuleSummary): string {
  return lowestLr === undefined ? significant(lr) : `${significant(lowestLr)} to ${significant(lr)}`;
}

/** `step  30/400  loss 0.5312  lr 2e-4  grad 0.41  133.3 samples/s  5.2k tokens/s  mfu 31 %  data 8 %  1:05 left`. */
function stepLine(event: StepEvent, steps: number): string {
  const { total, data } = event.seconds;
  const step = String(event.step).padStart(String(steps).length);
  const wait = total > 0 ? `data ${percent(data / total)}` : '';
  return spaced([
    `step ${step}/${steps}`,
    ...essentials(event),
    `grad ${significant(event.gradNorm)}`,
    samplesPerSecond(event),
    `${thousands(event.speed.tokens)} tokens/s`,
    event.speed.mfu === null ? '' : `mfu ${percent(event.speed.mfu)}`,
    wait,
    cached(event),
    timeLeft(event),
  ]);
}

/** Share of the features of frozen encoders that were known; empty where none are kept. */
function cached({ features }: StepEvent): string {
  const images = features ? features.read + features.encoded : 0;
  return features && images > 0 ? `cached ${percent(features.read / images)}` : '';
}

/** The most wanted first: a narrow terminal cuts the rest off. */
function barDetail(event: StepEvent): string {
  return spaced([...essentials(event), timeLeft(event), samplesPerSecond(event)]);
}

function percent(share: number): string {
  return `${Math.round(100 * share)} %`;
}

function timeLeft({ speed: { left } }: StepEvent): string {
  return left === null || left === 0 ? '' : `${duration(left)} left`;
}

function spaced(parts: readonly string[]): string {
  return parts.filter(part => part !== '').join('  ');
}

function essentials(event: StepEvent): string[] {
  const rates = new Set(Object.values(event.lr).map(significant));
  return [`loss ${event.loss.toFixed(4)}`, `lr ${[...rates].join(' ')}`];
}

function samplesPerSecond({ speed }: StepEvent): string {
  return `${speed.samples.toFixed(1)} samples/s`;
}

function describeScores(scores: Readonly<Record<string, number>>): string {
  return Object.entries(scores)
    .map(([name, value]) => `${name} ${significant(value)}`)
    .join(', ');
}

interface Bar {
  start(label: string, total: number, value: number): void;
  update(value: number, detail: string): void;
  /** Writes a line that stays, above the bar. */
  above(text: string): void;
  stop(): void;
}

async function openBar(stream: ConsoleStream): Promise<Bar> {
  const { default: progress } = await import('cli-progress');
  // Of the two kinds only this one can write lines above its bars.
  const screen = new progress.MultiBar({
    format: '{label} {bar} {value}/{total}  {detail}',
    barsize: 20,
    barCompleteChar: '█',
    barIncompleteChar: '░',
    stream,
    linewrap: true,
    forceRedraw: true,
    // The training loop decides what an interrupt means.
    gracefulExit: false,
  });
  let bar: { update(value: number, payload: object): void } | undefined;
  let drawn = 0;
  return {
    start(label, total, value) {
      bar = screen.create(total, value, { label, detail: '' });
    },
    update(value, detail) {
      bar?.update(value, { detail });
      // Drawn here and not left to its timer, which does not fire while one step follows the other.
      if (performance.now() - drawn < REDRAW_MS) return;
      screen.update();
      drawn = performance.now();
    },
    above(text) {
      if (!screen.isActive) {
        stream.write(`${text}\n`);
        return;
      }
      screen.log(`${text}\n`);
      screen.update();
    },
    stop() {
      if (screen.isActive) screen.stop();
    },
  };
}

const REDRAW_MS = 50;
