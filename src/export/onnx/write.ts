import { open } from 'node:fs/promises';
import path from 'node:path';
import { GroundError, messageOf } from '../../errors.ts';
import type { OnnxGraph, OnnxInitializer } from './builder.ts';
import { type ExternalPlan, planExternalData } from './external.ts';
import { bytesOfInitializer, encodeModel, type ModelDescription } from './model.ts';

export const MODEL_FILE = 'model.onnx';
export const DATA_FILE = 'model.onnx_data';

/** What was written. */
export interface WrittenModel {
  readonly nodes: number;
  /** Numbers stored as weights and tables. */
  readonly parameters: number;
  readonly modelBytes: number;
  /** Size of the external data file, 0 where there is none. */
  readonly dataBytes: bigint;
}

/**
 * Writes model.onnx and, for tensors beyond a kilobyte, model.onnx_data into `folder`, which exists and which nobody
 * reads yet. One tensor at a time is in memory.
 */
export async function writeOnnx(
  folder: string,
  graph: OnnxGraph,
  description: ModelDescription,
): Promise<WrittenModel> {
  const sizes = graph.initializers.map(i => ({ name: i.name, bytes: bytesOfInitializer(i) }));
  const plan = planExternalData(sizes);
  const bytes = encodeModel(graph, plan, DATA_FILE, description);
  if (plan.places.size > 0) await writeData(path.join(folder, DATA_FILE), graph.initializers, plan);
  await writeWhole(path.join(folder, MODEL_FILE), async write => write(bytes, 0));
  return {
    nodes: graph.nodes.length,
    parameters: graph.initializers.reduce((sum, i) => sum + i.shape.reduce((p, n) => p * n, 1), 0),
    modelBytes: bytes.length,
    dataBytes: plan.size,
  };
}

async function writeData(
  file: string,
  tensors: readonly OnnxInitializer[],
  plan: ExternalPlan,
): Promise<void> {
  await writeWhole(file, async write => {
    for (const tensor of tensors) {
      const place = plan.places.get(tensor.name);
      if (!place) continue;
      const bytes = tensor.read();
      if (BigInt(bytes.length) !== place.length) {
        throw new GroundError(
          'export',
          `${tensor.name} [${tensor.shape}] holds ${bytes.length} bytes, expected ${place.length}`,
        );
      }
      await write(bytes, Number(place.offset));
    }
  });
}

/** Runs `fill` with a function that writes bytes at a position, and flushes to disk. */
async function writeWhole(
  file: string,
  fill: (write: (bytes: Uint8Array, position: number) => Promise<void>) => Promise<void>,
): Promise<void> {
  const handle = await open(file, 'wx');
  try {
    await fill(async (bytes, position) => {
      // One system call writes at most 2 GB.
      for (let done = 0; done < bytes.length; ) {
        const { bytesWritten } = await handle.write(
          bytes,
          done,
          Math.min(bytes.length - done, 2 ** 30),
          position + done,
        );
        done += bytesWritten;
      }
    });
    await handle.sync();
  } catch (thrown) {
    if (thrown instanceof GroundError) throw thrown;
    throw new GroundError('io', `cannot write ${file}: ${messageOf(thrown)}`, { cause: thrown });
  } finally {
    await handle.close();
  }
}
