/** The loss of one batch: sum of weighted token cross-entropies, and the sum of the weights. */
export interface LossSum {
  readonly loss: number;
  readonly weight: number;
}

/**
 * Mean cross-entropy per supervised token in nats, over all batches: tokens weigh equally, whatever batch they are in.
 * 0 where nothing is supervised.
 */
export function meanTokenLoss(batches: readonly LossSum[]): number {
  let loss = 0;
  let weight = 0;
  for (const batch of batches) {
    loss += batch.loss;
    weight += batch.weight;
  }
  return weight > 0 ? loss / weight : 0;
}
