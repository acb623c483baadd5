/** What the sides of the benchmark of steps are asked, and answer. */
import { z } from 'zod';

export const stepRequest = z.discriminatedUnion('do', [
  /** Writes weights and batch into a folder for the Python side. */
  z.object({ do: z.literal('write'), folder: z.string() }),
  /** Runs the first steps from the initial weights. */
  z.object({ do: z.literal('check'), steps: z.number() }),
  /** Runs steps for so many seconds, one at least. */
  z.object({ do: z.literal('time'), seconds: z.number() }),
  /** The speed of the largest matrix product that is quick enough. */
  z.object({ do: z.literal('peak') }),
  z.object({ do: z.literal('memory') }),
]);
export type StepRequest = z.infer<typeof stepRequest>;

export const checkAnswer = z.object({ losses: z.array(z.number()), gradNorm: z.number(), flops: z.number() });
export const timeAnswer = z.object({ seconds: z.number() });
export const peakAnswer = z.object({ flops: z.number() });
export const memoryAnswer = z.object({ bytes: z.number() });
