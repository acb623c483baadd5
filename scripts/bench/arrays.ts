/** Arrays for the Python side: one file of numbers and one that says what lies where. */
import { closeSync, openSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import type { ConversationBatch } from '../../src/models/batch.ts';
import type { ModelConfig } from '../../src/models/config.ts';
import type { Ferret } from '../../src/models/ferret.ts';

export interface NumberArray {
  readonly data: Float32Array | Int32Array;
  readonly shape: readonly number[];
}

/** Writes `folder`/`name`.bin and `folder`/`name`.json, arrays one after another. */
export function writeArrays(
  folder: string,
  name: string,
  arrays: Iterable<readonly [string, NumberArray]>,
): void {
  const index: Record<string, object> = {};
  const file = openSync(join(folder, `${name}.bin`), 'w');
  let offset = 0;
  for (const [key, { data, shape }] of arrays) {
    index[key] = { dtype: data instanceof Float32Array ? 'float32' : 'int32', shape, offset };
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    for (let at = 0; at < bytes.length; ) at += writeSync(file, bytes, at);
    offset += bytes.length;
  }
  closeSync(file);
  writeFileSync(join(folder, `${name}.json`), JSON.stringify(index));
}

/** The weights of a model by their names. */
export function* weightArrays(model: Ferret): Generator<readonly [string, NumberArray]> {
  for (const { name, value, shape } of model.parameters.all) {
    yield [name, { data: value.dataSync<'float32'>(), shape }];
  }
}

/** What the Python side reads of a batch; positions of the sequence stand in the order of the table of visual rows. */
export function* batchArrays(
  batch: ConversationBatch,
  config: ModelConfig,
): Generator<readonly [string, NumberArray]> {
  yield ['tokens', batch.tokens];
  yield ['global_pixels', batch.globalPixels];
  yield ['local_pixels', batch.localPixels];
  yield ['local_centres', batch.localCentres];
  const visual = batch.sourceInverse.data.subarray(batch.size * batch.length, -1);
  yield ['visual_positions', { data: visual, shape: [visual.length] }];
  yield ['target_rows', batch.targetRows];
  yield ['targets', batch.targets];
  const { regions } = batch;
  yield ['global_rows', regions.globalRows];
  yield ['global_weights', regions.globalWeights];
  yield ['local_rows', regions.localRows];
  yield ['local_weights', regions.localWeights];
  yield ['points', regions.points];
  for (const i of config.sampler.blocks.keys()) {
    const [anchors, neighbors] = [regions.anchors[i], regions.neighbors[i]];
    if (anchors && neighbors)
      yield* [[`anchors_${i}`, anchors] as const, [`neighbors_${i}`, neighbors] as const];
  }
}
