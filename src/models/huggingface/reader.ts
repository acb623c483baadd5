import { GroundError } from '../../errors.ts';
import type { Activation } from '../config.ts';
import { isJsonObject, type JsonObject } from './folder.ts';

const ACTIVATIONS: readonly Activation[] = [
  'quick_gelu',
  'gelu',
  'gelu_new',
  'gelu_pytorch_tanh',
  'relu',
  'silu',
];

/**
 * Typed access to a config.json whose absent keys have the defaults of its configuration class in transformers. Every
 * method throws GroundError('model') naming file, key and value.
 */
export class ConfigReader {
  readonly #file: string;
  readonly #values: JsonObject;

  constructor(file: string, values: JsonObject) {
    this.#file = file;
    this.#values = values;
  }

  /** The reader of a nested configuration; that of an empty one where it is absent. */
  at(key: string): ConfigReader {
    const value = this.get(key) ?? {};
    if (!isJsonObject(value)) return this.refuse(key, 'an object');
    return new ConfigReader(`${this.#file}, ${key}`, value);
  }

  /** The raw value; null counts as absent, as in transformers. */
  get(key: string): unknown {
    return this.#values[key] ?? undefined;
  }

  whole(key: string, otherwise: number): number {
    const value = this.get(key) ?? otherwise;
    return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0
      ? value
      : this.refuse(key, 'a whole number');
  }

  positive(key: string, otherwise: number): number {
    const value = this.get(key) ?? otherwise;
    return typeof value === 'number' && value > 0 && Number.isFinite(value)
      ? value
      : this.refuse(key, 'a number above 0');
  }

  flag(key: string, otherwise: boolean): boolean {
    const value = this.get(key) ?? otherwise;
    return typeof value === 'boolean' ? value : this.refuse(key, 'true or false');
  }

  activation(key: string, otherwise: Activation): Activation {
    const value = this.get(key) ?? otherwise;
    return ACTIVATIONS.find(name => name === value) ?? this.refuse(key, `one of ${ACTIVATIONS.join(', ')}`);
  }

  /** Throws unless `key` is absent or has the only value that the network here supports. */
  only(key: string, supported: unknown, why: string): void {
    const value = this.get(key);
    if (value !== undefined && value !== supported) this.refuse(key, `${JSON.stringify(supported)}: ${why}`);
  }

  refuse(key: string, expected: string): never {
    const found = JSON.stringify(this.#values[key]);
    throw new GroundError('model', `${this.#file}: ${key} is ${found}, expected ${expected}`, {
      hint: 'only the networks that docs/huggingface.md lists can be imported',
    });
  }
}
