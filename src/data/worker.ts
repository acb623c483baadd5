/** The loader's worker thread: prepares one step for each request, in order, and hands its arrays over uncopied. */
import { parentPort, workerData } from 'node:worker_threads';
import sharp from 'sharp';
import { GroundError, messageOf } from '../errors.ts';
import { arraysOf } from './collate.ts';
import { openDataset } from './dataset.ts';
import type { WorkerMessage } from './loader.ts';
import { openProducer, type Producer, type ProducerOptions } from './producer.ts';

const port = parentPort;
if (!port) throw new Error('worker.ts runs as a worker thread only');

// The training step needs the cores: one thread an image, and no cache that our own makes useless.
sharp.concurrency(1);
sharp.cache(false);

const send = (message: WorkerMessage, transfer: ArrayBuffer[] = []): void =>
  port.postMessage(message, transfer);

function report(thrown: unknown): void {
  const known = thrown instanceof GroundError ? thrown : null;
  send({
    kind: 'error',
    code: known?.code ?? 'data',
    message: messageOf(thrown),
    ...(known?.hint === undefined ? {} : { hint: known.hint }),
  });
}

async function produce(producer: Producer): Promise<void> {
  const step = await producer.next();
  const buffers = arraysOf(step.batches).map(array => array.buffer as ArrayBuffer);
  send({ kind: 'step', step }, [...new Set(buffers)]);
}

const options: ProducerOptions = workerData;
try {
  const producer = await openProducer(options, openDataset);
  let last: Promise<void> = Promise.resolve();
  let failed = false;
  port.on('message', () => {
    last = last
      .then(() => (failed ? undefined : produce(producer)))
      .catch(thrown => {
        failed = true;
        report(thrown);
      });
  });
  send({ kind: 'ready' });
} catch (thrown) {
  report(thrown);
}
