/** What the sides of the benchmark of decoding are asked, and answer. */
import { z } from 'zod';

export const decodeRequest = z.discriminatedUnion('do', [
  /** Writes the weights into a folder for the Python side. */
  z.object({ do: z.literal('write'), folder: z.string() }),
  /** Reads the prompt and decodes once; which tokens come, and how long each took. */
  z.object({ do: z.literal('run') }),
]);

export const decodeAnswer = z.object({ ids: z.array(z.number()), seconds: z.number() });
