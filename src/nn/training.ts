import type * as tf from '../engine/tf.ts';
import type { Parameter } from './parameter.ts';

/** What layers do only while gradients are taken; without it they compute what evaluation computes. */
export interface TrainingMode {
  /** Two int32 numbers [2] that name this pass's dropout masks; null switches dropout off. */
  readonly dropout: tf.Tensor1D | null;
  /** Which blocks keep their input alone and compute the rest again for the backward pass. */
  readonly recompute: {
    /** Prefixes of the blocks' names. */
    readonly modules: readonly string[];
    /** Parameters whose gradients are wanted. */
    readonly trained: ReadonlySet<Parameter>;
  };
}
