/**
 * Attention forward and backward, time and memory by length: our fused op against PyTorch's scaled_dot_product_attention.
 * Usage: npm run bench:attention [-- --lengths 256,1024 --kinds causal,full --pairs 7 --json]. GROUND_PYTHON names a Python with torch.
 */
import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import type { z } from 'zod';
import { findPython } from '../../test/helpers/python.ts';
import { firstAnswer } from './attention-protocol.ts';
import { readShapes } from './shapes.ts';
import { median, medianRatio, Side, THREADS } from './side.ts';
import { timeAnswer } from './step-protocol.ts';

const TOLERANCE = 1e-3;

interface Measured {
  readonly seconds: number;
  /** Most memory of one forward and backward beside what was held before, bytes. */
  readonly bytes: number;
}

interface Result {
  readonly length: number;
  readonly kind: string;
  readonly ground: Measured;
  readonly pytorch: Measured | null;
  /** Median of the pairs' ratios of times, ours by theirs. */
  readonly ratio: number | null;
}

async function measure(
  length: number,
  kind: string,
  options: { readonly pairs: number; readonly seconds: number; readonly python: string | undefined },
): Promise<Result> {
  const args = [String(length), kind];
  const sides = [Side.node('ground', 'attention-side.ts', args)];
  if (options.python !== undefined) sides.push(Side.python('pytorch', options.python, 'attention.py', args));
  try {
    const firsts: z.infer<typeof firstAnswer>[] = [];
    for (const side of sides) firsts.push(await side.ask(firstAnswer, { do: 'first' }));
    const times = sides.map((): number[] => []);
    for (let pair = 0; pair < options.pairs; pair++) {
      for (const [i, side] of sides.entries()) {
        const request = { do: 'time', seconds: options.seconds };
        times[i]?.push((await side.ask(timeAnswer, request)).seconds);
      }
    }
    const [ours, theirs] = sides.map((_, i) => ({
      seconds: median(times[i] ?? []),
      bytes: firsts[i]?.bytes ?? 0,
      squares: firsts[i]?.squares ?? 0,
    }));
    if (!ours) throw new Error('nothing was measured');
    if (theirs && !(Math.abs(ours.squares - theirs.squares) <= TOLERANCE * theirs.squares)) {
      throw new Error(`${length} ${kind}: squares of gradients ${theirs.squares}, ours ${ours.squares}`);
    }
    return {
      length,
      kind,
      ground: { seconds: ours.seconds, bytes: ours.bytes },
      pytorch: theirs ? { seconds: theirs.seconds, bytes: theirs.bytes } : null,
      ratio: theirs ? medianRatio(times[0] ?? [], times[1] ?? []) : null,
    };
  } finally {
    for (const side of sides) side.close();
  }
}

function print({ length, kind, ground, pytorch, ratio }: Result): void {
  const side = ({ seconds, bytes }: Measured): string =>
    `${(1000 * seconds).toFixed(1)} ms, ${(bytes / 2 ** 20).toFixed(1)} MiB`;
  const other = pytorch ? `; PyTorch ${side(pytorch)}; ours/theirs ${ratio?.toFixed(2)}` : '';
  console.log(`${kind} ${length}: ground ${side(ground)}${other}`);
}

const shapes = readShapes().attention;
const { values } = parseArgs({
  options: {
    lengths: { type: 'string', default: shapes.lengths.join(',') },
    kinds: { type: 'string', default: 'causal,full' },
    pairs: { type: 'string', default: '7' },
    seconds: { type: 'string', default: '0.2' },
    json: { type: 'boolean', default: false },
  },
});
const python = findPython(['torch', 'numpy']);
if (python === undefined && !values.json) console.log('no Python with torch (GROUND_PYTHON): our side alone');
const results: Result[] = [];
for (const kind of values.kinds.split(',')) {
  for (const length of values.lengths.split(',').map(Number)) {
    const result = await measure(length, kind, {
      pairs: Number(values.pairs),
      seconds: Number(values.seconds),
      python,
    });
    results.push(result);
    if (!values.json) print(result);
  }
}
if (values.json) {
  console.log(
    JSON.stringify(
      { cores: availableParallelism(), threads: THREADS, node: process.version, shapes, results },
      null,
      2,
    ),
  );
}
