import { z } from 'zod';

const ALIASES: Readonly<Record<string, string>> = {
  swish: 'silu',
  gelu_python: 'gelu',
  gelu_fast: 'gelu_new',
};

/** Activations as Hugging Face configurations spell them; some have several names. */
export const activation = z.preprocess(
  name => (typeof name === 'string' ? (ALIASES[name] ?? name) : name),
  z.enum(['quick_gelu', 'gelu', 'gelu_new', 'gelu_pytorch_tanh', 'relu', 'silu']),
);
