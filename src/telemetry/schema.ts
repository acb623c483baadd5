/** What the lines of metrics.jsonl look like: docs/metrics.md as code. Keys that are not named here are dropped. */
import { z } from 'zod';

/** A number; JSON has none that is not finite, and null stands for those. */
const number = z.number().nullable();
const count = z.int().min(0);
const named = z.record(z.string(), number);

const split = z.object({
  data: number,
  forwardBackward: number,
  update: number,
  logging: number,
  save: number,
  eval: number,
  total: number,
});

/** [left, top, right, bottom], pixels. */
const edges = z.tuple([z.number(), z.number(), z.number(), z.number()]);

/** What every line has: Unix time, seconds. */
const timed = { time: z.number() };

const start = z.object({
  type: z.literal('start'),
  ...timed,
  run: z.string(),
  stage: count,
  stageName: z.string(),
  engine: z.string(),
  step: count,
  steps: count,
  resumedFrom: z.string().nullable(),
  modules: z.array(
    z.object({
      group: z.string(),
      parameters: count,
      trainable: count,
      lr: z.number(),
      lowestLr: z.number().optional(),
      weightDecay: z.number().optional(),
    }),
  ),
  hparams: z.record(z.string(), z.union([z.string(), z.number(), z.boolean()])),
  peakFlops: number,
});

const step = z.object({
  type: z.literal('step'),
  ...timed,
  step: count,
  loss: number,
  losses: named,
  gradNorm: number,
  lr: z.record(z.string(), z.number()),
  samples: count,
  tokens: count,
  mixture: z.record(z.string(), count).optional(),
  padding: z.number().optional(),
  queued: count.optional(),
  features: z.object({ read: count, encoded: count }).optional(),
  seconds: split,
  speed: z.object({
    steps: count,
    samples: number,
    tokens: number,
    flops: number,
    mfu: number,
    left: number,
  }),
  tensors: count,
  rssBytes: count,
  skipped: count.optional(),
});

const scores = z.object({ type: z.literal('scores'), ...timed, step: count, scores: named });

const text = z.object({
  type: z.literal('text'),
  ...timed,
  step: count,
  tag: z.string(),
  text: z.string(),
});

const probe = z.object({
  type: z.literal('probe'),
  ...timed,
  step: count,
  tag: z.string(),
  task: z.string(),
  id: z.string(),
  prompt: z.string(),
  answer: z.string(),
  truth: z.string(),
  verdict: z.string().nullable(),
  boxes: z.array(edges.nullable()),
  trueBoxes: z.array(edges),
  picture: z.object({ path: z.string(), width: count, height: count }).nullable(),
});

const histograms = z.object({
  type: z.literal('histograms'),
  ...timed,
  step: count,
  histograms: z.array(
    z.object({
      tag: z.string(),
      count,
      nonFinite: count,
      min: number,
      max: number,
      mean: number,
      deviation: number,
    }),
  ),
});

const profile = z.object({
  type: z.literal('profile'),
  ...timed,
  step: count,
  first: count,
  path: z.string(),
  ops: z.array(z.object({ op: z.string(), calls: count, seconds: z.number(), share: z.number() })),
});

const checkpoint = z.object({
  type: z.literal('checkpoint'),
  ...timed,
  step: count,
  path: z.string(),
  seconds: number,
  bytes: count.nullable(),
  pauseSeconds: number,
  waitSeconds: number,
});

const saveFailed = z.object({
  type: z.literal('save-failed'),
  ...timed,
  step: count,
  message: z.string(),
  hint: z.string().nullable(),
  lastCheckpoint: z.string().nullable(),
});

const skip = z.object({
  type: z.literal('skip'),
  ...timed,
  step: count,
  reason: z.enum(['nonfinite', 'spike']),
  message: z.string(),
  report: z.string().nullable(),
  skipped: count,
});

const spike = z.object({
  type: z.literal('spike'),
  ...timed,
  step: count,
  first: count,
  loss: number,
  mean: number,
  deviation: number,
  zscore: number,
});

const rollback = z.object({
  type: z.literal('rollback'),
  ...timed,
  step: count,
  to: count,
  checkpoint: z.string().nullable(),
  first: count,
  last: count,
  rollbacks: count,
});

const note = z.object({ type: z.literal('note'), ...timed, message: z.string() });

const stop = z.object({
  type: z.literal('stop'),
  ...timed,
  step: count,
  reason: z.enum(['failed', 'interrupted']),
  message: z.string(),
});

const end = z.object({
  type: z.literal('end'),
  ...timed,
  step: count,
  firstLoss: number,
  lastLoss: number,
  seconds: z.number(),
  split,
  scores: named,
});

/** One line, parsed. */
export const metricsLine = z.discriminatedUnion('type', [
  start,
  step,
  scores,
  text,
  probe,
  histograms,
  profile,
  checkpoint,
  saveFailed,
  skip,
  spike,
  rollback,
  note,
  stop,
  end,
]);

export type MetricsLine = z.output<typeof metricsLine>;
/** The line of one type. */
export type LineOf<T extends MetricsLine['type']> = Extract<MetricsLine, { type: T }>;
