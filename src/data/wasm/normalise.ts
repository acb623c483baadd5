/** 8-bit levels to floats as a WebAssembly vector kernel: level · scale + shift in float64, rounded once to float32. */
import { instantiate } from './module.ts';

/** Four levels, in the 32-bit lanes of `levels`, to four floats at `out` + `offset`. */
function four(levels: string, offset: number): string {
  const line = (pair: string) => `(f32x4.demote_f64x2_zero
    (f64x2.add (f64x2.mul (f64x2.convert_low_i32x4_u ${pair}) (local.get $scale)) (local.get $shift)))`;
  return `
    (local.set $four ${levels})
    (v128.store offset=${offset} (local.get $out)
      (i8x16.shuffle 0 1 2 3 4 5 6 7 16 17 18 19 20 21 22 23
        ${line('(local.get $four)')}
        ${line('(i8x16.shuffle 8 9 10 11 12 13 14 15 8 9 10 11 12 13 14 15 (local.get $four) (local.get $four))')}))`;
}

const SOURCE = `
;; \`levels\`: \`count\` bytes at \`source\`, in sixteens, to as many floats at \`out\`; \`line\` holds scale and shift.
(func $levels
  (param $source i32) (param $count i32) (param $line i32) (param $out i32)
  (local $end i32) (local $scale v128) (local $shift v128) (local $bytes v128) (local $eight v128) (local $four v128)
  (local.set $scale (v128.load64_splat (local.get $line)))
  (local.set $shift (v128.load64_splat offset=8 (local.get $line)))
  (local.set $end (i32.add (local.get $source) (local.get $count)))
  (loop $next
    (local.set $bytes (v128.load (local.get $source)))
    (local.set $eight (i16x8.extend_low_i8x16_u (local.get $bytes)))
    ${four('(i32x4.extend_low_i16x8_u (local.get $eight))', 0)}
    ${four('(i32x4.extend_high_i16x8_u (local.get $eight))', 16)}
    (local.set $eight (i16x8.extend_high_i8x16_u (local.get $bytes)))
    ${four('(i32x4.extend_low_i16x8_u (local.get $eight))', 32)}
    ${four('(i32x4.extend_high_i16x8_u (local.get $eight))', 48)}
    (local.set $out (i32.add (local.get $out) (i32.const 64)))
    (br_if $next
      (i32.lt_u (local.tee $source (i32.add (local.get $source) (i32.const 16))) (local.get $end)))))
`;

/** The kernel over a memory of its own of 64 KiB. Addresses and lengths are bytes. */
export interface NormaliseKernel {
  readonly memory: WebAssembly.Memory;
  levels(source: number, count: number, line: number, out: number): void;
}

/** Null where the processor has no vector unit that WebAssembly can use. */
export function openNormaliseKernel(): NormaliseKernel | null {
  // The text above is what the type says.
  return instantiate(SOURCE) as NormaliseKernel | null;
}
