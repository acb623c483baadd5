import type { RunEvent } from '../../src/telemetry/events.ts';

export const START: Extract<RunEvent, { type: 'start' }> = {
  type: 'start',
  run: 'tiny',
  stage: 2,
  stageName: 'dense alignment',
  engine: 'wasm',
  step: 0,
  steps: 6,
  resumedFrom: null,
  modules: [
    { group: 'encoder.global', parameters: 123456, trainable: 0, lr: 0 },
    { group: 'projector', parameters: 2345, trainable: 2345, lr: 2e-4 },
  ],
  hparams: { lr: 2e-4, schedule: 'cosine', augment: true },
  peakFlops: 1e11,
};

export const SPLIT = {
  data: 0.125,
  forwardBackward: 0.5,
  update: 0.25,
  logging: 0.0625,
  save: 0,
  eval: 0,
  total: 1,
};

export function step(n: number): Extract<RunEvent, { type: 'step' }> {
  return {
    type: 'step',
    step: n,
    loss: 3 / n,
    losses: { language: 2 / n, contrastive: 1 / n },
    gradNorm: n / 2,
    lr: { projector: 1e-4 * n },
    samples: 16,
    tokens: 640,
    seconds: SPLIT,
    speed: { steps: 2, samples: 32, tokens: 1280, flops: 5e10, mfu: 0.5, left: 10 * (100 - n) },
    tensors: 77,
    rssBytes: 1e8,
  };
}

export function probe(n: number): Extract<RunEvent, { type: 'probe' }> {
  return {
    type: 'probe',
    step: n,
    tag: 'eval/rec/0',
    task: 'rec',
    id: 'shard:0#rec.0',
    prompt: 'Where is it?',
    answer: 'Here [1, 2, 3].',
    truth: 'Here [1, 2, 3, 4].',
    verdict: 'miss',
    boxes: [null],
    trueBoxes: [{ space: 'pixels', x1: 1, y1: 2, x2: 3, y2: 4 }],
    picture: { png: PNG, width: 1, height: 1 },
  };
}

/** What a run of `steps` steps emits after step `from`, with a checkpoint and scores at every second step. */
export function eventsOf(steps: number, from = 0): RunEvent[] {
  const events: RunEvent[] = [
    { ...START, step: from, steps, resumedFrom: from === 0 ? null : `stage2/checkpoint-${from}` },
  ];
  for (let n = from + 1; n <= steps; n++) {
    events.push(step(n));
    if (n % 2 !== 0) continue;
    events.push({ type: 'scores', step: n, scores: { accuracy: n / 10 } });
    events.push({ type: 'text', step: n, tag: 'answer', text: `step ${n}` });
    events.push(probe(n));
    events.push({
      type: 'checkpoint',
      step: n,
      path: `stage2/checkpoint-${n}`,
      seconds: 0.5,
      bytes: 9,
      pauseSeconds: 0,
      waitSeconds: 0,
    });
  }
  events.push({
    type: 'end',
    step: steps,
    firstLoss: 3,
    lastLoss: 3 / steps,
    seconds: 9,
    split: { ...SPLIT, total: 9 },
    scores: { accuracy: 1 },
  });
  return events;
}

/** One transparent pixel. */
export const PNG: Uint8Array = Buffer.from(
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg==',
  'base64',
);
