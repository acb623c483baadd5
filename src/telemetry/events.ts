/**
 * The one stream of what happens in a run. The loop emits; the console, metrics.jsonl and TensorBoard listen.
 * Numbers are plain and times are seconds.
 */

export interface ModuleSummary {
  readonly group: string;
  readonly parameters: number;
  readonly trainable: number;
  /** Peak learning rate, 0 where frozen. */
  readonly lr: number;
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
      /** Where the step's wall time went. */
      readonly seconds: {
        readonly data: number;
        readonly compute: number;
        readonly total: number;
      };
      readonly tensors: number;
      readonly rssBytes: number;
    }
  | { readonly type: 'scores'; readonly step: number; readonly scores: Readonly<Record<string, number>> }
  | { readonly type: 'text'; readonly step: number; readonly tag: string; readonly text: string }
  | {
      readonly type: 'image';
      readonly step: number;
      readonly tag: string;
      readonly png: Uint8Array;
      readonly width: number;
      readonly height: number;
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
  | { readonly type: 'note'; readonly message: string }
  | {
      readonly type: 'end';
      readonly step: number;
      readonly firstLoss: number;
      readonly lastLoss: number;
      readonly seconds: number;
      readonly scores: Readonly<Record<string, number>>;
    };

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
