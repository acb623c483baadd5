import { z } from 'zod';
import * as tf from '../../../src/engine/tf.ts';
import { type BlockGeometry, RegionSampler } from '../../../src/models/sampler.ts';
import { ParameterTree } from '../../../src/nn/parameter.ts';
import { weightedRows } from '../../../src/nn/pooling.ts';
import { type FixtureCase, input, tensorOf } from '../case.ts';
import { loadWeights, Results } from '../results.ts';
import { blocksGeometry } from './sampler-geometry.ts';

const samplerConfig = z.object({
  input_dim: z.number(),
  output_dim: z.number(),
  num_init_point: z.number(),
  num_sub_point: z.array(z.number()),
  num_neighbor: z.array(z.number()),
  pooler_mode: z.enum(['max', 'mean']),
});

/** Ferret's GeoRegionSampler: sampling, farthest points, neighbours, every stage, regions and gradients. */
export function runSampler(fixture: FixtureCase): Results {
  const config = samplerConfig.parse(fixture.config);
  const blocks = config.num_sub_point.map((points, i) => ({
    points,
    neighbors: config.num_neighbor[i] ?? 0,
  }));
  const results = new Results();
  const tree = new ParameterTree();
  const sampler = new RegionSampler(
    tree.root,
    { points: config.num_init_point, blocks, pooling: config.pooler_mode },
    config.input_dim,
    config.output_dim,
  );
  loadWeights(tree, fixture);
  const corners = imageCorners(fixture, config.input_dim);
  const regions = corners.points.length / 2 / config.num_init_point;
  tf.tidy(() => {
    const geometry = blocksGeometry(fixture, corners.points, blocks, results);
    const maps = corners.images.map(i => tensorOf(input(fixture, `in.feature_map.${i}`)));
    const rows = tf.tensor2d(corners.rows, [corners.rows.length / 4, 4], 'int32');
    const weights = tf.tensor2d(corners.weights, [rows.shape[0], 4]);
    const cotangent = tf.concat(
      corners.images.map(i => tensorOf(input(fixture, `in.cotangent.${i}`)) as tf.Tensor2D),
      0,
    );
    const sampled = (): tf.Tensor2D => {
      const table = tf.concat(maps.map(map => tf.reshape(map, [-1, config.input_dim])) as tf.Tensor2D[], 0);
      return weightedRows(table, rows, weights);
    };
    const stages = sampler.stages(sampled(), geometry);
    for (const [s, block] of sampler.blocks.entries()) {
      if (!fixture.io.has(`out.stage${s}.agg`)) continue;
      const pool = stages[s - 1] ?? sampled();
      const own = geometry[s] as BlockGeometry;
      const placed = tf.concat([pool, own.points], 1);
      const anchors = tf.gather(placed, own.anchors);
      const [count, k] = own.neighbors.shape;
      results.add(`out.stage${s}.diff`, block.differences(placed, anchors, own.neighbors), [
        regions,
        count / regions,
        k,
        config.input_dim + 2,
      ]);
      const fused = block.aggregated(pool, own);
      results.add(`out.stage${s}.agg`, tf.transpose(fused, [0, 2, 1]));
    }
    for (const [s, features] of stages.entries()) {
      results.add(`out.stage${s}.features`, tf.clone(features), [
        regions,
        blocks[s]?.points ?? 0,
        config.input_dim,
      ]);
    }
    const flat = sampler.flat(stages[stages.length - 1] as tf.Tensor2D, regions);
    results.add('out.flat', tf.clone(flat));
    const vectors = sampler.project(flat);
    let at = 0;
    for (const i of corners.images) {
      const own = input(fixture, `in.cotangent.${i}`).shape[0] ?? 0;
      results.add(`out.region.${i}`, tf.slice(vectors, [at, 0], [own, -1]));
      at += own;
    }
    results.add('out.sampled_features', sampled(), [regions, config.num_init_point, config.input_dim]);
    results.addGradients(
      () => tf.sum(tf.mul(sampler.apply(sampled(), regions, geometry), cotangent)),
      tree,
      Object.fromEntries(corners.images.map((i, k) => [`feature_map.${i}`, maps[k] as tf.Tensor])),
    );
  });
  tree.dispose();
  return results;
}

/** Rows and bilinear weights of all points, images with regions one after another; coordinate 0 of a point runs along rows. */
function imageCorners(fixture: FixtureCase, width: number) {
  const images: number[] = [];
  const points: number[] = [];
  const rows: number[] = [];
  const weights: number[] = [];
  let first = 0;
  for (let i = 0; fixture.io.has(`in.feature_map.${i}`); i++) {
    const own = fixture.io.get(`in.points.${i}`);
    if (own === undefined) continue;
    const map = input(fixture, `in.feature_map.${i}`);
    const side = Math.sqrt(map.data.length / width);
    const [height = 0, breadth = 0] = map.shape.length === 3 ? map.shape : [side, side];
    images.push(i);
    points.push(...own.data);
    for (let p = 0; p < own.data.length; p += 2) {
      const y = (own.data[p] ?? 0) * (height - 1);
      const x = (own.data[p + 1] ?? 0) * (breadth - 1);
      const [top, left] = [Math.floor(y), Math.floor(x)];
      for (const [r, c] of [
        [0, 0],
        [0, 1],
        [1, 0],
        [1, 1],
      ] as const) {
        const [row, column] = [Math.min(top + r, height - 1), Math.min(left + c, breadth - 1)];
        rows.push(first + row * breadth + column);
        weights.push(Math.abs(1 - r - (y - top)) * Math.abs(1 - c - (x - left)));
      }
    }
    first += height * breadth;
  }
  return {
    images,
    points: Float32Array.from(points),
    rows: Int32Array.from(rows),
    weights: Float32Array.from(weights),
  };
}
