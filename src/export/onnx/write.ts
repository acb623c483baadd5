import { join } from 'node:path';
import { type Sink, writeStream } from '../../atomic.ts';
import { GroundError } from '../../errors.ts';
import type { OnnxGraph, OnnxInitializer } from './builder.ts';
import { type ExternalPlan, planExternalData } from './external.ts';
import { bytesOfInitializer, encodeModel, type ModelDescription } from './model.ts';

export const MODEL_FILE = 'model.onnx';

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
 * Writes `file` and, for tensors beyond a kilobyte, `file`_data into `folder`, which exists and which nobody reads yet
 * (`writeDirectoryAtomic`). One tensor at a time is in memory.
 */
export async function writeOnnx(
  folder: string,
  graph: OnnxGraph,
  description: ModelDescription,
  file: string = MODEL_FILE,
): Promise<WrittenModel> {
  const dataFile = `${file}_data`;
  const sizes = graph.initializers.map(i => ({ name: i.name, bytes: bytesOfInitializer(i) }));
  const plan = planExternalData(sizes);
  const model = encodeModel(graph, plan, dataFile, description);
  if (plan.places.size > 0) {
    await writeStream(join(folder, dataFile), sink => writeTensors(sink, graph.initializers, plan));
  }
  await writeStream(join(folder, file), sink => sink(model));
  return {
    nodes: graph.nodes.length,
    parameters: graph.initializers.reduce((sum, i) => sum + i.shape.reduce((p, n) => p * n, 1), 0),
    modelBytes: model.length,
    dataBytes: plan.size,
  };
}

/** Writes each tensor that has a place, and the gaps that alignment leaves. */
export async function writeTensors(
  sink: Sink,
  tensors: readonly OnnxInitializer[],
  plan: ExternalPlan,
): Promise<void> {
  let position = 0n;
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
    if (place.offset > position) await sink(new Uint8Array(Number(place.offset - position)));
    await sink(bytes);
    position = place.offset + place.length;
  }
}
