import type { PixelBox } from '../data/box.ts';

/**
 * The one stream of what happens in a run. The loop emits; the console, metrics.jsonl and TensorBoard listen.
 * Numbers are plain and times are seconds.
 */

export interface ModuleSummary {
  readonly group: string;
  readonly parameters: number;
  readonly trainable: number;
  /** Peak learning rate, 0 where frozen; the highest, where rates fall from block to block. */
  readonly lr: number;
  /** The lowest peak learning rate, where it is another. */
  readonly lowestLr?: number;
  /** Weight decay of its matrices; absent where nothing of it is decayed. */
  readonly weightDecay?: number;
}

/** What a stage spends its time on, one thing at a time; what is left of the total is bookkeeping. */
export const PHASES = ['data', 'forwardBackward', 'update', 'logging', 'save', 'eval'] as const;
export type RunPhase = (typeof PHASES)[number];

/** Seconds of each phase, and of all the wall time, phases included. */
export type TimeSplit = Readonly<Record<RunPhase | 'total', number>>;

/** How fast steps went since the step line before. */
export interface StepSpeed {
  /** How many they were. */
  readonly steps: number;
  /** Per second of the time that was neither saving nor scoring. */
  readonly samples: number;
  readonly tokens: number;
  /** Floating-point operations of matrix products per second of that time; null where steps are not recorded. */
  readonly flops: number | null;
  /** `flops` as a share of what this machine does in one large matrix product, 0..1. */
  readonly mfu: number | null;
  /** Seconds until the stage's last step, saving and scoring included; null before that can be told. */
  readonly left: number | null;
}

/** Values of one tensor, summed up. */
export interface Histogram {
  /** `weights/<parameter>` or `gradients/<parameter>`. */
  readonly tag: string;
  /** How many values were looked at: all of a small tensor, evenly spaced ones of a large one. */
  readonly count: number;
  /** How many of them are no finite number; nothing else here includes those. */
  readonly nonFinite: number;
  readonly min: number;
  readonly max: number;
  readonly mean: number;
  readonly deviation: number;
  /** [left edge, right edge, count] of neighbouring bins. */
  readonly bins: readonly (readonly [number, number, number])[];
}

/** Kernels of one kind in a profile. */
export interface OpTime {
  readonly op: string;
  readonly calls: number;
  readonly seconds: number;
  /** Of the time of all ops, 0..1. */
  readonly share: number;
}

export type RunEvent =
  | {
      readonly type: 'start';
      readonly run: string;
      readonly stage: number;
      readonly stageName: string;
      readonly engine: string;
      /** First step that will run (0 for a fresh stage). */
      readonly step: number;
      readonly steps: number;
      readonly resumedFrom: string | null;
      readonly modules: readonly ModuleSummary[];
      readonly hparams: Readonly<Record<string, string | number | boolean>>;
      /** Operations a second of one large matrix product on this machine, measured; what `mfu` is a share of. */
      readonly peakFlops: number;
    }
  | {
      readonly type: 'step';
      /** Steps completed, 1-based. */
      readonly step: number;
      readonly loss: number;
      /** Parts of the loss where it is a sum: {language: …, contrastive: …}. */
      readonly losses: Readonly<Record<string, number>>;
      readonly gradNorm: number;
      /** Learning rate of each trained group. */
      readonly lr: Readonly<Record<string, number>>;
      readonly samples: number;
      readonly tokens: number;
      /** Samples of each source since the stage began: {"train:rec": 1200, …}. */
      readonly mixture?: Readonly<Record<string, number>>;
      /** Share of the sequences' positions that hold nothing, 0..1. */
      readonly padding?: number;
      /** Steps that the loader had ready when this one was taken. */
      readonly queued?: number;
      /** Where the wall time went since the step line before. */
      readonly seconds: TimeSplit;
      readonly speed: StepSpeed;
      readonly tensors: number;
      readonly rssBytes: number;
      /** Images since the step line before whose features were read from the cache, and that were encoded; absent without one. */
      readonly features?: { readonly read: number; readonly encoded: number };
      /** Steps of the stage so far in which nothing was updated; absent while there are none. */
      readonly skipped?: number;
    }
  | { readonly type: 'scores'; readonly step: number; readonly scores: Readonly<Record<string, number>> }
  | { readonly type: 'text'; readonly step: number; readonly tag: string; readonly text: string }
  | {
      /** A question of the probe set, the same after every evaluation, and what the model answers by now. */
      readonly type: 'probe';
      readonly step: number;
      /** `eval/<task>/<number>`. */
      readonly tag: string;
      readonly task: string;
      /** Of the question. */
      readonly id: string;
      readonly prompt: string;
      readonly answer: string;
      readonly truth: string;
      /** `hit`, `miss`, …; null where the task has no verdict. */
      readonly verdict: string | null;
      /** Pixels; null for a bracket group that is no box. */
      readonly boxes: readonly (PixelBox | null)[];
      readonly trueBoxes: readonly PixelBox[];
      /** The image with true boxes in green, predicted ones in red and asked regions in blue; null without an image. */
      readonly picture: Picture | null;
    }
  | { readonly type: 'histograms'; readonly step: number; readonly histograms: readonly Histogram[] }
  | {
      /** Steps that were profiled; they ran op by op instead of as recorded. */
      readonly type: 'profile';
      readonly step: number;
      readonly first: number;
      /** The Chrome trace. */
      readonly path: string;
      /** Those that took most of the time first. */
      readonly ops: readonly OpTime[];
    }
  | {
      readonly type: 'checkpoint';
      readonly step: number;
      readonly path: string;
      /** Of writing, while training went on. */
      readonly seconds: number;
      readonly bytes: number;
      /** For which training stood still: while weights and moments were copied, and for the save before this one. */
      readonly pauseSeconds: number;
      readonly waitSeconds: number;
    }
  | {
      /** A checkpoint could not be written; training goes on, and the next save tries again. */
      readonly type: 'save-failed';
      readonly step: number;
      readonly message: string;
      readonly hint: string | null;
      /** The newest one that there is. */
      readonly lastCheckpoint: string | null;
    }
  | {
      /** A step in which nothing was updated. */
      readonly type: 'skip';
      readonly step: number;
      /** Its numbers are not finite; or it was part of a spike that the stage went back from. */
      readonly reason: 'nonfinite' | 'spike';
      readonly message: string;
      /** The file that tells its batches and the norms of each module; null for a spike. */
      readonly report: string | null;
      /** How many there are by now. */
      readonly skipped: number;
    }
  | {
      /** The loss has jumped and stayed there. */
      readonly type: 'spike';
      readonly step: number;
      /** The first step that jumped. */
      readonly first: number;
      readonly loss: number;
      /** Of the losses before. */
      readonly mean: number;
      readonly deviation: number;
      /** How many deviations above the mean the loss lies. */
      readonly zscore: number;
    }
  | {
      /** The stage has gone back; steps that are repeated are not logged again. */
      readonly type: 'rollback';
      readonly step: number;
      /** The step from which it goes on. */
      readonly to: number;
      /** Null for the beginning of the stage. */
      readonly checkpoint: string | null;
      /** Steps whose batches will be passed over. */
      readonly first: number;
      readonly last: number;
      /** How often by now. */
      readonly rollbacks: number;
    }
  | { readonly type: 'note'; readonly message: string }
  | {
      /** The stage ends before its last step. */
      readonly type: 'stop';
      readonly step: number;
      readonly reason: 'failed' | 'interrupted';
      readonly message: string;
    }
  | {
      readonly type: 'end';
      readonly step: number;
      readonly firstLoss: number;
      readonly lastLoss: number;
      readonly seconds: number;
      /** Where `seconds` went. */
      readonly split: TimeSplit;
      readonly scores: Readonly<Record<string, number>>;
    };

/** A PNG. */
export interface Picture {
  readonly png: Uint8Array;
  readonly width: number;
  readonly height: number;
}

/** Anything that follows a run. `close` flushes; after it no event arrives. */
export interface RunListener {
  on(event: RunEvent): void;
  close(): Promise<void>;
}

/** Passes every event to each listener in turn; closing closes all, even when one fails. */
export function combineListeners(listeners: readonly RunListener[]): RunListener {
  return {
    on(event) {
      for (const listener of listeners) listener.on(event);
    },
    async close() {
      const results = await Promise.allSettled(listeners.map(l => l.close()));
      const failed = results.find(r => r.status === 'rejected');
      if (failed) throw failed.reason;
    },
  };
}
