import { z } from 'zod';

/** Activations as Hugging Face configurations spell them. */
export const activation = z.enum(['quick_gelu', 'gelu', 'gelu_new', 'gelu_pytorch_tanh', 'relu', 'silu']);
