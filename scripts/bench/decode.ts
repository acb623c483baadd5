/**
 * Tokens per second of cached decoding at batch 1, the most likely token each time: our recorded step against PyTorch eager.
 * Usage: npm run bench:decode [-- --pairs 7 --json]. GROUND_PYTHON names a Python with torch and numpy.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { z } from 'zod';
import { findPython } from '../../test/helpers/python.ts';
import { decodeAnswer } from './decode-protocol.ts';
import { readShapes } from './shapes.ts';
import { median, medianRatio, Side, THREADS } from './side.ts';

const { values } = parseArgs({
  options: { pairs: { type: 'string', default: '7' }, json: { type: 'boolean', default: false } },
});
const shapes = readShapes().decode;
const python = findPython(['torch', 'numpy']);
const folder = await mkdtemp(join(tmpdir(), 'ground-bench-'));
const ground = Side.node('ground', 'decode-side.ts');
const sides = [ground];
try {
  await ground.ask(z.object({}), { do: 'write', folder });
  if (python !== undefined) sides.push(Side.python('pytorch', python, 'decode.py', [folder]));
  const seconds = sides.map((): number[] => []);
  // The first round warms up and records; its tokens are compared.
  const first: number[][] = [];
  for (const side of sides) first.push((await side.ask(decodeAnswer, { do: 'run' })).ids);
  const [ours = [], theirs] = first;
  const same = theirs ? ours.filter((id, i) => id === theirs[i]).length : ours.length;
  // Weights that were never trained score many tokens almost alike: rounding may decide, from where on all differ.
  if (ours[0] !== (theirs ?? ours)[0]) throw new Error('the two sides decode different tokens');
  for (let pair = 0; pair < Number(values.pairs); pair++) {
    for (const [i, side] of sides.entries()) {
      seconds[i]?.push((await side.ask(decodeAnswer, { do: 'run' })).seconds);
    }
  }
  const rate = (times: readonly number[] = []): number => shapes.tokens / median(times);
  const result = {
    ground: rate(seconds[0]),
    pytorch: theirs ? rate(seconds[1]) : null,
    /** Median of the pairs' ratios of tokens per second, ours by theirs. */
    ratio: theirs ? medianRatio(seconds[1] ?? [], seconds[0] ?? []) : null,
    sameTokens: same,
  };
  if (values.json) {
    console.log(
      JSON.stringify({ cores: availableParallelism(), threads: THREADS, shapes, ...result }, null, 2),
    );
  } else {
    const other = theirs
      ? `, PyTorch ${result.pytorch?.toFixed(1)}: ${result.ratio?.toFixed(2)} times; ${same} of ${shapes.tokens} tokens the same`
      : '';
    console.log(
      `${shapes.model}, ${shapes.tokens} tokens after ${shapes.prompt}: ground ${result.ground.toFixed(1)} tokens/s${other}`,
    );
  }
} finally {
  for (const side of sides) side.close();
  await rm(folder, { recursive: true, force: true });
}
