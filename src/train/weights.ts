import * as tf from '../engine/tf.ts';
import { ownValues } from '../engine/values.ts';
import { GroundError } from '../errors.ts';
import { initialValues } from '../nn/init.ts';
import type { Parameter, ParameterTree } from '../nn/parameter.ts';
import { adaptedLayer } from './adapters.ts';
import type { NamedArray, NamedArraySource } from './checkpoint.ts';
import type { ParameterBank } from './freeze.ts';
import type { BankState } from './optimizer.ts';
import { lies } from './patterns.ts';

/**
 * Gives every parameter the values of the same name. Names and shapes must match exactly: throws GroundError('model')
 * that lists what is missing, unexpected or misshapen, before any value is changed.
 *
 * @param source where the arrays come from, for the message
 */
export function loadWeights(
  tree: ParameterTree,
  arrays: ReadonlyMap<string, NamedArray>,
  source: string,
): void {
  requireSameModel(tree, arrays, source);
  for (const p of tree.all) {
    p.assign(tf.tensor((arrays.get(p.name) as NamedArray).data, [...p.shape], 'float32'));
  }
}

/** As `loadWeights`, from values that are made one after the other when their turn comes. */
export async function takeWeights(
  tree: ParameterTree,
  sources: ReadonlyMap<string, WeightSource>,
  source: string,
): Promise<void> {
  requireSameModel(tree, sources, source);
  for (const p of tree.all) {
    p.assign(tf.tensor((sources.get(p.name) as WeightSource).data(), [...p.shape], 'float32'));
  }
}

/** Values that are made when they are wanted, new ones each time. */
export interface WeightSource {
  readonly shape: readonly number[];
  readonly data: () => Float32Array;
}

/** Random values for every parameter, each from its own stream (seed, its name). */
export function randomWeights(tree: ParameterTree, seed: number): Map<string, WeightSource> {
  return new Map(tree.all.map(p => [p.name, { shape: p.shape, data: () => initialValues(p, seed) }]));
}

/** Values that were read already. */
export function readWeights(arrays: ReadonlyMap<string, NamedArray>): Map<string, WeightSource> {
  // Copied: two tensors on one memory would be one input of a recorded step.
  return new Map([...arrays].map(([name, { shape, data }]) => [name, { shape, data: () => data.slice() }]));
}

/**
 * Weights with those below `group` replaced by random ones; what only the checkpoint has there is dropped. Throws
 * GroundError('config') where the model has no such parameters.
 */
export function resetGroup(
  weights: ReadonlyMap<string, WeightSource>,
  random: ReadonlyMap<string, WeightSource>,
  group: string,
): Map<string, WeightSource> {
  const anew = [...random].filter(([name]) => lies(name, group));
  if (anew.length === 0) {
    throw new GroundError('config', `reset: "${group}" matches no parameter of the model`);
  }
  return new Map([...[...weights].filter(([name]) => !lies(name, group)), ...anew]);
}

function requireSameModel(
  tree: ParameterTree,
  arrays: ReadonlyMap<string, { readonly shape: readonly number[] }>,
  source: string,
): void {
  const missing = tree.all.filter(p => !arrays.has(p.name)).map(p => p.name);
  const unexpected = [...arrays.keys()].filter(name => !tree.get(name));
  const misshapen = tree.all.flatMap(p => {
    const found = arrays.get(p.name);
    return found && found.shape.join() !== p.shape.join()
      ? [`${p.name} [${found.shape}], not [${p.shape}]`]
      : [];
  });
  if (missing.length + unexpected.length + misshapen.length > 0) {
    const parts = [
      describe('missing', missing),
      describe('unexpected', unexpected),
      describe('misshapen', misshapen),
    ];
    const groups = [...new Set([...missing, ...unexpected, ...misshapen].map(name => name.split('.', 1)[0]))];
    throw new GroundError(
      'model',
      `${source} holds another model than the recipe describes: ${parts.filter(Boolean).join('; ')}`,
      {
        hint:
          'use the model.yaml that the checkpoint was trained with, or start a new run (--run NAME); a stage that starts from it ' +
          `begins with random weights where it says reset: [${groups.join(', ')}]`,
      },
    );
  }
}

function describe(what: string, names: readonly string[]): string {
  if (names.length === 0) return '';
  const more = names.length > 4 ? `, … (${names.length} in all)` : '';
  return `${what}: ${names.slice(0, 4).join(', ')}${more}`;
}

/** Parameters by name, each read from the engine only when it is written. */
export function weightSources(parameters: readonly Parameter[]): Map<string, NamedArraySource> {
  return new Map(parameters.map(p => [p.name, { shape: p.shape, data: () => ownValues(p.value) }]));
}

/** Values of its own for every tensor, so that training may go on while they are written. Fetched ones are that already. */
export async function snapshot(
  sources: ReadonlyMap<string, NamedArraySource>,
): Promise<Map<string, NamedArraySource>> {
  const copies = new Map<string, NamedArraySource>();
  for (const [name, { data, ...rest }] of sources) {
    if (typeof data === 'function') {
      copies.set(name, { ...rest, data: await data() });
    } else {
      const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength).slice();
      copies.set(name, { ...rest, data: bytes });
    }
  }
  return copies;
}

/**
 * Weights in which the parameters below `to` have the values of those below `from`. Throws GroundError('config') when the
 * two do not have the same shapes.
 */
export function copyGroup(
  tree: ParameterTree,
  weights: ReadonlyMap<string, WeightSource>,
  from: string,
  to: string,
): Map<string, WeightSource> {
  const own = (p: Parameter): boolean => adaptedLayer(p.name) === undefined;
  const sources = tree.under(from).filter(own);
  const targets = tree.under(to).filter(own);
  const tail = (p: Parameter, prefix: string): string => p.name.slice(prefix.length);
  const byTail = new Map(sources.map(p => [tail(p, from), p]));
  if (sources.length === 0 || targets.length !== sources.length) {
    throw new GroundError(
      'config',
      `copy: "${from}" has ${sources.length} tensors, "${to}" ${targets.length}`,
      {
        hint: 'a group can start only as a copy of one with the same parameters',
      },
    );
  }
  const copied = new Map(weights);
  for (const target of targets) {
    const source = byTail.get(tail(target, to));
    if (!source || source.shape.join() !== target.shape.join()) {
      throw new GroundError(
        'config',
        `copy: ${target.name} [${target.shape}] has no counterpart of its shape in "${from}"` +
          (source ? ` (${source.name} is [${source.shape}])` : ''),
        { hint: 'both encoders must have the same hidden_size for their projectors to be copied' },
      );
    }
    const values = weights.get(source.name);
    if (values) copied.set(target.name, values);
  }
  return copied;
}

/**
 * AdamW's moments by parameter name, as a checkpoint keeps them; `moment` picks m or v. A bank is read from the engine as
 * a whole, when the first of it is wanted; its moments share that memory.
 */
export function momentSources(
  banks: readonly ParameterBank[],
  states: readonly BankState[],
  moment: 'm' | 'v',
): Map<string, NamedArraySource> {
  const sources = new Map<string, NamedArraySource>();
  for (const [i, bank] of banks.entries()) {
    const state = states[i];
    let flat: Float32Array | undefined;
    const values = (): Float32Array => {
      flat ??= state ? ownValues(state[moment]) : new Float32Array();
      return flat;
    };
    let offset = 0;
    for (const { name, shape, size } of bank.parameters) {
      const begin = offset;
      sources.set(name, { shape, data: () => values().subarray(begin, begin + size) });
      offset += size;
    }
  }
  return sources;
}

/** The reverse of `momentSources` for both moments. Throws GroundError('checkpoint') where a parameter has none. */
export function bankStates(
  banks: readonly ParameterBank[],
  optimizer: { readonly m: ReadonlyMap<string, NamedArray>; readonly v: ReadonlyMap<string, NamedArray> },
): BankState[] {
  return banks.map(bank => ({ m: joinMoments(bank, optimizer.m), v: joinMoments(bank, optimizer.v) }));
}

function joinMoments(bank: ParameterBank, arrays: ReadonlyMap<string, NamedArray>): tf.Tensor1D {
  const flat = new Float32Array(bank.parameters.reduce((n, p) => n + p.size, 0));
  let offset = 0;
  for (const p of bank.parameters) {
    const array = arrays.get(p.name);
    if (!array) {
      throw new GroundError(
        'checkpoint',
        `the checkpoint has no optimizer state for ${p.name}, which trains`,
        {
          hint: 'the `train` list has changed since; start the stage over with --fresh',
        },
      );
    }
    flat.set(array.data, offset);
    offset += p.size;
  }
  return tf.tensor1d(flat);
}
