import { after } from '../engine/after.ts';
import * as tf from '../engine/tf.ts';
import type { Scope } from './parameter.ts';

/** A block of a network as a function of its input and of tensors that it shares with other blocks. */
export type Block = (x: tf.Tensor2D, context: readonly tf.Tensor[]) => tf.Tensor2D;

/**
 * Runs a block. Where the pass's training mode names its module, only `x` and `context` are kept for the backward pass,
 * which computes the block once more (activation checkpointing, arXiv 1604.06174): memory for time, with equal gradients.
 *
 * @param scope the block's place; parameters declared below it are the block's
 * @param context all other tensors that it reads; no gradient flows into them
 */
export function throughBlock(
  scope: Scope,
  x: tf.Tensor2D,
  context: readonly tf.Tensor[],
  block: Block,
): tf.Tensor2D {
  const recompute = scope.training?.recompute;
  const named = recompute?.modules.some(
    module => scope.path === module || scope.path.startsWith(`${module}.`),
  );
  if (!recompute || !named) return block(x, context);
  const weights = scope.declared.filter(p => recompute.trained.has(p)).map(p => p.value);
  const operation = tf.customGrad((...inputsAndSave) => {
    // The last argument is tfjs's save function; its type is a union with the inputs before it.
    const save = inputsAndSave[inputsAndSave.length - 1] as tf.GradSaveFunc;
    save([x, ...context]);
    return {
      value: block(x, context),
      gradFunc: (dy, saved) => {
        const [input, ...rest] = saved as [tf.Tensor2D, ...tf.Tensor[]];
        const again = after(input, dy);
        return gradientsInside(() => block(again, rest), [again, ...weights], dy);
      },
    };
  });
  return operation(x, ...weights) as tf.Tensor2D;
}

/** Gradients of `f` while another backward pass is under way; zeros where `f` does not depend on an input. */
function gradientsInside(f: () => tf.Tensor, xs: tf.Tensor[], dy: tf.Tensor): tf.Tensor[] {
  const { state } = tf.engine();
  // tfjs has one tape, and takes it away when gradients have been taken: the pass around this one still needs its own.
  const tape = state.activeTape;
  try {
    const { grads } = tf.engine().gradients(f, xs, dy, true);
    return xs.map((x, i) => (grads[i] as tf.Tensor | undefined) ?? tf.zerosLike(x));
  } finally {
    state.activeTape = tape;
  }
}
