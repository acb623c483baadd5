import { cpSync, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { TimeSplit } from '../../src/telemetry/events.ts';
import { readMetrics } from '../../src/telemetry/read.ts';
import { metricsLine } from '../../src/telemetry/schema.ts';
import { lockFolder } from '../../src/train/lock.ts';
import { summarizeRuns } from '../../src/train/runs.ts';
import type { Outcome } from '../cli/harness.ts';
import { findPython, runPython } from '../helpers/python.ts';
import { readEvents } from '../telemetry/read-events.ts';
import { findChromium, screenshot } from './chromium.ts';
import { foldersWithScenes, inFolder, linesOf, STEPS, TRAIN } from './run.ts';

let folder = '';
let stageDir = '';
let trained: Outcome;

beforeAll(async () => {
  folder = await foldersWithScenes();
  stageDir = join(folder, 'checkpoints', 'demo', 'stage1');
  trained = await inFolder(folder, ...TRAIN, '--run', 'demo', '--profile', '3:4');
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe('the log of a real run', () => {
  it('has lines of every type that it should, all of them as the schema says, to the last key', () => {
    const lines = linesOf(stageDir);
    for (const line of lines) expect(metricsLine.parse(line)).toEqual(line);
    expect(new Set(lines.map(({ type }) => type))).toEqual(
      new Set([
        'start',
        'note',
        'step',
        'scores',
        'text',
        'probe',
        'histograms',
        'profile',
        'checkpoint',
        'end',
      ]),
    );
  });

  it('splits all of the time, and counts every step once', async () => {
    const steps = [];
    for await (const line of readMetrics(join(stageDir, 'metrics.jsonl'), ['step'])) steps.push(line);
    expect(steps.map(({ step }) => step)).toEqual([1, 2, 4, 6, 8, 10, 12]);
    expect(steps.reduce((sum, { speed }) => sum + speed.steps, 0)).toBe(STEPS);
    for (const { seconds, speed, step } of steps) {
      const { total, ...phases } = seconds as TimeSplit;
      const sum = Object.values(phases).reduce((a, b) => a + b, 0);
      expect(sum).toBeLessThanOrEqual(total + 1e-6);
      expect(sum).toBeGreaterThan(0);
      expect(Math.min(phases.forwardBackward, phases.data)).toBeGreaterThan(0);
      // A step that is one function updates inside it; a profiled one does not.
      expect(phases.update).toBeGreaterThanOrEqual(0);
      if (step === 4) expect(phases.update).toBeGreaterThan(0);
      // Steps 3 and 4 were profiled, and ran unrecorded.
      if (step === 4) expect(speed).toMatchObject({ flops: null, mfu: null });
      else expect(speed.mfu).toBeGreaterThan(0);
      expect(speed.mfu ?? 0).toBeLessThanOrEqual(1);
    }
    expect(steps.at(-1)?.speed.left).toBe(0);
    expect(steps[0]?.speed.left).toBeNull();
    const evaluated = steps.filter(({ seconds }) => (seconds.eval ?? 0) > 0).map(({ step }) => step);
    expect(evaluated).toEqual([8]);
  });

  it('keeps the pictures of the first evaluation and of the last, true boxes drawn', async () => {
    const folders = readdirSync(join(stageDir, 'probes'));
    expect(folders.sort()).toEqual(['step-000006', 'step-000012']);
    const probes = linesOf(stageDir).filter(({ type }) => type === 'probe');
    const ids = (step: number) => probes.filter(line => line.step === step).map(({ tag, id }) => [tag, id]);
    expect(ids(6)).toEqual(ids(12));
    expect(ids(6).length).toBeGreaterThanOrEqual(6);
    for (const { picture } of probes) {
      const { path, width, height } = picture as { path: string; width: number; height: number };
      expect(await sharp(join(stageDir, path)).metadata()).toMatchObject({ format: 'png', width, height });
    }
  });
});

describe("TensorBoard's file of a real run", () => {
  it('has histograms of what trains, weights and gradients, of values as they are', () => {
    const name = readdirSync(stageDir).find(file => file.startsWith('events.out')) ?? '';
    const values = readEvents(join(stageDir, name)).flatMap(event =>
      event.what.case === 'summary' ? event.what.value.value.map(value => ({ step: event.step, value })) : [],
    );
    const histograms = values.filter(({ value }) => value.metadata?.pluginData?.pluginName === 'histograms');
    expect(new Set(histograms.map(({ value }) => value.tag.split('/')[0]))).toEqual(
      new Set(['weights', 'gradients']),
    );
    expect(new Set(histograms.map(({ step }) => Number(step)))).toEqual(new Set([6, 12]));
    const lines = linesOf(stageDir).filter(({ type }) => type === 'histograms');
    const [first] = (lines[0]?.histograms ?? []) as {
      tag: string;
      count: number;
      min: number;
      max: number;
    }[];
    const shown = histograms.find(({ value }) => value.tag === first?.tag)?.value.value;
    const bins = shown?.case === 'tensor' ? shown.value.floatVal : [];
    expect(bins).toHaveLength(90);
    expect(bins[0]).toBe(Math.fround(first?.min ?? 0));
    expect(bins[88]).toBeCloseTo(first?.max ?? 0, 5);
    expect(bins.filter((_, i) => i % 3 === 2).reduce((a, b) => a + b, 0)).toBe(first?.count);
    const pictures = values.filter(({ value }) => value.value.case === 'image');
    expect(new Set(pictures.map(({ step }) => Number(step)))).toEqual(new Set([6, 12]));
  });

  const python = findPython(['tensorboard']);
  const READ = `
import sys, json
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2
from tensorboard.util import tensor_util
a = EventAccumulator(sys.argv[1], size_guidance={k: 0 for k in ['scalars', 'images', 'tensors']})
a.Reload()
h = a.PluginTagToContent('histograms')
t = {tag: [[e.step, list(tensor_util.make_ndarray(e.tensor_proto).shape)] for e in a.Tensors(tag)] for tag in h}
p = {tag: plugin_data_pb2.HParamsPluginData.FromString(c) for tag, c in a.PluginTagToContent('hparams').items()}
m = [x.name.tag for x in p['_hparams_/experiment'].experiment.metric_infos]
print(json.dumps({'histograms': t, 'end': p['_hparams_/session_end_info'].session_end_info.status,
  'metrics': {k: a.Scalars(k)[-1].value for k in m}, 'mfu': [e.step for e in a.Scalars('throughput/mfu')],
  'images': {k: [e.step for e in a.Images(k)] for k in a.Tags()['images']}}))`;

  it.skipIf(python === undefined)('reads in Python, hyperparameters with the final metrics', () => {
    const read = JSON.parse(runPython(python as string, READ, [stageDir]));
    const name = 'weights/projector.global.0.weight';
    expect(read.histograms[name]).toEqual([
      [6, [30, 3]],
      [12, [30, 3]],
    ]);
    expect(read.end).toBe(1);
    const scores = linesOf(stageDir).findLast(({ type }) => type === 'scores')?.scores as Record<
      string,
      number
    >;
    expect(Object.keys(read.metrics)).toEqual(['loss', ...Object.keys(scores).map(key => `scores/${key}`)]);
    expect(read.metrics['scores/rec_loss']).toBeCloseTo(scores.rec_loss as number, 5);
    expect(read.mfu).toEqual([1, 2, 6, 8, 10, 12]);
    expect(read.images['eval/rec/0']).toEqual([6, 12]);
  });
});

describe('--profile', () => {
  const trace = () =>
    JSON.parse(readFileSync(join(stageDir, 'profile-3-4.json'), 'utf8')).traceEvents as {
      name: string;
      ph: string;
      cat: string;
      ts: number;
      dur: number;
      args?: { shapes: string[] };
    }[];

  it('writes a trace whose ops lie in the phases of their steps, and whose times add up', () => {
    const events = trace().filter(({ ph }) => ph === 'X');
    const of = (kind: string) => events.filter(({ cat }) => cat === kind);
    const end = ({ ts, dur }: { ts: number; dur: number }) => ts + dur;
    expect(of('step').map(({ name }) => name)).toEqual(['step 3', 'step 4']);
    const phases = of('phase').map(({ name }) => name);
    // Features of frozen encoders that nobody has made yet, and the step itself.
    expect(phases.filter(name => name === 'forwardBackward')).toHaveLength(4);
    expect(phases.filter(name => name === 'update')).toHaveLength(2);
    expect(phases.filter(name => name === 'data')).toHaveLength(2);
    const computing = of('phase').filter(({ name }) => ['forwardBackward', 'update'].includes(name));
    const ops = of('op');
    for (const op of ops) {
      const around = computing.filter(span => span.ts <= op.ts + 0.01 && end(op) <= end(span) + 0.01);
      expect(around, `${op.name} at ${op.ts}`).toHaveLength(1);
    }
    const sum = (spans: typeof events) => spans.reduce((total, { dur }) => total + dur, 0);
    expect(sum(ops)).toBeLessThanOrEqual(sum(computing));
    expect(sum(ops)).toBeGreaterThan(0);
    expect(sum(of('phase'))).toBeLessThanOrEqual(sum(of('step')));
    expect(
      ops.some(({ name, args }) => /MatMul/.test(name) && /^\[\d+(,\d+)+\]$/.test(args?.shapes[0] ?? '')),
    ).toBe(true);
  });

  it('prints where the time went, and says that these steps were slower', () => {
    expect(trained.stdout).toMatch(
      /^stage 1, steps 3 to 4 op by op \(slower than recorded steps\): .*profile-3-4\.json$/m,
    );
    expect(trained.stdout).toMatch(/^op +calls a step +ms a step +share$/m);
    expect(trained.stdout).toMatch(/^\w+ +\d+ +\d+\.\d\d +\d+\.\d %$/m);
  });
});

describe('ground runs', () => {
  /** The run again, its log cut where `until` says and ended by `lines`. */
  async function another(run: string, lines: string): Promise<string> {
    const copy = join(folder, 'checkpoints', run);
    cpSync(join(folder, 'checkpoints', 'demo'), copy, { recursive: true });
    const log = join(copy, 'stage1', 'metrics.jsonl');
    const text = readFileSync(log, 'utf8');
    const end = text.indexOf('{"type":"end"');
    writeFileSync(log, text.slice(0, end) + lines);
    rmSync(join(copy, 'stage1', 'result.json'));
    return join(copy, 'stage1');
  }

  it('tells finished, interrupted, failed and running runs apart, and what is in them', async () => {
    await another('b-interrupted', '{"type":"step","ti');
    await another(
      'c-failed',
      '{"type":"stop","time":2e9,"step":12,"reason":"failed","message":"the loss is NaN"}\n',
    );
    const running = await another('d-running', '');
    const lock = await lockFolder(running);
    const { stdout } = await inFolder(folder, 'runs');
    const json = JSON.parse((await inFolder(folder, 'runs', '--json')).stdout);
    await lock.release();
    expect(stdout.split('\n').map(line => line.trim().split(/ {2,}/).slice(0, 4))).toMatchObject([
      ['run', 'stages', 'status', 'step'],
      ['b-interrupted', '1', 'interrupted', '12/12'],
      ['c-failed', '1', 'failed', '12/12'],
      ['d-running', '1', 'running', '12/12'],
      ['demo', '1', 'finished', '12/12'],
      ['c-failed, stage 1 failed: the loss is NaN'],
      [''],
    ]);
    expect(json.runs.map((run: { run: string; status: string }) => [run.run, run.status])).toEqual([
      ['b-interrupted', 'interrupted'],
      ['c-failed', 'failed'],
      ['d-running', 'running'],
      ['demo', 'finished'],
    ]);
    const demo = json.runs[3];
    expect(demo.bytes).toBeGreaterThan(1e6);
    expect(demo.stages[0]).toMatchObject({ stage: 1, step: 12, steps: 12, message: null });
    const [last] = linesOf(stageDir)
      .filter(({ type }) => type === 'step')
      .slice(-1);
    expect(demo.stages[0].loss).toBe(last?.loss);
    expect(demo.stages[0].best).toMatchObject({ name: 'rec_accuracy' });
    // A lock whose process is gone holds nothing.
    expect((await summarizeRuns(join(folder, 'checkpoints'))).find(r => r.run === 'd-running')?.status).toBe(
      'interrupted',
    );
    for (const run of ['b-interrupted', 'c-failed', 'd-running']) {
      rmSync(join(folder, 'checkpoints', run), { recursive: true });
    }
  });

  it('finds nothing where there is nothing, and says so', async () => {
    expect((await inFolder(join(folder, 'data'), 'runs')).stdout).toMatch(/no runs in .*checkpoints yet/);
    expect(JSON.parse((await inFolder(folder, 'runs', 'data', '--json')).stdout).runs).toEqual([]);
    await expect(inFolder(folder, 'runs', 'nowhere')).rejects.toThrow(/there is no folder .*nowhere/);
  });
});

describe('ground report', () => {
  it('writes one page of curves, stages, pictures and recipe that refers to nothing outside', async () => {
    const { stdout } = await inFolder(folder, 'report', 'demo');
    expect(stdout).toMatch(/report\.html \(.* 1 stages?\)/);
    const page = readFileSync(join(folder, 'checkpoints', 'demo', 'report.html'), 'utf8');
    const found = (pattern: RegExp) => [...page.matchAll(pattern)].map(match => match[1]);
    expect(found(/<h1>(\S+)/g)).toEqual(['demo']);
    expect(found(/<h2>(.*?)<\/h2>/g)).toEqual(['image-caption alignment']);
    expect(found(/<figcaption><b>(.*?)<\/b>/g)).toEqual([
      'Loss',
      'Learning rate',
      'Gradient norm before clipping',
      'Samples per second',
      'Held-out accuracy',
      'Held-out loss',
      'Grounding gap: how much the model looks',
    ]);
    expect(found(/<div class="label">(.*?)<\/div>/g)).toEqual([
      'Loss',
      'rec accuracy',
      'Grounding gap',
      'Steps',
      'Parameters',
      'Time',
      'MFU',
    ]);
    const probes = linesOf(stageDir).filter(({ type, step }) => type === 'probe' && step === 12);
    expect(found(/<article class="(probe)">/g)).toHaveLength(probes.length);
    expect(found(/<img src="(data:image\/webp;base64),/g)).toHaveLength(2 * probes.length);
    expect(page).toContain('grounding_prompt');
    expect(page).not.toMatch(/(src|href)="(?!data:)/);
    expect(page).not.toMatch(/https?:|@import|url\(/);
    for (const text of found(/<script type="application\/json">(.*?)<\/script>/g)) JSON.parse(text ?? '');
  });

  it('shows what there is of a run that has only begun, and refuses what is none', async () => {
    const copy = join(folder, 'elsewhere', 'begun');
    cpSync(stageDir, join(copy, 'stage1'), { recursive: true });
    const log = join(copy, 'stage1', 'metrics.jsonl');
    const [start = ''] = readFileSync(log, 'utf8').split('\n');
    writeFileSync(
      log,
      `${start.replace('image-caption alignment', '<b>&\\"ü')}\n{"type":"step","time":1,"st`,
    );
    rmSync(join(copy, 'stage1', 'probes'), { recursive: true });
    const out = join(folder, 'begun.html');
    await inFolder(folder, 'report', copy, '--out', out);
    const page = readFileSync(out, 'utf8');
    expect(page).toContain('<h2>&lt;b&gt;&amp;&quot;ü</h2>');
    expect(page).not.toContain('<svg');
    await expect(inFolder(folder, 'report', 'data')).rejects.toThrow(/data is no run/);
    await expect(inFolder(folder, 'report', 'nothing')).rejects.toThrow(/there is no run nothing/);
    await expect(inFolder(folder, 'report', 'demo', '--out', '/nowhere/x.html')).rejects.toThrow(/no folder/);
  });
});

const chromium = findChromium();

describe.skipIf(chromium === undefined)('the page in a browser', () => {
  /** Pixels about as a colour. */
  async function pixels(file: string, [r, g, b]: readonly [number, number, number]): Promise<number> {
    const { data, info } = await sharp(file).removeAlpha().raw().toBuffer({ resolveWithObject: true });
    let count = 0;
    for (let at = 0; at < data.length; at += info.channels) {
      const far = Math.max(
        Math.abs((data[at] ?? 0) - r),
        Math.abs((data[at + 1] ?? 0) - g),
        Math.abs((data[at + 2] ?? 0) - b),
      );
      if (far <= 20) count++;
    }
    return count;
  }

  const CURVE = [0x2f, 0x6f, 0xed] as const;
  const TRUE_BOX = [0x18, 0xa5, 0x58] as const;

  it('shows curves and pictures, and asks the network for nothing', async () => {
    const page = join(folder, 'report.html');
    await inFolder(folder, 'report', 'demo', '--out', page);
    const shot = await screenshot(chromium as string, page, join(folder, 'shot.png'));
    expect(shot.requests).toEqual([]);
    expect(await sharp(shot.file).metadata()).toMatchObject({ width: 1280, height: 3600 });
    const [curves, boxes] = [await pixels(shot.file, CURVE), await pixels(shot.file, TRUE_BOX)];

    // The same page without its curves and pictures has far fewer such pixels.
    const text = readFileSync(page, 'utf8');
    const bare = join(folder, 'bare.html');
    writeFileSync(bare, text.replace(/<path class="line.*?\/>/g, '').replace(/<img [^>]*>/g, ''));
    const without = await screenshot(chromium as string, bare, join(folder, 'bare.png'));
    expect(curves).toBeGreaterThan((await pixels(without.file, CURVE)) + 1000);
    expect(boxes).toBeGreaterThan((await pixels(without.file, TRUE_BOX)) + 500);
  });

  it('would be seen asking: a page with a picture from elsewhere does', async () => {
    const page = join(folder, 'asking.html');
    writeFileSync(page, '<!doctype html><img src="http://pictures.example/x.png">');
    const { requests, file } = await screenshot(chromium as string, page, join(folder, 'asking.png'));
    expect(requests).toEqual(['http://pictures.example/x.png']);
    expect(existsSync(file)).toBe(true);
  });
});
