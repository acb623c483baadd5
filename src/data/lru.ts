/** A small map that forgets what was not asked for longest, and hands it to `dispose`. */
export class Lru<K, V> {
  readonly #capacity: number;
  readonly #dispose: (value: V) => void;
  readonly #entries = new Map<K, V>();

  /** `capacity` entries at most; `dispose` is called for each that is forgotten or replaced. */
  constructor(capacity: number, dispose: (value: V) => void = () => {}) {
    this.#capacity = capacity;
    this.#dispose = dispose;
  }

  /** The value of `key`, made by `create` where it is not held. */
  get(key: K, create: () => V): V {
    let value = this.#entries.get(key);
    if (value === undefined) value = create();
    else this.#entries.delete(key);
    // A Map keeps insertion order: the first key is the one that was not used longest.
    this.#entries.set(key, value);
    for (const [oldest] of this.#entries) {
      if (this.#entries.size <= this.#capacity) break;
      this.delete(oldest);
    }
    return value;
  }

  /** Forgets `key`. */
  delete(key: K): void {
    const value = this.#entries.get(key);
    if (value === undefined) return;
    this.#entries.delete(key);
    this.#dispose(value);
  }

  /** Forgets everything. */
  clear(): void {
    for (const key of [...this.#entries.keys()]) this.delete(key);
  }
}
