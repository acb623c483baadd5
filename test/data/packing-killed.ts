/** Two sources, packing on, a damaged image: what packing-writer.ts takes steps of until it is killed. */
import type { ProducerOptions } from '../../src/data/producer.ts';
import type { RecordSource } from '../../src/data/rows.ts';
import { model, randomRecord, sourceOf } from './loader-records.ts';

export const killedOptions: ProducerOptions = {
  model,
  stage: {
    views: 'global+local',
    grounding_prompt: '',
    data: [
      { dataset: 'a', task: 'caption', weight: 2 },
      { dataset: 'b', task: 'dense-referring', weight: 1 },
    ],
    batch: { samples: 2, accumulate: 1, packing: { length: 300, window: 6 } },
    on_bad_sample: 'skip',
    steps: 1000,
    seed: 7,
  },
};

export async function openKilled(name: string): Promise<RecordSource> {
  const [from, count] = name === 'a' ? [0, 7] : [7, 4];
  const records = await Promise.all(
    Array.from({ length: count }, (_, i) => randomRecord(from + i, 1 + (i % 4))),
  );
  const spoilt = records.map((record, i) =>
    i === 2 ? { ...record, image: record.image.slice(0, 60) } : record,
  );
  return { ...sourceOf(spoilt), placeOf: row => ({ shard: name, row }) };
}
