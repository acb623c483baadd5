/**
 * The two passes of Pillow's resampling as WebAssembly vector kernels, to the bit. A weight of 22 fixed-point bits times a
 * pixel does not fit the 16-bit products that vector units are fast at, so weights come in two parts, w = high · 2¹⁵ + low
 * with 0 <= low < 2¹⁵: two dot products over pairs of taps, put together in 32 bits, are the exact sum.
 */
import { instantiate } from './module.ts';

/** `high` = w >> SPLIT. */
export const SPLIT = 15;

/** Sum of low and high parts to a level: rounded, shifted by the weights' 22 bits; narrowing clips it to 0 … 255. */
function level(low: string, high: string): string {
  return `(i32x4.shr_s
    (i32x4.add
      (i32x4.add (local.get ${low}) (local.get $half))
      (i32x4.shl (local.get ${high}) (i32.const ${SPLIT})))
    (i32.const 22))`;
}

function add(sum: string, pixels: string, weights: string): string {
  return `(local.set ${sum} (i32x4.add (local.get ${sum})
    (i32x4.dot_i16x8_s (local.get ${pixels}) (local.get ${weights}))))`;
}

const HALF = '(local.set $half (i32x4.splat (i32.const 2097152)))';
const ZERO = '(i32x4.splat (i32.const 0))';

/** Four taps of one output pixel from 12 bytes r g b r g b …; `$record` goes on by 16 bytes of weights. */
const FOUR_TAPS = `
  (local.set $bytes (v128.load (local.get $at)))
  ;; r0 r1 g0 g1 b0 b1 - - r2 r3 g2 g3 b2 b3 - -
  (local.set $bytes (i8x16.shuffle 0 3 1 4 2 5 2 5 6 9 7 10 8 11 8 11 (local.get $bytes) (local.get $bytes)))
  (local.set $pair (i16x8.extend_low_i8x16_u (local.get $bytes)))
  (local.set $w (v128.load32_splat (local.get $record)))
  ${add('$low', '$pair', '$w')}
  (local.set $w (v128.load32_splat offset=4 (local.get $record)))
  ${add('$high', '$pair', '$w')}
  (local.set $pair (i16x8.extend_high_i8x16_u (local.get $bytes)))
  (local.set $w (v128.load32_splat offset=8 (local.get $record)))
  ${add('$low', '$pair', '$w')}
  (local.set $w (v128.load32_splat offset=12 (local.get $record)))
  ${add('$high', '$pair', '$w')}
  (local.set $record (i32.add (local.get $record) (i32.const 16)))
  (local.set $at (i32.add (local.get $at) (i32.const 12)))`;

/** One output pixel [r, g, b, -] into a local. */
function pixel(out: string): string {
  return `
  (local.set $at (i32.add (local.get $row) (i32.load (local.get $record))))
  (local.set $record (i32.add (local.get $record) (i32.const 4)))
  (local.set $low ${ZERO})
  (local.set $high ${ZERO})
  (local.set $q (i32.const 0))
  (loop $taps${out.slice(1)}
    ${FOUR_TAPS}
    (br_if $taps${out.slice(1)}
      (i32.lt_u (local.tee $q (i32.add (local.get $q) (i32.const 1))) (local.get $quads))))
  (local.set ${out} ${level('$low', '$high')})`;
}

/**
 * `columns`: `height` rows of interleaved pixels at `source` to planes of `width` (a multiple of 4) columns at `target`.
 * A record for each output column: the byte where its taps begin in a row, then `quads` times the weights of four taps as
 * 16-bit (low 0, low 1, high 0, high 1, low 2, low 3, high 2, high 3). Reads up to 4 bytes behind the last tap's pixel.
 *
 * `rows`: planes to `height` rows of `width` columns, one after the other, at `target`. A record for each output row: the
 * byte where its first row begins, then `pairs` times the weights of two taps as (low 0, low 1, high 0, high 1). Writes
 * in sixteens: up to 15 bytes behind a row are overwritten.
 */
const SOURCE = `
(func $columns
  (param $source i32) (param $sourcePitch i32) (param $height i32)
  (param $records i32) (param $quads i32) (param $width i32)
  (param $target i32) (param $pitch i32) (param $plane i32)
  (local $row i32) (local $record i32) (local $x i32) (local $y i32) (local $q i32) (local $at i32) (local $out i32)
  (local $half v128) (local $bytes v128) (local $pair v128) (local $w v128) (local $low v128) (local $high v128)
  (local $p0 v128) (local $p1 v128) (local $p2 v128) (local $p3 v128)
  ${HALF}
  (local.set $row (local.get $source))
  (loop $nextRow
    (local.set $record (local.get $records))
    (local.set $out (local.get $target))
    (local.set $x (i32.const 0))
    (loop $nextFour
      ${pixel('$p0')} ${pixel('$p1')} ${pixel('$p2')} ${pixel('$p3')}
      (local.set $bytes (i8x16.narrow_i16x8_u
        (i16x8.narrow_i32x4_s (local.get $p0) (local.get $p1))
        (i16x8.narrow_i32x4_s (local.get $p2) (local.get $p3))))
      (local.set $bytes
        (i8x16.shuffle 0 4 8 12 1 5 9 13 2 6 10 14 3 7 11 15 (local.get $bytes) (local.get $bytes)))
      (v128.store32_lane 0 (local.get $out) (local.get $bytes))
      (local.set $at (i32.add (local.get $out) (local.get $plane)))
      (v128.store32_lane 1 (local.get $at) (local.get $bytes))
      (v128.store32_lane 2 (i32.add (local.get $at) (local.get $plane)) (local.get $bytes))
      (local.set $out (i32.add (local.get $out) (i32.const 4)))
      (br_if $nextFour
        (i32.lt_u (local.tee $x (i32.add (local.get $x) (i32.const 4))) (local.get $width))))
    (local.set $row (i32.add (local.get $row) (local.get $sourcePitch)))
    (local.set $target (i32.add (local.get $target) (local.get $pitch)))
    (br_if $nextRow
      (i32.lt_u (local.tee $y (i32.add (local.get $y) (i32.const 1))) (local.get $height)))))

(func $rows
  (param $source i32) (param $pitch i32)
  (param $records i32) (param $pairs i32)
  (param $width i32) (param $height i32) (param $target i32)
  (local $first i32) (local $record i32) (local $x i32) (local $y i32) (local $k i32) (local $at i32)
  (local $half v128) (local $a v128) (local $b v128) (local $pair v128) (local $wl v128) (local $wh v128)
  (local $l0 v128) (local $l1 v128) (local $l2 v128) (local $l3 v128)
  (local $h0 v128) (local $h1 v128) (local $h2 v128) (local $h3 v128)
  ${HALF}
  (loop $nextRow
    (local.set $first (i32.add (local.get $source) (i32.load (local.get $records))))
    (local.set $x (i32.const 0))
    (loop $nextSixteen
      (local.set $at (i32.add (local.get $first) (local.get $x)))
      (local.set $record (local.get $records))
      (local.set $k (i32.const 0))
      ${['$l0', '$l1', '$l2', '$l3', '$h0', '$h1', '$h2', '$h3'].map(sum => `(local.set ${sum} ${ZERO})`).join(' ')}
      (loop $taps
        (local.set $wl (v128.load32_splat offset=4 (local.get $record)))
        (local.set $wh (v128.load32_splat offset=8 (local.get $record)))
        (local.set $record (i32.add (local.get $record) (i32.const 8)))
        (local.set $a (v128.load (local.get $at)))
        (local.set $b (v128.load (local.tee $at (i32.add (local.get $at) (local.get $pitch)))))
        (local.set $at (i32.add (local.get $at) (local.get $pitch)))
        (local.set $pair (i16x8.extend_low_i8x16_u
          (i8x16.shuffle 0 16 1 17 2 18 3 19 4 20 5 21 6 22 7 23 (local.get $a) (local.get $b))))
        ${add('$l0', '$pair', '$wl')} ${add('$h0', '$pair', '$wh')}
        (local.set $pair (i16x8.extend_high_i8x16_u
          (i8x16.shuffle 0 16 1 17 2 18 3 19 4 20 5 21 6 22 7 23 (local.get $a) (local.get $b))))
        ${add('$l1', '$pair', '$wl')} ${add('$h1', '$pair', '$wh')}
        (local.set $pair (i16x8.extend_low_i8x16_u
          (i8x16.shuffle 8 24 9 25 10 26 11 27 12 28 13 29 14 30 15 31 (local.get $a) (local.get $b))))
        ${add('$l2', '$pair', '$wl')} ${add('$h2', '$pair', '$wh')}
        (local.set $pair (i16x8.extend_high_i8x16_u
          (i8x16.shuffle 8 24 9 25 10 26 11 27 12 28 13 29 14 30 15 31 (local.get $a) (local.get $b))))
        ${add('$l3', '$pair', '$wl')} ${add('$h3', '$pair', '$wh')}
        (br_if $taps
          (i32.lt_u (local.tee $k (i32.add (local.get $k) (i32.const 1))) (local.get $pairs))))
      (v128.store (i32.add (local.get $target) (local.get $x))
        (i8x16.narrow_i16x8_u
          (i16x8.narrow_i32x4_s ${level('$l0', '$h0')} ${level('$l1', '$h1')})
          (i16x8.narrow_i32x4_s ${level('$l2', '$h2')} ${level('$l3', '$h3')})))
      (br_if $nextSixteen
        (i32.lt_u (local.tee $x (i32.add (local.get $x) (i32.const 16))) (local.get $width))))
    (local.set $records (i32.add (local.get $record) (i32.const 4)))
    (local.set $target (i32.add (local.get $target) (local.get $width)))
    (br_if $nextRow
      (i32.lt_u (local.tee $y (i32.add (local.get $y) (i32.const 1))) (local.get $height)))))
`;

/** The kernels over a memory of their own. Addresses and lengths are bytes. */
export interface ResampleKernels {
  readonly memory: WebAssembly.Memory;
  columns(
    source: number,
    sourcePitch: number,
    height: number,
    records: number,
    quads: number,
    width: number,
    target: number,
    pitch: number,
    plane: number,
  ): void;
  rows(
    source: number,
    pitch: number,
    records: number,
    pairs: number,
    width: number,
    height: number,
    target: number,
  ): void;
}

/** Null where the processor has no vector unit that WebAssembly can use. */
export function openResampleKernels(): ResampleKernels | null {
  // The text above is what the type says.
  return instantiate(SOURCE) as ResampleKernels | null;
}
