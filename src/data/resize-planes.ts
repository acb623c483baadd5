/** Resizing straight into what an encoder reads: planes of parts of the resized image, by vector kernels where there are. */
import type { Size } from './box.ts';
import { Lru } from './lru.ts';
import { type FilterName, type Rgb, resize, type Taps, tapsFor } from './resample.ts';
import { openResampleKernels, type ResampleKernels, SPLIT } from './wasm/resample.ts';

/** A rectangle of the resized image. */
export interface Window extends Size {
  readonly left: number;
  readonly top: number;
}

/** Source rows go through the first pass in bands that stay in the processor's cache. */
const BAND_BYTES = 2 ** 17;
const PAGE = 2 ** 16;
/** Kernels read and write this much at once. */
const VECTOR = 16;
/** Tables of taps kept: pictures come in few sizes. */
const TABLES = 64;

let opened: ResampleKernels | null | undefined;

/**
 * [3, height, width] 8-bit planes of each window of `image` resized to `size`, one after the other: the pixels that `resize`
 * gives, to the bit. Windows must lie inside of `size`.
 */
export function resizeToPlanes(
  image: Rgb,
  size: Size,
  windows: readonly Window[],
  filter: FilterName,
): Uint8Array {
  if (opened === undefined) opened = openResampleKernels();
  return opened
    ? byKernels(opened, image, size, windows, filter)
    : resizeByLoops(image, size, windows, filter);
}

/** The same without kernels, for processors that have no vector unit; what the kernels are tested against. */
export function resizeByLoops(
  image: Rgb,
  size: Size,
  windows: readonly Window[],
  filter: FilterName,
): Uint8Array {
  const { width, data } = resize(image, size, filter);
  const out = new Uint8Array(bytesOf(windows));
  let start = 0;
  for (const window of windows) {
    const plane = window.width * window.height;
    for (let y = 0, o = start; y < window.height; y++) {
      let i = ((window.top + y) * width + window.left) * 3;
      for (let x = 0; x < window.width; x++, o++, i += 3) {
        out[o] = data[i]!;
        out[plane + o] = data[i + 1]!;
        out[2 * plane + o] = data[i + 2]!;
      }
    }
    start += 3 * plane;
  }
  return out;
}

function bytesOf(windows: readonly Window[]): number {
  return windows.reduce((sum, { width, height }) => sum + 3 * width * height, 0);
}

/** Taps as a kernel reads them: for each output its first byte, then the weights in groups, low and high parts apart. */
interface Records {
  readonly bytes: Uint8Array;
  /** Bytes of one record. */
  readonly stride: number;
  /** Groups of taps in each record. */
  readonly groups: number;
}

const columnTables = new Lru<string, Records>(TABLES);
const rowTables = new Lru<string, Records>(TABLES);

function byKernels(
  kernels: ResampleKernels,
  image: Rgb,
  size: Size,
  windows: readonly Window[],
  filter: FilterName,
): Uint8Array {
  const pitch = roundUp(size.width, VECTOR);
  const columns = columnTables.get(`${image.width} ${pitch} ${size.width} ${filter}`, () =>
    recordsOf(tapsFor(image.width, size.width, filter), { outputs: pitch, group: 4, step: 3 }),
  );
  const rows = rowTables.get(`${image.height} ${size.height} ${pitch} ${filter}`, () =>
    recordsOf(tapsFor(image.height, size.height, filter), { outputs: size.height, group: 2, step: pitch }),
  );
  const rowBytes = image.width * 3;
  const bandRows = Math.min(Math.max(Math.floor(BAND_BYTES / rowBytes), 1), image.height);
  const plane = image.height * pitch;
  // Taps are padded to whole groups: the last ones read, times zero, what lies behind the image.
  const layout = place([
    bandRows * rowBytes + columns.groups * 12 + VECTOR,
    columns.bytes.length,
    rows.bytes.length,
    3 * plane + (rows.groups * 2 + 1) * pitch,
    bytesOf(windows) + VECTOR,
  ]);
  const [band = 0, columnRecords = 0, rowRecords = 0, middle = 0, target = 0] = layout.starts;
  const memory = reserve(kernels.memory, layout.end);
  memory.set(columns.bytes, columnRecords);
  memory.set(rows.bytes, rowRecords);
  for (let y = 0; y < image.height; y += bandRows) {
    const height = Math.min(bandRows, image.height - y);
    memory.set(image.data.subarray(y * rowBytes, (y + height) * rowBytes), band);
    const out = middle + y * pitch;
    kernels.columns(band, rowBytes, height, columnRecords, columns.groups, pitch, out, pitch, plane);
  }
  let out = target;
  for (const { left, top, width, height } of windows) {
    if (width === 0 || height === 0) continue;
    for (let c = 0; c < 3; c++, out += width * height) {
      const records = rowRecords + top * rows.stride;
      kernels.rows(middle + c * plane + left, pitch, records, rows.groups, width, height, out);
    }
  }
  return memory.slice(target, out);
}

/** `outputs` records, those beyond the taps empty; `step`: bytes from one input position to the next. */
function recordsOf(
  { starts, weights, stride }: Taps,
  { outputs, group, step }: { outputs: number; group: number; step: number },
): Records {
  const most = Math.max(...Array.from(starts, (_, x) => lastTap(weights, x, stride)));
  const groups = Math.max(Math.ceil(most / group), 1);
  const recordBytes = 4 + groups * group * 4;
  const buffer = new ArrayBuffer(outputs * recordBytes);
  const firsts = new Int32Array(buffer);
  const parts = new Int16Array(buffer);
  for (const [x, start] of starts.entries()) {
    firsts[(x * recordBytes) / 4] = start * step;
    for (let k = 0; k < groups * group; k++) {
      const weight = k < stride ? weights[x * stride + k]! : 0;
      // Pairs: two low parts, then the two high ones.
      const at = (x * recordBytes) / 2 + 2 + Math.floor(k / 2) * 4 + (k % 2);
      parts[at] = weight & (2 ** SPLIT - 1);
      parts[at + 2] = weight >> SPLIT;
    }
  }
  return { bytes: new Uint8Array(buffer), stride: recordBytes, groups };
}

/** Taps of an output up to the last one that counts. */
function lastTap(weights: Int32Array, output: number, stride: number): number {
  let taps = stride;
  while (taps > 0 && weights[output * stride + taps - 1] === 0) taps--;
  return taps;
}

/** Parts of a memory one behind the other, each at a whole vector. */
function place(sizes: readonly number[]): { readonly starts: readonly number[]; readonly end: number } {
  let end = 0;
  const starts = sizes.map(size => {
    const start = end;
    end = roundUp(start + size, VECTOR);
    return start;
  });
  return { starts, end };
}

function reserve(memory: WebAssembly.Memory, bytes: number): Uint8Array {
  const missing = bytes - memory.buffer.byteLength;
  if (missing > 0) memory.grow(Math.ceil(missing / PAGE));
  return new Uint8Array(memory.buffer);
}

function roundUp(value: number, multiple: number): number {
  return Math.ceil(value / multiple) * multiple;
}
