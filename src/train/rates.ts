/** Learning rates that fall from block to block (layer-wise decay, as in ELECTRA, BEiT and MAE). */
import { GroundError } from '../errors.ts';
import { lies } from './patterns.ts';

/** A block's number in a parameter's name: CLIP's and Llama's layers, DINOv2's layer, timm's blocks. */
const BLOCK = /\.(?:layers|layer|blocks)\.(\d+)\./;
/** What stands before the first block: embeddings of all kinds, and CLIP's norm behind them. */
const BELOW = /\.(?:embeddings|embed_tokens|patch_embed|pos_embed|cls_token|pre_layrnorm)(?:\.|$)/;

/** Where a parameter stands in its module: 'embeddings', a block's number, or 'top' for what comes after all blocks. */
export type Depth = number | 'embeddings' | 'top';

export function depthOf(name: string): Depth {
  const [, block] = BLOCK.exec(name) ?? [];
  if (block !== undefined) return Number(block);
  return BELOW.test(name) ? 'embeddings' : 'top';
}

/**
 * For each parameter's name, what its learning rate is multiplied by: 1 for the last block that trains and what comes
 * after it, `decay` times as much for each block below, and once more for the embeddings.
 *
 * @param decays factor by prefix; the longest prefix of a name decides
 * @param trained names of all parameters that train
 * @throws GroundError('config') for a prefix below which nothing trains, or without blocks
 */
export function rateFactors(
  decays: Readonly<Record<string, number>>,
  trained: readonly string[],
): (name: string) => number {
  const prefixes = Object.keys(decays).sort((a, b) => b.length - a.length);
  const blocksBelow = new Map(
    prefixes.map(prefix => {
      const names = trained.filter(name => lies(name, prefix));
      const blocks = names.map(depthOf).filter(depth => typeof depth === 'number');
      if (blocks.length === 0) {
        throw new GroundError(
          'config',
          `lr_decay: ${names.length === 0 ? `nothing trains below "${prefix}"` : `"${prefix}" has no blocks that train`}`,
          { hint: 'name a module of `train` that is made of blocks: encoder.global, encoder.local, llm' },
        );
      }
      return [prefix, Math.max(...blocks) + 1] as const;
    }),
  );
  return name => {
    const prefix = prefixes.find(candidate => lies(name, candidate));
    if (prefix === undefined) return 1;
    const count = blocksBelow.get(prefix) ?? 0;
    const depth = depthOf(name);
    const steps = depth === 'top' ? 0 : depth === 'embeddings' ? count : count - 1 - depth;
    return (decays[prefix] ?? 1) ** steps;
  };
}
