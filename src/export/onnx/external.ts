/** Tensors up to this many bytes are stored inside the model file. */
export const INLINE_BYTES = 1024;
const PAGE = 4096n;
const LINE = 64n;

/** A tensor's place in the data file. 64-bit: neither the file nor a tensor is bound to 2 GB. */
export interface ExternalPlace {
  readonly offset: bigint;
  readonly length: bigint;
}

export interface ExternalPlan {
  /** Places by tensor name, in the order of the file; tensors that are stored inside the model have none. */
  readonly places: ReadonlyMap<string, ExternalPlace>;
  /** Size of the data file in bytes. */
  readonly size: bigint;
}

/**
 * Lays tensors out in one external data file, as ONNX describes: raw, in order, each at an aligned offset (pages, so
 * that it can be mapped; cache lines for those smaller than a page).
 */
export function planExternalData(
  tensors: readonly { readonly name: string; readonly bytes: bigint }[],
): ExternalPlan {
  const places = new Map<string, ExternalPlace>();
  let size = 0n;
  for (const { name, bytes } of tensors) {
    if (bytes <= BigInt(INLINE_BYTES)) continue;
    const alignment = bytes >= PAGE ? PAGE : LINE;
    const offset = ((size + alignment - 1n) / alignment) * alignment;
    places.set(name, { offset, length: bytes });
    size = offset + bytes;
  }
  return { places, size };
}
