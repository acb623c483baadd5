import { gatherRows } from '../engine/ops.ts';
import * as tf from '../engine/tf.ts';
import { relu } from '../nn/activation.ts';
import { Linear } from '../nn/linear.ts';
import { LayerNorm } from '../nn/norm.ts';
import type { Scope } from '../nn/parameter.ts';
import { maxPool, meanPool } from '../nn/pooling.ts';
import type { SamplerConfig } from './config.ts';
import { torchDefaults } from './projector.ts';

/** Which points one block keeps and what they look at, as rows of the flattened pool [regions · pool]. */
export interface BlockGeometry {
  /** Positions of the pool, 0..1 [regions · pool, 2]. */
  readonly points: tf.Tensor2D;
  /** The kept points, int32 [regions · n]. */
  readonly anchors: tf.Tensor1D;
  /** Their nearest points, the anchor included, int32 [regions · n, k]. */
  readonly neighbors: tf.Tensor2D;
}

/**
 * One block of the sampler: neighbours fused into anchors, LayerNorm(ReLU(σ[θ(l - a); a])) for neighbour l and anchor a,
 * both features with their point appended, and pooled.
 */
class SamplerBlock {
  readonly #theta: Linear;
  readonly #sigma: Linear;
  readonly #norm: LayerNorm;
  readonly #pool: (x: tf.Tensor3D) => tf.Tensor2D;
  readonly #width: number;

  constructor(scope: Scope, index: number, width: number, pooling: SamplerConfig['pooling']) {
    const placed = width + 2;
    this.#width = width;
    this.#pool = pooling === 'max' ? maxPool : meanPool;
    this.#theta = new Linear(scope.at(`diff_projector_list.${index}`), placed, placed, torchDefaults(placed));
    const aggregate = scope.at(`agg_projector_list.${index}`);
    this.#sigma = new Linear(aggregate.at('net.0'), 2 * placed, width, {
      ...torchDefaults(2 * placed),
      storedShape: [width, 2 * placed, 1],
    });
    this.#norm = new LayerNorm(aggregate.at('norm'), width, 1e-5);
  }

  /** Features of the pool [regions · pool, width] -> of the anchors [regions · n, width]. */
  apply(features: tf.Tensor2D, geometry: BlockGeometry): tf.Tensor2D {
    return tf.tidy(() => this.#pool(this.aggregated(features, geometry)));
  }

  /** θ(l - a), the difference of every neighbour from its anchor, projected, [regions · n · k, width + 2]. */
  differences(pool: tf.Tensor2D, anchors: tf.Tensor2D, neighbors: tf.Tensor2D): tf.Tensor2D {
    const [count, k] = neighbors.shape;
    const placed = this.#width + 2;
    const difference = tf.sub(gatherRows(pool, neighbors), tf.reshape(anchors, [count, 1, placed]));
    return this.#theta.apply(tf.reshape(difference, [count * k, placed]));
  }

  /** What is pooled: every neighbour fused with its anchor, [regions · n, k, width]. */
  aggregated(features: tf.Tensor2D, geometry: BlockGeometry): tf.Tensor3D {
    return tf.tidy(() => {
      const width = this.#width;
      const [count, k] = geometry.neighbors.shape;
      const pool = tf.concat([features, geometry.points], 1);
      const anchors = gatherRows(pool, geometry.anchors) as tf.Tensor2D;
      // σ[u; a] is the sum of a product with u and one with a, which is the same for all neighbours of an anchor.
      const [ofDifference, ofAnchor] = tf.split(this.#sigma.matrix, 2, 1) as [tf.Tensor2D, tf.Tensor2D];
      const fromAnchor = tf.add(tf.matMul(anchors, ofAnchor, false, true), this.#sigma.bias as tf.Tensor1D);
      const fromDifference = tf.matMul(
        this.differences(pool, anchors, geometry.neighbors),
        ofDifference,
        false,
        true,
      );
      const both = tf.add(
        tf.reshape(fromDifference, [count, k, width]),
        tf.reshape(fromAnchor, [count, 1, width]),
      );
      const normed = this.#norm.apply(tf.reshape(relu(both), [count * k, width]));
      return tf.reshape(normed, [count, k, width]);
    });
  }
}

/** What turns the features at a region's points into one vector for the language model. */
export interface RegionPooling {
  /** One vector a region [regions, outputs], from features at its initial points [regions · points, width]. */
  apply(features: tf.Tensor2D, regions: number, geometry: readonly BlockGeometry[]): tf.Tensor2D;
}

/** The pooling that a configuration asks for. `width` of the maps, `outputs` of the language model. */
export function regionPooling(
  scope: Scope,
  config: SamplerConfig,
  width: number,
  outputs: number,
): RegionPooling {
  return config.kind === 'average'
    ? new RegionAverage(scope, width, outputs)
    : new RegionSampler(scope, config, width, outputs);
}

/**
 * What Ferret compares its sampler with (arXiv 2310.07704, its ablation; `region_fea_adapter` in the code): the mean of the
 * features at a region's points, projected. Where the points lie is lost.
 */
export class RegionAverage implements RegionPooling {
  readonly #adapter: Linear;

  constructor(scope: Scope, width: number, outputs: number) {
    this.#adapter = new Linear(scope.at('region_fea_adapter'), width, outputs, torchDefaults(width));
  }

  apply(features: tf.Tensor2D, regions: number): tf.Tensor2D {
    return tf.tidy(() => {
      const [rows, width] = features.shape;
      return this.#adapter.apply(meanPool(tf.reshape(features, [regions, rows / regions, width])));
    });
  }
}

/**
 * Ferret's spatial-aware visual sampler (arXiv 2310.07704 §3.2; names of its `GeoRegionSampler`): points of a region with
 * their features, pooled block by block into one vector for the language model.
 */
export class RegionSampler implements RegionPooling {
  readonly blocks: readonly SamplerBlock[];
  readonly #flatten: Linear;
  readonly #output: Linear;

  /** `width` of the maps, `outputs` of the language model. */
  constructor(scope: Scope, config: SamplerConfig, width: number, outputs: number) {
    this.blocks = config.blocks.map((_, i) => new SamplerBlock(scope, i, width, config.pooling));
    const last = config.blocks[config.blocks.length - 1]?.points ?? config.points;
    this.#flatten = new Linear(
      scope.at('flatten_projector'),
      last * width,
      width,
      torchDefaults(last * width),
    );
    this.#output = new Linear(scope.at('dim_projector'), width, outputs, torchDefaults(width));
  }

  /** Features of the anchors after each block, from features at the initial points [regions · points, width]. */
  stages(features: tf.Tensor2D, geometry: readonly BlockGeometry[]): tf.Tensor2D[] {
    const stages: tf.Tensor2D[] = [];
    let pool = features;
    for (const [i, block] of this.blocks.entries()) {
      pool = block.apply(pool, geometry[i] as BlockGeometry);
      stages.push(pool);
    }
    return stages;
  }

  /** All anchors of a region side by side, projected to the map's width: [regions · n, width] -> [regions, width]. */
  flat(anchors: tf.Tensor2D, regions: number): tf.Tensor2D {
    const [rows, width] = anchors.shape;
    return this.#flatten.apply(tf.reshape(anchors, [regions, (rows / regions) * width]));
  }

  apply(features: tf.Tensor2D, regions: number, geometry: readonly BlockGeometry[]): tf.Tensor2D {
    const stages = this.stages(features, geometry);
    return this.project(this.flat(stages[stages.length - 1] ?? features, regions));
  }

  /** The last projection, [regions, width] -> [regions, outputs]. */
  project(flat: tf.Tensor2D): tf.Tensor2D {
    return this.#output.apply(flat);
  }
}
