import { GroundError } from '../errors.ts';

/** Bytes of one value, listed in the order in which the reference implementation of safetensors ranks the dtypes. */
const ITEM_SIZE = { BOOL: 1, U8: 1, F16: 2, BF16: 2, I32: 4, F32: 4, F64: 8, I64: 8 } as const;

/** The dtypes of safetensors that weights and indices come in. */
export type Dtype = keyof typeof ITEM_SIZE;

export function isDtype(value: unknown): value is Dtype {
  return typeof value === 'string' && Object.hasOwn(ITEM_SIZE, value);
}

/** Whether values of this dtype are floating-point numbers. */
export function isFloating(dtype: Dtype): boolean {
  return dtype === 'F32' || dtype === 'F16' || dtype === 'BF16' || dtype === 'F64';
}

/** Bytes of one value. */
export function itemSize(dtype: Dtype): number {
  return ITEM_SIZE[dtype];
}

/** Rank in the file: greater ones are written first. */
export function layoutOrder(dtype: Dtype): number {
  return Object.keys(ITEM_SIZE).indexOf(dtype);
}

/**
 * Raw little-endian bytes to the two number types that tensors have here, sharing memory where nothing has to be widened and
 * the bytes lie where such numbers may. `label` names the tensor in complaints.
 */
export const widen = {
  /** F32 as it is, F16 and BF16 exactly, F64 rounded to nearest. Throws GroundError('model') on integers. */
  float32(dtype: Dtype, bytes: Uint8Array<ArrayBuffer>, label: string): Float32Array<ArrayBuffer> {
    switch (dtype) {
      case 'F32':
        return new Float32Array(...itemsOf(bytes, 4));
      case 'F64':
        return new Float32Array(new Float64Array(...itemsOf(bytes, 8)));
      case 'BF16':
        return fromBits(new Uint16Array(...itemsOf(bytes, 2)), brainToSingleBits);
      case 'F16':
        return fromBits(new Uint16Array(...itemsOf(bytes, 2)), halfToSingleBits);
      default:
        throw new GroundError('model', `${label} is ${dtype}, where floating-point values are needed`);
    }
  },

  /** I32 as it is, U8 and BOOL widened, I64 narrowed. Throws GroundError('model') on floats and on values that overflow. */
  int32(dtype: Dtype, bytes: Uint8Array<ArrayBuffer>, label: string): Int32Array<ArrayBuffer> {
    switch (dtype) {
      case 'I32':
        return new Int32Array(...itemsOf(bytes, 4));
      case 'U8':
      case 'BOOL':
        return new Int32Array(bytes);
      case 'I64': {
        const wide = new BigInt64Array(...itemsOf(bytes, 8));
        const narrow = new Int32Array(wide.length);
        for (const [i, value] of wide.entries()) {
          if (value !== BigInt.asIntN(32, value)) {
            throw new GroundError('model', `${label}: value ${value} at index ${i} does not fit 32 bits`);
          }
          narrow[i] = Number(value);
        }
        return narrow;
      }
      default:
        throw new GroundError('model', `${label} is ${dtype}, where integers are needed`);
    }
  },
};

/** What a typed array of items of `size` bytes over these bytes is made of; a copy of them where it could not start. */
function itemsOf(bytes: Uint8Array<ArrayBuffer>, size: number): [ArrayBuffer, number, number] {
  const { buffer, byteOffset, byteLength } = bytes.byteOffset % size === 0 ? bytes : bytes.slice();
  return [buffer, byteOffset, byteLength / size];
}

/** A plain loop: `Uint32Array.from` with a function takes twenty times as long. */
function fromBits(halves: Uint16Array, toSingle: (bits: number) => number): Float32Array<ArrayBuffer> {
  const bits = new Uint32Array(halves.length);
  for (let i = 0; i < bits.length; i++) bits[i] = toSingle(halves[i] as number);
  return new Float32Array(bits.buffer);
}

/**
 * The raw little-endian bytes of values in another floating-point dtype, each rounded to the nearest, ties to even: what
 * was widened from that dtype comes back bit for bit. Throws GroundError('model') on a finite value that would become
 * infinite. `label` names the tensor.
 */
export function narrow(dtype: Dtype, values: Float32Array<ArrayBuffer>, label: string): ArrayBufferView {
  switch (dtype) {
    case 'F32':
      return values;
    case 'F64':
      return Float64Array.from(values);
    case 'F16':
    case 'BF16': {
      const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
      const round = dtype === 'F16' ? singleToHalfBits : singleToBrainBits;
      const infinity = dtype === 'F16' ? 0x7c00 : 0x7f80;
      const narrowed = new Uint16Array(bits.length);
      for (let i = 0; i < bits.length; i++) {
        const half = round(bits[i] as number);
        narrowed[i] = half;
        if ((half & 0x7fff) !== infinity || !Number.isFinite(values[i])) continue;
        throw new GroundError(
          'model',
          `${label}: value ${values[i]} at index ${i} is too large for ${dtype}`,
          {
            hint: dtype === 'F16' ? 'use bfloat16 or float32' : 'use float32',
          },
        );
      }
      return narrowed;
    }
    default:
      throw new GroundError('model', `${label} cannot be written as ${dtype}, which holds no fractions`);
  }
}

function brainToSingleBits(brain: number): number {
  return brain << 16;
}

/** Single bits to bfloat16 bits, nearest even; NaN keeps its upper bits. */
function singleToBrainBits(single: number): number {
  if ((single & 0x7fffffff) > 0x7f800000) return (single >>> 16) | (single & 0x7f0000 ? 0 : 0x40);
  return ((single + 0x7fff + ((single >>> 16) & 1)) >>> 16) & 0xffff;
}

/** Single bits to IEEE 754 half bits, nearest even; NaN keeps its upper bits. */
function singleToHalfBits(single: number): number {
  const sign = (single >>> 16) & 0x8000;
  const magnitude = single & 0x7fffffff;
  if (magnitude > 0x7f800000) return sign | 0x7c00 | ((magnitude >>> 13) & 0x3ff || 0x200);
  const exponent = (magnitude >>> 23) - 112;
  if (exponent >= 31) return sign | 0x7c00;
  // Below 2^-25 everything is nearer to zero than to the smallest half.
  if (exponent < -10) return sign;
  const significand = exponent > 0 ? magnitude & 0x7fffff : (magnitude & 0x7fffff) | 0x800000;
  const drop = exponent > 0 ? 13 : 14 - exponent;
  const kept = (exponent > 0 ? exponent << 10 : 0) + (significand >>> drop);
  const rest = significand & ((1 << drop) - 1);
  const half = 1 << (drop - 1);
  // A carry out of the significand goes into the exponent, as it should.
  return sign | (kept + (rest > half || (rest === half && (kept & 1) === 1) ? 1 : 0));
}

/** IEEE 754 half bits to single bits, exact for every value, infinities and NaN payloads included. */
function halfToSingleBits(half: number): number {
  const sign = (half & 0x8000) << 16;
  const exponent = (half >>> 10) & 0x1f;
  const mantissa = half & 0x3ff;
  if (exponent === 31) return (sign | 0x7f800000 | (mantissa << 13)) >>> 0;
  if (exponent !== 0) return (sign | ((exponent + 112) << 23) | (mantissa << 13)) >>> 0;
  if (mantissa === 0) return sign >>> 0;
  // Subnormal: value = mantissa × 2^-24. Move its leading bit to the implicit place.
  const shift = Math.clz32(mantissa) - 21;
  return (sign | ((113 - shift) << 23) | (((mantissa << shift) & 0x3ff) << 13)) >>> 0;
}
