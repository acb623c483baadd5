/** Takes packed steps for ever and writes a digest and the position of each to a file: killed by packing.test.ts. */
import { appendFileSync } from 'node:fs';
import { openProducer } from '../../src/data/producer.ts';
import { digestOf } from './digest.ts';
import { killedOptions, openKilled } from './packing-killed.ts';

const producer = await openProducer(killedOptions, openKilled);
for (;;) {
  const step = await producer.next();
  appendFileSync(
    process.argv[2] ?? '',
    `${JSON.stringify({ digest: digestOf(step), position: step.position })}\n`,
  );
}
