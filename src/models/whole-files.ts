/** Files of tensors that are read from their first byte to their last, with the checksum of what was used. */
import { crc32c } from '@node-rs/crc32';
import { ahead } from '../ahead.ts';
import { widen } from './dtypes.ts';
import type { SafetensorsFile } from './safetensors.ts';

/** Bytes of one read. */
const PIECE = 1 << 23;
/** Reads at once, over the ends of files: first touching memory takes longer than reading, and keeps several cores busy. */
const PIECES_AHEAD = 4;
/**
 * Neighbours that are smaller together share one piece of memory, bytes. Large, for with each new one JavaScript looks
 * through all of its heap for others that may be freed.
 */
const SLAB = 1 << 30;

/** All that a file holds. */
export interface WholeFile {
  /** As `SafetensorsFile.readFloat32` gives them, by name, in the order of the data. */
  readonly arrays: Map<
    string,
    { readonly shape: readonly number[]; readonly data: Float32Array<ArrayBuffer> }
  >;
  /** Of every byte of the file, its header too: tensors tile the data without holes, so that nothing is left out. */
  readonly crc32c: number;
}

/**
 * Reads files one after another, each byte once; the beginning of a file is fetched while the end of the one before it is
 * looked at. Values lie where the system put them; tensors that are neighbours in a file share memory of up to
 * `slab` bytes.
 * Throws GroundError('io'), or GroundError('model') where values are no floating-point numbers or the file has shrunk.
 */
export async function* readWhole(
  files: Iterable<SafetensorsFile>,
  { slab: shared = SLAB }: { readonly slab?: number } = {},
): AsyncGenerator<WholeFile, void> {
  let checksum = 0;
  let arrays: WholeFile['arrays'] = new Map();
  for await (const { slab, bytes, memory } of ahead(piecesOf(files, shared), PIECES_AHEAD)) {
    checksum = crc32c(bytes, checksum);
    // Pieces come in the order of the file: after its last one a slab is complete.
    if (bytes.byteOffset + bytes.byteLength < memory.byteLength) continue;
    for (const name of slab.names) {
      const { dtype, shape, begin, end } = slab.file.info(name);
      const raw = new Uint8Array(memory, begin - slab.begin, end - begin);
      arrays.set(name, { shape, data: widen.float32(dtype, raw, slab.file.label(name)) });
    }
    if (!slab.last) continue;
    yield { arrays, crc32c: checksum };
    [checksum, arrays] = [0, new Map()];
  }
}

/** Bytes that follow on each other in a file: its header, or some tensors. */
interface Slab {
  readonly file: SafetensorsFile;
  readonly names: readonly string[];
  readonly begin: number;
  readonly end: number;
  /** Whether the file ends here. */
  readonly last: boolean;
}

/** A part of a slab that has been read: `bytes` lie in `memory`, which is the whole slab's. */
interface Piece {
  readonly slab: Slab;
  readonly memory: ArrayBuffer;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/** Reads of all files, slab after slab; a slab's memory is there once its turn comes. */
function* piecesOf(files: Iterable<SafetensorsFile>, shared: number): Generator<() => Promise<Piece>> {
  for (const file of files) {
    for (const slab of slabsOf(file, shared)) {
      const memory = new ArrayBuffer(slab.end - slab.begin);
      for (let at = 0; at === 0 || at < memory.byteLength; at += PIECE) {
        const bytes = new Uint8Array(memory, at, Math.min(PIECE, memory.byteLength - at));
        yield async () => {
          await file.readInto(bytes, slab.begin + at);
          return { slab, memory, bytes };
        };
      }
    }
  }
}

/** The header, then all tensors, the small ones together. */
function* slabsOf(file: SafetensorsFile, shared: number): Generator<Slab> {
  let slab = { file, names: [] as string[], begin: 0, end: file.dataBegin, last: false };
  for (const [name, { begin, end }] of file.tensors) {
    if (slab.begin > 0 && end - slab.begin <= shared) {
      slab.names.push(name);
      slab.end = end;
      continue;
    }
    yield slab;
    slab = { file, names: [name], begin, end, last: false };
  }
  yield { ...slab, last: true };
}
