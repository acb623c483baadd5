import { Random } from '../random.ts';

/** How a parameter starts. `normal` is N(0, std); `uniform` is U(-bound, bound). */
export type Initializer =
  | { readonly kind: 'zeros' }
  | { readonly kind: 'ones' }
  | { readonly kind: 'constant'; readonly value: number }
  | { readonly kind: 'normal'; readonly std: number }
  | { readonly kind: 'uniform'; readonly bound: number };

export const zeros: Initializer = { kind: 'zeros' };
export const ones: Initializer = { kind: 'ones' };
export const constant = (value: number): Initializer => ({ kind: 'constant', value });
export const normal = (std: number): Initializer => ({ kind: 'normal', std });
export const uniform = (bound: number): Initializer => ({ kind: 'uniform', bound });

/** Initial values of one parameter, from the stream (seed, 'init', its name). */
export function initialValues(
  parameter: { readonly name: string; readonly size: number; readonly initializer: Initializer },
  seed: number,
): Float32Array {
  const values = new Float32Array(parameter.size);
  const init = parameter.initializer;
  switch (init.kind) {
    case 'zeros':
      break;
    case 'ones':
      values.fill(1);
      break;
    case 'constant':
      values.fill(init.value);
      break;
    default: {
      const random = new Random(seed, 'init', parameter.name);
      for (let i = 0; i < values.length; i++) {
        values[i] =
          init.kind === 'normal' ? init.std * random.normal() : random.uniform(-init.bound, init.bound);
      }
    }
  }
  return values;
}
