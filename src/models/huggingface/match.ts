import { GroundError } from '../../errors.ts';
import { isFloating } from '../dtypes.ts';
import type { TensorInfo } from '../safetensors.ts';
import { canonicalName, type FolderName, isLeftBehind, type Leftovers, placeOf } from './names.ts';

/** A parameter that is looked for: its full name here and its shape. */
export interface Wanted {
  readonly name: string;
  readonly shape: readonly number[];
}

/** What a folder has of what is wanted. */
export interface Match {
  /** Stored name of each parameter that was found with its shape. */
  readonly found: ReadonlyMap<string, string>;
  /** Names as the folder would have them. */
  readonly missing: readonly string[];
  readonly unexpected: readonly string[];
  /** "name [stored shape], not [wanted shape]". */
  readonly misshapen: readonly string[];
  /** Tensors that are known and not needed. */
  readonly leftBehind: readonly string[];
}

/**
 * Compares the parameters that belong to a folder with the tensors it holds. A parameter whose name is in `rows` may
 * have fewer rows stored than wanted: that many. Throws GroundError('model') on a tensor of integers where weights are
 * wanted.
 *
 * @param fileOf the file of a stored tensor, for messages
 */
export function matchTensors(
  folder: FolderName,
  wanted: readonly Wanted[],
  stored: ReadonlyMap<string, TensorInfo>,
  options: {
    readonly leftovers: Leftovers;
    readonly rows: ReadonlyMap<string, number>;
    readonly fileOf: (name: string) => string;
  },
): Match {
  const byName = new Map([...stored.keys()].map(name => [canonicalName(folder, name), name]));
  const found = new Map<string, string>();
  const missing: string[] = [];
  const misshapen: string[] = [];
  for (const { name, shape } of wanted) {
    const place = placeOf(name);
    const at = byName.get(place.name);
    const info = at === undefined ? undefined : stored.get(at);
    if (at === undefined || info === undefined) {
      missing.push(place.name);
      continue;
    }
    byName.delete(place.name);
    const expected = [options.rows.get(name) ?? shape[0], ...shape.slice(1)].slice(0, shape.length);
    if (info.shape.join() !== expected.join()) {
      misshapen.push(`${at} [${info.shape}], not [${expected}]`);
    } else if (!isFloating(info.dtype)) {
      throw new GroundError(
        'model',
        `tensor ${at} of ${options.fileOf(at)} is ${info.dtype}, where floating-point values are needed`,
        { hint: 'quantised weights are not read: give the folder of the original F32, F16 or BF16 weights' },
      );
    } else {
      found.set(name, at);
    }
  }
  const rest = [...byName];
  const left = ([name]: readonly [string, string]): boolean => isLeftBehind(folder, name, options.leftovers);
  return {
    found,
    missing,
    misshapen,
    unexpected: rest.filter(entry => !left(entry)).map(([, at]) => at),
    leftBehind: rest.filter(left).map(([, at]) => at),
  };
}
