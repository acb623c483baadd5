/** What the sides of the benchmark of attention are asked, and answer. */
import { z } from 'zod';

export const attentionRequest = z.discriminatedUnion('do', [
  /** Runs once; the memory that this took at most beside inputs and outputs held before, and the sum of all squares of the gradients. */
  z.object({ do: z.literal('first') }),
  /** Runs forward and backward for so many seconds. */
  z.object({ do: z.literal('time'), seconds: z.number() }),
]);

export const firstAnswer = z.object({ bytes: z.number(), squares: z.number() });
