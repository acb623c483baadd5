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

/** Keys of the configurations of BERT and the Q-Former. */
export const bertBlock = {
  hidden_size: z.number(),
  intermediate_size: z.number(),
  num_hidden_layers: z.number(),
  num_attention_heads: z.number(),
  hidden_act: activation,
  layer_norm_eps: z.number(),
};
