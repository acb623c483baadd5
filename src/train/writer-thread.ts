/** The thread that writes checkpoints: one for each request, in order. */
import { parentPort } from 'node:worker_threads';
import { GroundError, messageOf } from '../errors.ts';
import { saveCheckpoint } from './checkpoint.ts';
import type { WriteReply, WriteRequest } from './writer.ts';

const port = parentPort;
if (!port) throw new Error('writer-thread.ts runs as a worker thread only');

port.on('message', ({ stageDir, content }: WriteRequest) => {
  const send = (reply: WriteReply): void => port.postMessage(reply);
  saveCheckpoint(stageDir, content).then(
    saved => send({ kind: 'saved', saved }),
    thrown => {
      const known = thrown instanceof GroundError ? thrown : null;
      const hint = known?.hint;
      // Anything but a GroundError is a mistake of ours, which must not look like a full disk.
      send({
        kind: 'error',
        code: known?.code ?? 'train',
        message: messageOf(thrown),
        ...(hint === undefined ? {} : { hint }),
      });
    },
  );
});
