/**
 * Small plain PNG files without the detour over libvips, whose preparations for an image of 64x64 take ten times as long as
 * decoding it. Rendered scenes and crops are such files. Whatever is not plain is left to libvips, damage too.
 */
import { inflateSync } from 'node:zlib';
import { crc32 } from '@node-rs/crc32';
import type { Rgb } from './resample.ts';

/** Larger files are decoded beside this thread. */
const MAX_PIXELS = 2 ** 16;
const SIGNATURE = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
/** Channels of the 8-bit colour types: grey, RGB, both with alpha. A palette is not plain. */
const CHANNELS: Readonly<Record<number, number>> = { 0: 1, 2: 3, 4: 2, 6: 4 };

/**
 * The pixels of a whole PNG file of 8-bit channels, not interlaced, without orientation; alpha is dropped, grey repeated. Null
 * for any other file.
 */
export function decodePlainPng(bytes: Uint8Array): Rgb | null {
  const file = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (file.length < 45 || file.compare(SIGNATURE, 0, 8, 0, 8) !== 0) return null;
  const chunks = chunksOf(file);
  const header = chunks?.[0];
  if (!chunks || header?.type !== 'IHDR' || header.data.length !== 13) return null;
  const [width, height] = [header.data.readUInt32BE(0), header.data.readUInt32BE(4)];
  const [depth, colour, compression, filter, interlace] = header.data.subarray(8);
  const channels = CHANNELS[colour ?? -1];
  const plain = depth === 8 && compression === 0 && filter === 0 && interlace === 0;
  if (!plain || channels === undefined || width === 0 || height === 0 || width * height > MAX_PIXELS)
    return null;
  if (chunks.at(-1)?.type !== 'IEND' || chunks.some(({ type }) => type === 'eXIf')) return null;
  const pitch = width * channels;
  const lines = inflate(
    chunks.flatMap(({ type, data }) => (type === 'IDAT' ? [data] : [])),
    height * (pitch + 1),
  );
  if (!lines || !unfilter(lines, pitch, height, channels)) return null;
  return { width, height, data: toRgb(lines, pitch, height, channels) };
}

interface Chunk {
  readonly type: string;
  readonly data: Buffer;
}

/** Null where a chunk ends beyond the file, is damaged, or is followed by something else than chunks. */
function chunksOf(file: Buffer): Chunk[] | null {
  const chunks: Chunk[] = [];
  for (let at = 8; at < file.length; ) {
    if (at + 12 > file.length) return null;
    const end = at + 8 + file.readUInt32BE(at);
    if (end + 4 > file.length || crc32(file.subarray(at + 4, end)) !== file.readUInt32BE(end)) return null;
    chunks.push({ type: file.toString('latin1', at + 4, at + 8), data: file.subarray(at + 8, end) });
    at = end + 4;
  }
  return chunks;
}

function inflate(parts: readonly Buffer[], bytes: number): Buffer | null {
  try {
    const lines = inflateSync(Buffer.concat(parts), { maxOutputLength: bytes });
    return lines.length === bytes ? lines : null;
  } catch {
    // libvips says what is wrong.
    return null;
  }
}

/** Undoes each line's filter in place (PNG specification, section 9); false for a filter that does not exist. */
function unfilter(lines: Buffer, pitch: number, height: number, channels: number): boolean {
  for (let y = 0; y < height; y++) {
    const start = y * (pitch + 1) + 1;
    const type = lines[start - 1]!;
    if (type > 4) return false;
    if (type === 0) continue;
    for (let i = start; i < start + pitch; i++) {
      const left = i - start < channels ? 0 : lines[i - channels]!;
      const above = y === 0 ? 0 : lines[i - pitch - 1]!;
      const corner = y === 0 || i - start < channels ? 0 : lines[i - pitch - 1 - channels]!;
      lines[i]! += predict(type, left, above, corner);
    }
  }
  return true;
}

function predict(type: number, left: number, above: number, corner: number): number {
  if (type === 1) return left;
  if (type === 2) return above;
  if (type === 3) return (left + above) >> 1;
  const estimate = left + above - corner;
  const [a, b, c] = [Math.abs(estimate - left), Math.abs(estimate - above), Math.abs(estimate - corner)];
  if (a <= b && a <= c) return left;
  return b <= c ? above : corner;
}

function toRgb(lines: Buffer, pitch: number, height: number, channels: number): Uint8Array {
  const width = pitch / channels;
  const data = new Uint8Array(width * height * 3);
  const [green, blue] = channels < 3 ? [0, 0] : [1, 2];
  for (let y = 0, o = 0; y < height; y++) {
    let i = y * (pitch + 1) + 1;
    for (let x = 0; x < width; x++, i += channels, o += 3) {
      data[o] = lines[i]!;
      data[o + 1] = lines[i + green]!;
      data[o + 2] = lines[i + blue]!;
    }
  }
  return data;
}
