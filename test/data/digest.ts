import { createHash } from 'node:crypto';
import { arraysOf } from '../../src/data/collate.ts';
import type { ProducedStep } from '../../src/data/producer.ts';

/** A fingerprint of everything in a step, to the bit. */
export function digestOf({ batches, position, skipped }: ProducedStep): string {
  const hash = createHash('sha256').update(JSON.stringify({ position, skipped }));
  for (const batch of batches) {
    hash.update(`${batch.kind} ${batch.sampleIds.join()}`);
    for (const array of arraysOf(batch)) hash.update(`${array.length} `).update(array);
  }
  return hash.digest('hex');
}
