/**
 * Named random streams. Everything random in `ground` draws from a stream made of a seed and a name, so that a choice
 * depends on what is chosen and never on what was drawn before it elsewhere.
 */

/** 32-bit FNV-1a of the parts joined by a unit separator. */
export function hashSeed(...parts: readonly (string | number)[]): number {
  let h = 0x811c9dc5;
  for (const ch of new TextEncoder().encode(parts.join('\u001f'))) {
    h = Math.imul(h ^ ch, 0x01000193);
  }
  // FNV alone leaves neighbouring names with related low bits: finish with murmur3's mixer.
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

/** A stream of random numbers whose whole state is one 32-bit integer (mulberry32). */
export class Random {
  #state: number;

  constructor(...name: readonly (string | number)[]) {
    this.#state = hashSeed(...name);
  }

  /** Uniform in [0, 1). */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  }

  /** Uniform integer in [low, high). */
  int(low: number, high: number): number {
    return low + Math.floor(this.next() * (high - low));
  }

  uniform(low: number, high: number): number {
    return low + this.next() * (high - low);
  }

  /** Standard normal (Box-Muller, one value a call). */
  normal(): number {
    const radius = Math.sqrt(-2 * Math.log(1 - this.next()));
    return radius * Math.cos(2 * Math.PI * this.next());
  }

  /** One element; throws on an empty list. */
  pick<T>(items: readonly T[]): T {
    if (items.length === 0) throw new RangeError('pick from an empty list');
    return items[this.int(0, items.length)] as T;
  }

  /** A new array in random order (Fisher-Yates). */
  shuffle<T>(items: readonly T[]): T[] {
    const out = [...items];
    for (let i = out.length - 1; i > 0; i--) {
      const j = this.int(0, i + 1);
      [out[i], out[j]] = [out[j] as T, out[i] as T];
    }
    return out;
  }
}
