import { GroundError } from '../errors.ts';

/**
 * How many blocks to run for `hidden_states[layer]` of a network of `blocks` blocks: hidden_states[0] is the input of
 * the first block, negative indices count from the end, so that -2 is the input of the last block.
 */
export function blocksFor(layer: number, blocks: number): number {
  const index = layer < 0 ? blocks + 1 + layer : layer;
  if (!Number.isInteger(index) || index < 0 || index > blocks) {
    throw new GroundError('model', `feature_layer ${layer} does not exist in a network of ${blocks} blocks`, {
      hint: `use ${-blocks - 1}..${blocks}; published recipes use -2`,
    });
  }
  return index;
}
