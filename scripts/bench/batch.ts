/** A batch of given shapes: numbers at random, every row full, images before text. */
import type { ConversationBatch, Floats, Ints } from '../../src/models/batch.ts';
import type { ModelConfig } from '../../src/models/config.ts';
import { gridCentres } from '../../src/models/positions.ts';
import { Random } from '../../src/random.ts';
import type { StageShape } from './shapes.ts';

/** Patches of a view. */
function patchesOf(config: ModelConfig, encoder: 'global_encoder' | 'local_encoder'): number {
  return (config.image.side / config[encoder].patch_size) ** 2;
}

/** Row b holds its image's global patches, its share of the tiles and regions, then text, of which the end is supervised. */
export function makeBatch(config: ModelConfig, shape: StageShape, seed: number): ConversationBatch {
  const { samples, length, tiles, regions, targets } = shape;
  const random = new Random(seed, 'bench batch');
  const [perView, perTile] = [patchesOf(config, 'global_encoder'), patchesOf(config, 'local_encoder')];
  const globalStart = samples * length;
  const localStart = globalStart + samples * perView;
  const regionStart = localStart + tiles * perTile;
  const zeroRow = regionStart + regions;
  const source = new Int32Array(samples * length);
  const inverse = new Int32Array(zeroRow + 1).fill(samples * length);
  const tokens = new Int32Array(samples * length);
  const share = (count: number, b: number): number[] =>
    Array.from({ length: count / samples }, (_, i) => (b * count) / samples + i);
  for (let b = 0; b < samples; b++) {
    let position = b * length;
    const put = (row: number): void => {
      source[position] = row;
      inverse[row] = position++;
    };
    for (let i = 0; i < perView; i++) put(globalStart + b * perView + i);
    for (const tile of share(tiles, b)) {
      for (let i = 0; i < perTile; i++) put(localStart + tile * perTile + i);
    }
    for (const region of share(regions, b)) put(regionStart + region);
    while (position < (b + 1) * length) {
      tokens[position] = random.int(0, config.llm.vocab_size);
      put(position);
    }
  }
  const perRow = targets / samples;
  const targetRows = Int32Array.from({ length: targets }, (_, i) => {
    const row = Math.floor(i / perRow);
    return (row + 1) * length - perRow + (i % perRow) - 1;
  });
  const { side } = config.image;
  return {
    kind: 'conversation',
    size: samples,
    length,
    sampleIds: Array.from({ length: samples }, (_, b) => `bench:${b}`),
    tokens: { data: tokens, shape: [samples, length] },
    mask: { data: new Int32Array(samples * length).fill(1), shape: [samples, length] },
    source: { data: source, shape: [source.length] },
    sourceInverse: { data: inverse, shape: [inverse.length] },
    globalPixels: floats([samples, 3, side, side], () => random.normal()),
    localPixels: floats([tiles, 3, side, side], () => random.normal()),
    localCentres: {
      data: gridCentres(
        { rows: side / config.local_encoder.patch_size, columns: side / config.local_encoder.patch_size },
        tiles,
      ),
      shape: [tiles * perTile, 2],
    },
    regions: makeRegions(config, regions, { global: samples * perView, local: tiles * perTile }, random),
    targetRows: { data: targetRows, shape: [targets] },
    targets: ints([targets], () => random.int(0, config.llm.vocab_size)),
    targetWeights: floats([targets], () => 1),
  };
}

function makeRegions(
  { sampler }: ModelConfig,
  count: number,
  rows: { readonly global: number; readonly local: number },
  random: Random,
): ConversationBatch['regions'] {
  const corners = [count, sampler.points, 4];
  let pool = sampler.points;
  const anchors: Ints[] = [];
  const neighbors: Ints[] = [];
  for (const block of sampler.blocks) {
    const from = pool;
    anchors.push(ints([count, block.points], () => random.int(0, from)));
    neighbors.push(ints([count, block.points, block.neighbors], () => random.int(0, from)));
    pool = block.points;
  }
  return {
    count,
    globalRows: ints(corners, () => random.int(0, rows.global)),
    globalWeights: floats(corners, () => 0.25 * random.next()),
    localRows: ints(corners, () => random.int(0, rows.local)),
    localWeights: floats(corners, () => 0.25 * random.next()),
    points: floats([count, sampler.points, 2], () => random.next()),
    anchors,
    neighbors,
  };
}

function sizeOf(shape: readonly number[]): number {
  return shape.reduce((product, n) => product * n, 1);
}

function floats(shape: readonly number[], value: () => number): Floats {
  return { data: Float32Array.from({ length: sizeOf(shape) }, value), shape };
}

function ints(shape: readonly number[], value: () => number): Ints {
  return { data: Int32Array.from({ length: sizeOf(shape) }, value), shape };
}
