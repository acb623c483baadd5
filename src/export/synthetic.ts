import { patchLayout } from '../data/maps.ts';
import type { ConversationBatch, Floats, Ints } from '../models/batch.ts';
import type { ModelConfig } from '../models/config.ts';
import type { Random } from '../random.ts';

/** How large one sample is. */
export interface SampleSizes {
  /** Positions of the sequence. */
  readonly tokens: number;
  /** 0 for a model that sees the global view only. */
  readonly tiles: number;
  readonly regions: number;
}

/**
 * One sample of the given sizes with random numbers in it: no picture and no sentence, but every index is valid, which
 * is all that running a network takes.
 */
export function syntheticBatch(model: ModelConfig, sizes: SampleSizes, random: Random): ConversationBatch {
  const { tokens, tiles, regions } = sizes;
  const { globalCount, tileCount } = patchLayout(model);
  const { points, blocks } = model.sampler;
  const { side } = model.image;
  const ints = (shape: readonly number[], high: number): Ints => ({
    data: Int32Array.from({ length: product(shape) }, () => random.int(0, high)),
    shape,
  });
  const floats = (shape: readonly number[]): Floats => ({
    data: Float32Array.from({ length: product(shape) }, () => random.uniform(0, 1)),
    shape,
  });
  const [globalRows, localRows] = [globalCount, tiles * tileCount];
  const tableRows = tokens + globalRows + localRows + regions;
  return {
    kind: 'conversation',
    size: 1,
    length: tokens,
    sampleIds: ['synthetic'],
    tokens: ints([1, tokens], model.llm.vocab_size),
    mask: { data: new Int32Array(tokens).fill(1), shape: [1, tokens] },
    source: ints([tokens], tableRows + 1),
    sourceInverse: ints([tableRows + 1], tokens + 1),
    globalPixels: floats([1, 3, side, side]),
    localPixels: floats([tiles, 3, side, side]),
    localCentres: floats([localRows, 2]),
    regions: {
      count: regions,
      globalRows: ints([regions, points, 4], globalRows + 1),
      globalWeights: floats([regions, points, 4]),
      localRows: ints([regions, points, 4], localRows + 1),
      localWeights: floats([regions, points, 4]),
      points: floats([regions, points, 2]),
      anchors: blocks.map((block, b) => ints([regions, block.points], blocks[b - 1]?.points ?? points)),
      neighbors: blocks.map((block, b) =>
        ints([regions, block.points, block.neighbors], blocks[b - 1]?.points ?? points),
      ),
    },
    targetRows: ints([0], 1),
    targets: ints([0], 1),
    targetWeights: floats([0]),
  };
}

function product(shape: readonly number[]): number {
  return shape.reduce((n, length) => n * length, 1);
}
