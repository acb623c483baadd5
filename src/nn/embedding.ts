import { gatherRows } from '../engine/ops.ts';
import type * as tf from '../engine/tf.ts';
import { type Initializer, normal } from './init.ts';
import type { Parameter, Scope } from './parameter.ts';

/** A table of vectors looked up by integer. */
export class Embedding {
  readonly weight: Parameter;

  constructor(scope: Scope, entries: number, width: number, start: Initializer = normal(0.02)) {
    this.weight = scope.parameter('weight', [entries, width], start);
  }

  /** The table [entries, width]. */
  get table(): tf.Tensor2D {
    return this.weight.value as tf.Tensor2D;
  }

  /** int32 ids [n] -> [n, width]. */
  apply(ids: tf.Tensor1D): tf.Tensor2D {
    return gatherRows(this.table, ids) as tf.Tensor2D;
  }
}
