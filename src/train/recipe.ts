import type { During } from '../data/mixture.ts';
import type { TaskName } from '../data/tasks/names.ts';
import type { CompileSetting } from '../engine/mode.ts';
import type { ModelConfig } from '../models/config.ts';
import type { SpikeConfig } from './watchdog.ts';

/** One source of training samples: a folder of shards seen through a task. */
export interface DataSource {
  /** Folder with a manifest.json, absolute after the recipe is resolved. */
  readonly dataset: string;
  readonly task: TaskName;
  /** Share of the mixture, relative to the other sources' weights. */
  readonly weight: number;
  /** Uses the first records only. */
  readonly max_records?: number;
  /** False: each record makes the same conversation every time. True where absent: it is drawn anew. */
  readonly vary?: boolean;
}

/** A source that is trained on. */
export interface TrainingSource extends DataSource {
  /** Most questions about one image; 4 where absent. */
  readonly rounds?: number;
  /** Most objects listed in a turn, or contrasted; 10 where absent. */
  readonly max_objects?: number;
  /** Shares of the stage's steps from which and until which the source is drawn; all of them where absent. */
  readonly during?: During;
}

export interface ScheduleConfig {
  readonly kind: 'cosine' | 'linear' | 'constant';
  /** Share of all steps in which the learning rate rises from 0, 0..1. */
  readonly warmup: number;
  /** Share of the peak learning rate at the end (cosine and linear). */
  readonly floor: number;
}

export interface OptimizerConfig {
  readonly betas: readonly [number, number];
  readonly eps: number;
  /** Decoupled weight decay, applied to matrices only (rank 2 and more). */
  readonly weight_decay: number;
  /** Names that are not decayed although they are matrices. */
  readonly no_decay?: Patterns;
  /** Largest global gradient norm; 0 switches clipping off. */
  readonly clip_norm: number;
}

export interface CheckpointConfig {
  /** Steps between checkpoints; 0: only at the end. */
  readonly every: number;
  /** The newest so many; or also the best by `metric`, and those of every so many steps. */
  readonly keep: number | { readonly last: number; readonly best?: number; readonly every?: number };
  /** The held-out score that says which is best. */
  readonly metric?: string;
  /** Whether more of it is better; `max` where absent. */
  readonly goal?: 'max' | 'min';
}

/** One regular expression or several, of which one must match. */
export type Patterns = string | readonly string[];

/** A group that trains: a prefix of parameter names, all of it or the names that patterns pick. */
export type TrainGroup =
  | string
  | { readonly group: string; readonly only?: Patterns; readonly except?: Patterns };

/** Low-rank adapters (LoRA) on linear layers of a module; the layers themselves stay as they are. */
export interface LoraConfig {
  /** Prefix of the layers' names: llm, encoder.global. */
  readonly module: string;
  readonly rank: number;
  /** The change is scaled by alpha / rank; alpha is the rank where absent. */
  readonly alpha?: number;
  /** Share of the adapters' inputs that are dropped while training; 0 where absent. */
  readonly dropout?: number;
  /** Which linear layers, by the end of their names; all but the output layer where absent or `all-linear`. */
  readonly targets?: Patterns;
}

/** A running average of what trains, which is what the stage's model is once it is trained. */
export interface EmaConfig {
  readonly decay: number;
  /** Starts with a shorter memory: decay is at most (1 + updates) / (10 + updates); true where absent. */
  readonly warmup?: boolean;
}

/** Features of frozen encoders on disk, shared by all runs that name one folder. */
export interface FeatureCacheConfig {
  /** `.features` in the folder of runs where absent. */
  readonly dir?: string;
  /** Gigabytes (10^9 bytes) of the whole folder; where absent 4, and only where all features of the stage fit. */
  readonly max_gb?: number;
}

/** One stage of the curriculum, every default filled in. */
export interface StageRecipe {
  readonly stage: number;
  readonly name: string;
  /** Where the weights come from: `stageN` of the same run, a checkpoint folder, or null for random weights. */
  readonly from: string | null;
  /** Parameter groups that train, as prefixes of parameter names: `projector`, `encoder.local`. The rest is frozen. */
  readonly train: readonly TrainGroup[];
  /** Adapters that train beside `train`; none where absent. */
  readonly lora?: readonly LoraConfig[];
  /** What becomes of the adapters of the checkpoint that the stage starts from; `merge` where absent. */
  readonly from_adapters?: 'merge' | 'keep';
  /** Groups that start this stage as a copy of another: {to: projector.local, from: projector.global}. */
  readonly copy: readonly { readonly from: string; readonly to: string }[];
  /** Groups that start this stage at random, whatever the checkpoint has under their names; none where absent. */
  readonly reset?: readonly string[];
  /** Peak learning rate; or one for each entry of `train`. */
  readonly lr: number | Readonly<Record<string, number>>;
  /** For each of these modules, what the rate is multiplied by from one block to the one below. */
  readonly lr_decay?: Readonly<Record<string, number>>;
  readonly optimizer: OptimizerConfig;
  readonly schedule: ScheduleConfig;
  readonly ema?: EmaConfig;
  /** Modules whose blocks are computed again for the backward pass instead of being kept. */
  readonly checkpoint_activations?: readonly string[];
  /** Which views of the image the model gets: the low-resolution one, or tiles as well. */
  readonly views: 'global' | 'global+local';
  /** Text appended to a question whose answer should carry boxes ('' for none). */
  readonly grounding_prompt: string;
  readonly data: readonly TrainingSource[];
  readonly batch: {
    readonly samples: number;
    readonly accumulate: number;
    /** Images of a contrastive batch, whose samples are each other's negatives; `samples` where absent. */
    readonly contrastive?: number;
    /** Samples side by side in `samples` rows of `length` positions; `window` samples may wait for room, 32 where absent. */
    readonly packing?: { readonly length: number; readonly window?: number };
    /** Batches of like length, sorted among `window` samples; 16 batches of them where absent. */
    readonly bucket?: { readonly window?: number };
  };
  /** What a damaged record or image does; `fail` where absent. */
  readonly on_bad_sample?: 'fail' | 'skip';
  /** Damaged records that may be skipped before the run ends; 100 where absent. */
  readonly bad_sample_limit?: number;
  readonly steps: number;
  readonly seed: number;
  readonly engine?: {
    /** How training steps run; `auto` where absent. */
    readonly compile?: CompileSetting;
  };
  /** Where features of frozen encoders are kept, and how much room they may take; `{}` where absent. */
  readonly feature_cache?: 'off' | FeatureCacheConfig;
  /** What a loss or gradient that is not finite does; `stop` where absent. */
  readonly on_nonfinite?: 'stop' | 'skip';
  /** Such steps that may be skipped before the run ends; 5 where absent. */
  readonly nonfinite_limit?: number;
  /** What a jump of the loss does; `SPIKE_DEFAULTS` where absent. */
  readonly spike?: Partial<SpikeConfig>;
  /** What parameters that train and get no gradient do; `note` where absent. */
  readonly on_no_gradient?: 'note' | 'stop';
  readonly limits?: {
    /** Resident memory of the process, GiB; 0 or absent: none. */
    readonly memory?: number;
  };
  readonly log: {
    readonly every: number;
    /** Steps between histograms of weights and gradients; 0 or absent: none. */
    readonly histograms?: number;
  };
  readonly checkpoint: CheckpointConfig;
  /** Held-out scoring while training; `every` 0 means only at the end. */
  readonly eval: { readonly every: number; readonly samples: number; readonly data: readonly DataSource[] };
}

/** A stage with its model: what a run is made from, and what is written into its folder. */
export interface Recipe {
  readonly model: ModelConfig;
  readonly stage: StageRecipe;
}
