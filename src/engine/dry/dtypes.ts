/** TensorFlow's numbers of element types (types.proto). */
export const DTYPE = {
  float: 1,
  int32: 3,
  uint8: 4,
  string: 7,
  complex64: 8,
  int64: 9,
  bool: 10,
  resource: 20,
} as const;

/** Bytes of one element; throws nothing: strings and resources count as nothing. */
export function elementBytes(dtype: number): number {
  if (dtype === DTYPE.float || dtype === DTYPE.int32) return 4;
  if (dtype === DTYPE.complex64 || dtype === DTYPE.int64) return 8;
  return dtype === DTYPE.bool || dtype === DTYPE.uint8 ? 1 : 0;
}

/** Bytes of a tensor. */
export function tensorBytes({
  shape,
  dtype,
}: {
  readonly shape: readonly number[];
  readonly dtype: number;
}): number {
  return shape.reduce((n, length) => n * length, elementBytes(dtype));
}
