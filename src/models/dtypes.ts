import { GroundError } from '../errors.ts';

/** Bytes of one value, listed in the order in which the reference implementation of safetensors ranks the dtypes. */
const ITEM_SIZE = { BOOL: 1, U8: 1, F16: 2, BF16: 2, I32: 4, F32: 4, F64: 8, I64: 8 } as const;

/** The dtypes of safetensors that weights and indices come in. */
export type Dtype = keyof typeof ITEM_SIZE;

export function isDtype(value: unknown): value is Dtype {
  return typeof value === 'string' && Object.hasOwn(ITEM_SIZE, value);
}

/** Bytes of one value. */
export function itemSize(dtype: Dtype): number {
  return ITEM_SIZE[dtype];
}

/** Rank in the file: greater ones are written first. */
export function layoutOrder(dtype: Dtype): number {
  return Object.keys(ITEM_SIZE).indexOf(dtype);
}

/** Raw little-endian bytes to the two number types that tensors have here. `label` names the tensor in complaints. */
export const widen = {
  /** F32 as it is, F16 and BF16 exactly, F64 rounded to nearest. Throws GroundError('model') on integers. */
  float32(dtype: Dtype, bytes: ArrayBuffer, label: string): Float32Array<ArrayBuffer> {
    switch (dtype) {
      case 'F32':
        return new Float32Array(bytes);
      case 'F64':
        return Float32Array.from(new Float64Array(bytes));
      case 'BF16': {
        const bits = Uint32Array.from(new Uint16Array(bytes), b => b << 16);
        return new Float32Array(bits.buffer);
      }
      case 'F16': {
        const bits = Uint32Array.from(new Uint16Array(bytes), halfToSingleBits);
        return new Float32Array(bits.buffer);
      }
      default:
        throw new GroundError('model', `${label} is ${dtype}, where floating-point values are needed`);
    }
  },

  /** I32 as it is, U8 and BOOL widened, I64 narrowed. Throws GroundError('model') on floats and on values that overflow. */
  int32(dtype: Dtype, bytes: ArrayBuffer, label: string): Int32Array<ArrayBuffer> {
    switch (dtype) {
      case 'I32':
        return new Int32Array(bytes);
      case 'U8':
      case 'BOOL':
        return Int32Array.from(new Uint8Array(bytes));
      case 'I64': {
        const wide = new BigInt64Array(bytes);
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
