/** Stages in which something goes wrong on purpose: a scoring after each step that spoils weights, and mends them. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { crc32c } from '@node-rs/crc32';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import * as tf from '../../src/engine/tf.ts';
import type { Ferret } from '../../src/models/ferret.ts';
import { MANIFEST, manifestText } from '../../src/train/integrity.ts';
import { Interrupted, Requests } from '../../src/train/interrupt.ts';
import type { Evaluate } from '../../src/train/loop.ts';
import { startTestEngine } from '../helpers/engine.ts';
import { eventsOf, stageOn, stateOf, trainHere, writeScenes } from './stage-here.ts';

let folder = '';

beforeAll(async () => {
  await startTestEngine();
  folder = mkdtempSync(join(tmpdir(), 'ground-guards-'));
  await writeScenes(join(folder, 'scenes'), 12);
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Trains a projector; every step is saved and scored. */
const stage = (...overrides: string[]) =>
  stageOn(join(folder, 'scenes'), 1, [
    ...['from=null', 'batch.samples=2', 'log.every=1', 'eval.every=1', 'checkpoint.every=1'],
    ...overrides,
  ]);

/** Replaces the values of a parameter; yields what puts them back. */
function spoil(model: Ferret, name: string, change: (values: Float32Array) => void): () => void {
  const parameter = model.parameters.get(name);
  if (!parameter) throw new Error(`no parameter ${name}`);
  const own = parameter.value.dataSync<'float32'>().slice();
  const values = own.slice();
  change(values);
  parameter.assign(tf.tensor(values, [...parameter.shape]));
  return () => parameter.assign(tf.tensor(own, [...parameter.shape]));
}

/** Spoils a parameter after some step and mends it some steps later. */
function spoiling(
  name: string,
  after: number,
  steps: number,
  change: (values: Float32Array) => void,
): Evaluate {
  let mend: (() => void) | undefined;
  let done = false;
  return async (model, _, step) => {
    if (step === after && !done) {
      mend = spoil(model, name, change);
      done = true;
    } else if (mend && step === after + steps) {
      mend();
      mend = undefined;
    }
    return {};
  };
}

const FROZEN = 'llm.model.layers.0.mlp.gate_proj.weight';
const TRAINED = 'projector.global.0.weight';
const nan = (values: Float32Array): void => {
  values[5] = Number.NaN;
};

describe('a step that is not finite', () => {
  it('ends the run before anything is updated, and tells where: batches, norms, names', async () => {
    const runDir = join(folder, 'stopped');
    const { failure, events } = await trainHere(stage('steps=6'), runDir, {
      evaluate: spoiling(FROZEN, 3, 99, nan),
    });
    const message = String(failure);
    expect(message).toMatch(/step 4: the loss is NaN \(language\)/);
    expect(message).toContain(`weights that are not finite in llm (${FROZEN})`);
    const file = join(runDir, 'stage1/nonfinite-000004.json');
    expect(message).toContain(file);
    const report = JSON.parse(readFileSync(file, 'utf8'));
    expect(report).toMatchObject({ step: 4, what: 'loss', losses: { language: 'NaN' } });
    expect(report.batches).toEqual([
      { kind: 'conversation', loss: 'NaN', samples: [expect.stringMatching(/#caption/), expect.any(String)] },
    ]);
    const [gradients] = report.gradients;
    expect(gradients).toMatchObject({ module: 'projector.global', nonFinite: expect.any(Number) });
    expect(gradients.nonFinite).toBeGreaterThan(0);
    const spoilt = report.weights.filter((norm: { nonFinite: number }) => norm.nonFinite > 0);
    expect(spoilt).toEqual([{ module: 'llm', norm: expect.any(Number), nonFinite: 1, parameters: [FROZEN] }]);
    expect(failure).toMatchObject({ code: 'train', hint: expect.stringContaining('on_nonfinite=skip') });
    expect(events.at(-1)).toMatchObject({ type: 'stop', step: 3, reason: 'failed' });
    expect(readdirSync(join(runDir, 'stage1'))).toContain('checkpoint-000003');
  });

  it('is passed over where that is asked for: counted, logged, and nothing is deleted meanwhile', async () => {
    const runDir = join(folder, 'skipped');
    const seen: string[][] = [];
    const spoiler = spoiling(FROZEN, 3, 2, nan);
    const trace = await trainHere(stage('steps=8', 'on_nonfinite=skip', 'checkpoint.keep=1'), runDir, {
      evaluate: async (model, recipe, step, emit, onProgress) => {
        seen.push(readdirSync(join(runDir, 'stage1')).filter(name => name.startsWith('checkpoint-')));
        return spoiler(model, recipe, step, emit, onProgress);
      },
    });
    expect(trace.failure).toBeUndefined();
    expect(eventsOf(trace, 'skip').map(({ step, reason, skipped }) => [step, reason, skipped])).toEqual([
      [4, 'nonfinite', 1],
      [5, 'nonfinite', 2],
    ]);
    expect(eventsOf(trace, 'step').map(({ step, skipped }) => [step, skipped])).toEqual([
      [1, undefined],
      [2, undefined],
      [3, undefined],
      [6, 2],
      [7, 2],
      [8, 2],
    ]);
    const state = stateOf(trace.result?.checkpoint ?? '');
    expect(state).toMatchObject({ step: 8, updates: 6, guards: { skipped: 2, nonFinite: 2 } });
    // While steps 4 and 5 were being skipped the good checkpoints before them stayed.
    expect(Math.max(...seen.map(names => names.length))).toBeGreaterThanOrEqual(2);
    expect(readdirSync(join(runDir, 'stage1'))).toEqual(
      expect.arrayContaining(['nonfinite-000004.json', 'nonfinite-000005.json']),
    );
  });

  it('ends the run when there are too many of them', async () => {
    const { failure, events } = await trainHere(
      stage('steps=20', 'on_nonfinite=skip', 'nonfinite_limit=3'),
      join(folder, 'limit'),
      { evaluate: spoiling(TRAINED, 2, 99, nan) },
    );
    expect(String(failure)).toMatch(/4 steps were not finite, more than nonfinite_limit 3; the last: step 6/);
    expect(events.filter(event => event.type === 'skip')).toHaveLength(3);
  });
});

describe('a jump of the loss', () => {
  const SPIKE = 'spike={action: rollback, window: 8, patience: 2, limit: 2}';
  const large = (values: Float32Array): void => {
    for (let i = 0; i < values.length; i++) values[i] = 40 * (values[i] ?? 0);
  };
  const EMBEDDINGS = 'llm.model.embed_tokens.weight';
  const jumping = (...overrides: string[]) => stage('steps=18', 'checkpoint.every=5', ...overrides);
  const weights = (checkpoint: string) => readFileSync(join(checkpoint, 'model.safetensors'));

  it('takes the stage back to before it, and on past its batches, as if they had never been there', async () => {
    const runDir = join(folder, 'jumped');
    const evaluate = spoiling(EMBEDDINGS, 12, 99, large);
    const trace = await trainHere(jumping(SPIKE), runDir, { evaluate });
    expect(trace.failure).toBeUndefined();
    expect(eventsOf(trace, 'spike')).toMatchObject([{ step: 14, first: 13 }]);
    expect(eventsOf(trace, 'rollback')).toMatchObject([
      { step: 14, to: 10, first: 13, last: 14, rollbacks: 1, checkpoint: expect.stringContaining('000010') },
    ]);
    expect(eventsOf(trace, 'skip').map(({ step, reason }) => [step, reason])).toEqual([
      [13, 'spike'],
      [14, 'spike'],
    ]);
    // Steps 11 and 12 were done again, and are not told of again.
    const logged = eventsOf(trace, 'step').map(({ step }) => step);
    expect(logged).toEqual([...Array.from({ length: 14 }, (_, i) => i + 1), 15, 16, 17, 18]);
    const end = trace.result?.checkpoint ?? '';
    expect(stateOf(end)).toMatchObject({
      updates: 16,
      guards: { rollbacks: 1, skipped: 2, passOver: [13, 14] },
    });

    // The same stage, stopped at step 10 and told there what to pass over.
    const other = join(folder, 'told');
    const requests = new Requests();
    const first = await trainHere(jumping(SPIKE), other, {
      requests,
      evaluate: async (_, __, step) => {
        if (step === 10) requests.requestStop('SIGTERM');
        return {};
      },
    });
    expect(first.failure).toBeInstanceOf(Interrupted);
    const checkpoint = join(other, 'stage1/checkpoint-000010');
    const state = stateOf(checkpoint);
    edit(checkpoint, 'state.json', { ...state, guards: { ...state.guards, passOver: [13, 14] } });
    const told = await trainHere(jumping(SPIKE), other);
    expect(told.failure).toBeUndefined();
    expect(weights(told.result?.checkpoint ?? '').equals(weights(end))).toBe(true);
    const losses = (t: typeof told) =>
      eventsOf(t, 'step')
        .filter(({ step }) => step > 14)
        .map(({ loss }) => loss);
    expect(losses(told)).toEqual(losses(trace));
  });

  it('takes it back to its beginning where there is no checkpoint, and not for ever', async () => {
    const once = 'spike={action: rollback, window: 8, patience: 2, limit: 1}';
    // The second strikes at a step that is being passed over.
    const spoilers = [10, 12].map(after => spoiling(EMBEDDINGS, after, 99, large));
    const trace = await trainHere(jumping(once, 'checkpoint.every=0'), join(folder, 'twice'), {
      evaluate: async (...args) => {
        for (const spoiler of spoilers) await spoiler(...args);
        return {};
      },
    });
    expect(eventsOf(trace, 'rollback')).toMatchObject([{ to: 0, checkpoint: null, first: 11, last: 12 }]);
    expect(String(trace.failure)).toMatch(/step 14: the loss has jumped to .* gone back 1 times already/);
  });

  it('is only told of by default', async () => {
    const evaluate = spoiling(EMBEDDINGS, 12, 3, large);
    const trace = await trainHere(jumping('spike={window: 8, patience: 2}'), join(folder, 'noted'), {
      evaluate,
    });
    // The frozen table was put back before the stage ended.
    expect(trace.failure).toBeUndefined();
    expect(eventsOf(trace, 'spike')).toHaveLength(1);
    expect(eventsOf(trace, 'rollback')).toEqual([]);
  });
});

/** Writes a file of a checkpoint anew, its manifest too. */
function edit(checkpoint: string, file: string, content: object): void {
  const bytes = Buffer.from(JSON.stringify(content));
  writeFileSync(join(checkpoint, file), bytes);
  const { files } = JSON.parse(readFileSync(join(checkpoint, MANIFEST), 'utf8'));
  const entries = Object.entries(files as Record<string, { bytes: number; crc32c: string }>).map(
    ([name, entry]) =>
      [
        name,
        name === file
          ? { bytes: bytes.byteLength, crc32c: crc32c(bytes) }
          : { bytes: entry.bytes, crc32c: Number.parseInt(entry.crc32c, 16) },
      ] as const,
  );
  writeFileSync(join(checkpoint, MANIFEST), manifestText(new Map(entries)));
}

describe('what does not train', () => {
  it('must be the same bytes at the end of the stage', async () => {
    const runDir = join(folder, 'moved');
    const { failure } = await trainHere(stage('steps=3'), runDir, {
      evaluate: spoiling(FROZEN, 2, 99, values => {
        values[0] = (values[0] ?? 0) + 1e-6;
      }),
    });
    expect(String(failure)).toMatch(/1 of \d+ frozen tensors have changed while the stage trained: llm\./);
    expect(String(failure)).toContain(FROZEN);
    const names = readdirSync(join(runDir, 'stage1'));
    expect(names).toContain('checkpoint-000002');
    expect(names).not.toContain('checkpoint-000003');
  });
});

describe('what trains and gets no gradient', () => {
  // Captions reach the projector, and no region is ever asked about.
  const silent = (...overrides: string[]) => {
    const recipe = stage('steps=3', ...overrides);
    return { ...recipe, stage: { ...recipe.stage, train: ['projector.global', 'sampler'] } };
  };

  it('is named in the log', async () => {
    const trace = await trainHere(silent(), join(folder, 'silent'));
    expect(trace.failure).toBeUndefined();
    const [note] = eventsOf(trace, 'note').filter(({ message }) => message.includes('gradient'));
    expect(note?.message).toMatch(/WARNING: trains but receives no gradient: sampler\..*, … \(\d+\)/);
    expect(note?.message).not.toContain('projector.global');
  });

  it('ends the run where that is asked for', async () => {
    const { failure } = await trainHere(silent('on_no_gradient=stop'), join(folder, 'ended'));
    expect(String(failure)).toMatch(/step 3: trains but receives no gradient: sampler/);
    expect(failure).toMatchObject({ hint: expect.stringContaining('take it out of `train`') });
  });
});

describe('the limit of memory', () => {
  it('saves the stage, names what is large and ends the run', async () => {
    const runDir = join(folder, 'large');
    const { failure } = await trainHere(stage('steps=9', 'checkpoint.every=0', 'limits.memory=0.01'), runDir);
    expect(String(failure)).toMatch(
      /step 1: the process holds .*B, more than limits.memory allows .*largest tensors: .*\[\d+,\d+\] .*B/,
    );
    expect(readdirSync(join(runDir, 'stage1'))).toContain('checkpoint-000001');
  });
});

describe('an interrupted stage', () => {
  it('is saved at the step where it was asked to end, and ends as if nothing had been asked', async () => {
    const steady = stage('steps=6', 'checkpoint.every=0', 'eval.every=0');
    const uninterrupted = await trainHere(steady, join(folder, 'whole'));
    const runDir = join(folder, 'interrupted');
    const requests = new Requests();
    const saves = stage('steps=6', 'checkpoint.every=2', 'eval.every=0');
    const trace = await trainHere(saves, runDir, {
      requests: Object.assign(requests, {
        // Asked for while the third step is prepared.
        takeSave: () => {
          if (readdirSync(join(runDir, 'stage1')).includes('checkpoint-000002'))
            requests.requestStop('SIGINT');
          return false;
        },
      }),
    });
    expect(trace.failure).toMatchObject({ code: 'interrupted', exitCode: 130 });
    expect(trace.events.at(-1)).toMatchObject({ type: 'stop', reason: 'interrupted' });
    const saved = /is saved in (.*)$/.exec(String(trace.failure))?.[1] ?? '';
    expect(dirname(saved)).toBe(join(runDir, 'stage1'));
    expect(String(trace.failure)).toContain(`step ${Number(basename(saved).slice(-6))} of 6`);
    const resumed = await trainHere(saves, runDir);
    const [a, b] = [uninterrupted, resumed].map(t => join(t.result?.checkpoint ?? '', 'model.safetensors'));
    expect(readFileSync(a ?? '').equals(readFileSync(b ?? ''))).toBe(true);
  });

  it('scores again what it was scoring when it was asked to end', async () => {
    const runDir = join(folder, 'scoring');
    const requests = new Requests();
    const recipe = stage('steps=4', 'checkpoint.every=0', 'eval.every=2');
    const scored: number[] = [];
    const evaluate: Evaluate = async (_, __, step, ___, onProgress) => {
      if (step === 2 && scored.length === 0) requests.requestStop('SIGTERM');
      scored.push(step);
      onProgress();
      return { score: step };
    };
    const { failure } = await trainHere(recipe, runDir, { requests, evaluate });
    expect(failure).toMatchObject({
      exitCode: 143,
      message: expect.stringContaining('step 2 of 4 is saved'),
    });
    const trace = await trainHere(recipe, runDir, { evaluate });
    expect(scored).toEqual([2, 2, 4]);
    expect(eventsOf(trace, 'scores').map(({ step }) => step)).toEqual([2, 4]);
  });

  it('has nothing to save before its first step', async () => {
    const requests = new Requests();
    requests.requestStop('SIGINT');
    const runDir = join(folder, 'early');
    const { failure } = await trainHere(stage('steps=4'), runDir, { requests });
    expect(String(failure)).toMatch(/stopped by SIGINT: no step was taken/);
    expect(readdirSync(join(runDir, 'stage1'))).toEqual([]);
  });
});
