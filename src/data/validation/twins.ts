/**
 * Rows that are like an earlier one: with the same id, the same image file, or an image that looks the same. Memory is
 * typed arrays, under a hundred bytes a row, so that a million rows take less than a tenth of a gigabyte.
 */
import { createHash } from 'node:crypto';
import { type Fingerprint, hashDistance, onesIn } from '../image-hash.ts';

/** First row of each key; keys are 64-bit hashes of anything. Open addressing, at most two thirds full. */
export class FirstRows {
  #slots = 1024;
  #used = 0;
  #keys = new Uint32Array(2 * this.#slots);
  /** Row + 1; 0 where the slot is free. */
  #rows = new Uint32Array(this.#slots);

  /** The first row that came with these bytes; `row` becomes it where there is none, and null is returned. */
  add(bytes: Uint8Array | string, row: number): number | null {
    const digest = createHash('sha1').update(bytes).digest();
    const [high, low] = [digest.readUInt32LE(0), digest.readUInt32LE(4)];
    const slot = this.#find(high, low);
    const found = this.#rows[slot]!;
    if (found > 0) return found - 1;
    this.#set(slot, high, low, row + 1);
    if (++this.#used * 3 > this.#slots * 2) this.#grow();
    return null;
  }

  #find(high: number, low: number): number {
    let slot = low % this.#slots;
    while (this.#rows[slot]! > 0 && (this.#keys[2 * slot] !== high || this.#keys[2 * slot + 1] !== low)) {
      slot = (slot + 1) % this.#slots;
    }
    return slot;
  }

  #set(slot: number, high: number, low: number, row: number): void {
    this.#keys[2 * slot] = high;
    this.#keys[2 * slot + 1] = low;
    this.#rows[slot] = row;
  }

  #grow(): void {
    const [keys, rows] = [this.#keys, this.#rows];
    this.#slots *= 2;
    this.#keys = new Uint32Array(2 * this.#slots);
    this.#rows = new Uint32Array(this.#slots);
    for (const [i, row] of rows.entries()) {
      if (row > 0) this.#set(this.#find(keys[2 * i]!, keys[2 * i + 1]!), keys[2 * i]!, keys[2 * i + 1]!, row);
    }
  }
}

/**
 * Two images of one set look the same where their hashes differ in so few bits and their thumbnails in so few levels, on average
 * and in any one cell. That is stricter than what keeps evaluation images out (`isSameImage`): plain drawn scenes are often that
 * much alike. Of 60 photographs saved anew (JPEG quality 30, or 128 pixels wide) all stayed within 3 bits and 59 within 20 levels
 * in every cell; of 600 rendered scenes no two came below 56 levels.
 */
const SAME_BITS = 5;
const SAME_LEVELS = 12;
const SAME_CELL_LEVELS = 50;
/** A hash of 64 bits is cut into so many bands: two that differ in fewer bits have a band in common. */
const BANDS = SAME_BITS + 1;
const BAND_BITS = [11, 11, 11, 11, 10, 10] as const;
/** Rows looked at in a band, the latest first: plain images share their bands with thousands. */
const MOST_LOOKS = 1024;
/** Rows found, for each one wanted, after which no more are looked for. */
const PLENTY = 8;
/** Mean colours of nine fields, for a first look. */
const COARSE = 27;
/** Levels by which nine fields may differ, a little more than whole thumbnails may: fields differ less. */
const COARSE_LEVELS = 14;

/** Whether two images of one set look the same. */
export function looksAlike(a: Fingerprint, b: Fingerprint): boolean {
  if (hashDistance(a.hash, b.hash) > SAME_BITS) return false;
  const levels = a.thumbnail.map((level, i) => Math.abs(level - b.thumbnail[i]!));
  const sum = levels.reduce((total, level) => total + level, 0);
  return sum <= SAME_LEVELS * levels.length && levels.every(level => level <= SAME_CELL_LEVELS);
}

/** Finds rows whose images may look like a new one's; whoever asks compares the images themselves (`looksAlike`). */
export class LookAlikes {
  #rows = new Float64Array(1024);
  #halves = new Uint32Array(2 * 1024);
  #coarse = new Uint8Array(COARSE * 1024);
  /** Next older entry + 1 of the same band, for each band. */
  #older = new Uint32Array(BANDS * 1024);
  readonly #newest = BAND_BITS.map(bits => new Uint32Array(2 ** bits));
  #count = 0;

  /** Rows that may look the same, at most `most`, the likeliest first. */
  find(print: Fingerprint, most: number): number[] {
    const coarse = coarseOf(print.thumbnail);
    const [high, low] = halvesOf(print.hash);
    const found = new Map<number, number>();
    for (const [band, key] of bandsOf(print.hash).entries()) {
      let entry = this.#newest[band]![key]!;
      for (let looks = 0; entry > 0 && looks < MOST_LOOKS && found.size < PLENTY * most; looks++) {
        const i = entry - 1;
        const bits = onesIn(high ^ this.#halves[2 * i]!) + onesIn(low ^ this.#halves[2 * i + 1]!);
        if (bits <= SAME_BITS && this.#alike(coarse, i)) found.set(i, bits);
        entry = this.#older[BANDS * i + band]!;
      }
    }
    return [...found]
      .sort(([i, a], [j, b]) => a - b || i - j)
      .slice(0, most)
      .map(([i]) => this.#rows[i]!);
  }

  /** Remembers a row; one that looks like a row remembered already need not be. */
  add(print: Fingerprint, row: number): void {
    const i = this.#count++;
    if (i === this.#rows.length) {
      this.#rows = doubled(this.#rows, new Float64Array(2 * this.#rows.length));
      this.#halves = doubled(this.#halves, new Uint32Array(2 * this.#halves.length));
      this.#coarse = doubled(this.#coarse, new Uint8Array(2 * this.#coarse.length));
      this.#older = doubled(this.#older, new Uint32Array(2 * this.#older.length));
    }
    this.#rows[i] = row;
    this.#halves.set(halvesOf(print.hash), 2 * i);
    this.#coarse.set(coarseOf(print.thumbnail), COARSE * i);
    for (const [band, key] of bandsOf(print.hash).entries()) {
      this.#older[BANDS * i + band] = this.#newest[band]![key]!;
      this.#newest[band]![key] = i + 1;
    }
  }

  #alike(coarse: Uint8Array, entry: number): boolean {
    let sum = 0;
    for (let i = 0; i < COARSE; i++) sum += Math.abs(coarse[i]! - this.#coarse[COARSE * entry + i]!);
    return sum <= COARSE_LEVELS * COARSE;
  }
}

function halvesOf(hash: bigint): [high: number, low: number] {
  return [Number(hash >> 32n), Number(hash & 0xffffffffn)];
}

function bandsOf(hash: bigint): number[] {
  let rest = hash;
  return BAND_BITS.map(bits => {
    const key = Number(rest & BigInt(2 ** bits - 1));
    rest >>= BigInt(bits);
    return key;
  });
}

/** Mean colours of three by three fields of a thumbnail [8, 9, 3]. */
function coarseOf(thumbnail: Uint8Array): Uint8Array {
  const sums = new Float64Array(COARSE);
  const counts = new Float64Array(COARSE);
  for (let y = 0; y < 8; y++) {
    for (let x = 0; x < 9; x++) {
      for (let c = 0; c < 3; c++) {
        const field = (Math.floor((3 * y) / 8) * 3 + Math.floor(x / 3)) * 3 + c;
        sums[field]! += thumbnail[(y * 9 + x) * 3 + c]!;
        counts[field]!++;
      }
    }
  }
  return Uint8Array.from(sums, (sum, i) => Math.round(sum / counts[i]!));
}

function doubled<T extends { set(values: T): void }>(old: T, larger: T): T {
  larger.set(old);
  return larger;
}
