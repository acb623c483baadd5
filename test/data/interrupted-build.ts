/** Started by shards.test.ts: writes a dataset slowly, to be killed in the middle. Arguments: folder. */
import { setTimeout } from 'node:timers/promises';
import { writeShards } from '../../src/data/shards.ts';
import { fakeRecord } from './sample-records.ts';

async function* slowRecords() {
  for (let i = 0; i < 1000; i++) {
    yield fakeRecord(i);
    if (i > 20) await setTimeout(20);
  }
}

await writeShards(slowRecords(), process.argv[2] ?? '', {
  source: {},
  builder: 'test',
  shardRows: 5,
  batchRows: 2,
});
