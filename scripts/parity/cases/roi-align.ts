import { z } from 'zod';
import * as tf from '../../../src/engine/tf.ts';
import { roiAlign } from '../../../src/nn/roi-align.ts';
import { type FixtureCase, input, tensorOf } from '../case.ts';
import { Results } from '../results.ts';

const paramsSchema = z.object({
  params: z.object({
    runs: z.record(
      z.string(),
      z.object({
        output_size: z.tuple([z.number(), z.number()]),
        spatial_scale: z.number(),
        sampling_ratio: z.number(),
        aligned: z.boolean(),
      }),
    ),
  }),
});

/** torchvision's roi_align in several settings: values, and gradients of sum(out · cotangent). */
export function runRoiAlign(fixture: FixtureCase): Results {
  const results = new Results();
  const boxes = input(fixture, 'in.boxes').data;
  for (const [run, spec] of Object.entries(paramsSchema.parse(fixture.rawMeta).params.runs)) {
    tf.tidy(() => {
      const features = tensorOf(input(fixture, 'in.features')) as tf.Tensor4D;
      const cotangent = tensorOf(input(fixture, `in.cotangent.${run}`));
      const pooled = (): tf.Tensor4D =>
        roiAlign(features, boxes, {
          output: spec.output_size,
          scale: spec.spatial_scale,
          samples: spec.sampling_ratio,
          aligned: spec.aligned,
        });
      results.add(`out.${run}`, pooled());
      results.addGradients(() => tf.sum(tf.mul(pooled(), cotangent)), undefined, { features }, `${run}.`);
    });
  }
  return results;
}
