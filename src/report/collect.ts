/** Everything that a report shows, read from a run's folder. */
import { readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { GroundError } from '../errors.ts';
import { readMetrics } from '../telemetry/read.ts';
import type { LineOf } from '../telemetry/schema.ts';
import { type StageSummary, summarizeRun } from '../train/runs.ts';

/** One evaluation of the probe set. */
export interface ProbedStep {
  readonly step: number;
  readonly probes: readonly ProbeView[];
}

export interface ProbeView {
  readonly line: LineOf<'probe'>;
  /** The picture as a data URL; null where there is none. */
  readonly picture: string | null;
}

export interface StageReport {
  readonly summary: StageSummary;
  readonly start: LineOf<'start'> | null;
  readonly steps: readonly LineOf<'step'>[];
  readonly scores: readonly LineOf<'scores'>[];
  readonly saves: readonly LineOf<'checkpoint'>[];
  /** Notes, failed saves and failures, in order. */
  readonly incidents: readonly { readonly step: number | null; readonly text: string }[];
  readonly end: LineOf<'end'> | null;
  /** The probe set after the first evaluation and after the newest, where these are two. */
  readonly probed: readonly ProbedStep[];
  /** The resolved recipe, YAML. */
  readonly recipe: string | null;
}

export interface RunReport {
  readonly run: string;
  readonly bytes: number;
  readonly stages: readonly StageReport[];
  readonly status: StageSummary['status'];
}

/** Reads a run's folder. Throws GroundError('usage') where it is none. */
export async function collectReport(path: string): Promise<RunReport> {
  const summary = await summarizeRun(path, basename(path));
  if (!summary) {
    throw new GroundError('usage', `${path} is no run: it has no stage that has begun`, {
      hint: '`ground runs` lists the runs there are',
    });
  }
  const stages: StageReport[] = [];
  for (const stage of summary.stages) stages.push(await collectStage(stage));
  return { run: summary.run, bytes: summary.bytes, status: summary.status, stages };
}

const TYPES = [
  'start',
  'step',
  'scores',
  'probe',
  'checkpoint',
  'save-failed',
  'note',
  'stop',
  'end',
] as const;

async function collectStage(summary: StageSummary): Promise<StageReport> {
  let start: LineOf<'start'> | null = null;
  let end: LineOf<'end'> | null = null;
  const steps: LineOf<'step'>[] = [];
  const scores: LineOf<'scores'>[] = [];
  const saves: LineOf<'checkpoint'>[] = [];
  const incidents: StageReport['incidents'][number][] = [];
  const probes = new Map<number, LineOf<'probe'>[]>();
  for await (const line of readMetrics(join(summary.path, 'metrics.jsonl'), TYPES)) {
    switch (line.type) {
      case 'start':
        start = line;
        break;
      case 'end':
        end = line;
        break;
      case 'step':
        steps.push(line);
        break;
      case 'scores':
        scores.push(line);
        break;
      case 'checkpoint':
        saves.push(line);
        break;
      case 'probe':
        probes.set(line.step, [...(probes.get(line.step) ?? []), line]);
        break;
      case 'note':
        incidents.push({ step: null, text: line.message });
        break;
      case 'save-failed':
        incidents.push({ step: line.step, text: `not saved: ${line.message}` });
        break;
      case 'stop':
        incidents.push({ step: line.step, text: `${line.reason}: ${line.message}` });
        break;
    }
  }
  const recipe = await readFile(join(summary.path, 'recipe.yaml'), 'utf8').catch(() => null);
  const probed = await probedSteps(summary.path, probes);
  return { summary, start, steps, scores, saves, incidents, end, probed, recipe };
}

/** The first and the newest evaluation. */
async function probedSteps(
  stageDir: string,
  probes: ReadonlyMap<number, readonly LineOf<'probe'>[]>,
): Promise<ProbedStep[]> {
  const evaluated = [...probes.keys()].sort((a, b) => a - b);
  const shown = evaluated.filter((_, i) => i === 0 || i === evaluated.length - 1);
  return Promise.all(
    shown.map(async step => ({
      step,
      probes: await Promise.all(
        (probes.get(step) ?? []).map(async line => ({ line, picture: await pictureUrl(stageDir, line) })),
      ),
    })),
  );
}

/** Longest side of a picture in the page, pixels. */
const PICTURE_SIDE = 480;

/** A smaller picture, as text to put into the page. What cannot be read is left out: a report shows what there is. */
async function pictureUrl(stageDir: string, { picture }: LineOf<'probe'>): Promise<string | null> {
  if (!picture) return null;
  try {
    const { default: sharp } = await import('sharp');
    const webp = await sharp(join(stageDir, picture.path))
      .resize({ width: PICTURE_SIDE, height: PICTURE_SIDE, fit: 'inside', withoutEnlargement: true })
      .webp({ quality: 86 })
      .toBuffer();
    return `data:image/webp;base64,${webp.toString('base64')}`;
  } catch {
    return null;
  }
}
