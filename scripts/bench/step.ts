/**
 * A training step: recorded, against the same model and batch in PyTorch (eager with fused attention and AdamW, and
 * compiled), against TensorFlow.js as it comes (op by op, composed layers) and against the machine's matrix peak. The sides
 * take turns. Usage: npm run bench:step [-- --models tiny,small --stages stage1,stage3 --pairs 7 --sides tfjs,pytorch,compiled
 * --seconds 1 --json]. GROUND_PYTHON names a Python with torch and numpy; without one PyTorch's sides are left out.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { isDeepStrictEqual, parseArgs } from 'node:util';
import { z } from 'zod';
import { loadRecipe } from '../../src/config/load.ts';
import { findPython } from '../../test/helpers/python.ts';
import { named, readShapes, SHAPES_FILE } from './shapes.ts';
import { median, medianRatio, Side, THREADS } from './side.ts';
import { checkAnswer, memoryAnswer, peakAnswer, timeAnswer } from './step-protocol.ts';

/** Sides that ours is compared with. */
const OTHERS = { tfjs: 'eager tfjs', pytorch: 'PyTorch eager', compiled: 'torch.compile' } as const;
type Other = keyof typeof OTHERS;

/** Steps whose losses must agree before anything is timed. */
const CHECKED_STEPS = 3;
const TOLERANCE = 2e-3;

interface Measured {
  readonly seconds: number[];
  /** Most memory that the process held, bytes. */
  memory: number;
}

interface Result {
  readonly model: string;
  readonly stage: string;
  /** Of the recorded step's matrix products. */
  readonly flops: number;
  /** Median of the largest matrix product's speed, on the engine and, where it is there, in PyTorch: operations a second. */
  readonly peak: { readonly ground: number; readonly pytorch: number | null };
  /** Share of the higher peak that the step reaches. */
  readonly mfu: number;
  readonly ground: { readonly seconds: number; readonly memory: number };
  readonly others: Partial<
    Record<Other, { readonly seconds: number; readonly memory: number; readonly ratio: number }>
  >;
}

/** The tiny shapes are the tiny recipe's: throws where one has been changed without the other. */
function checkTiny(): void {
  const ours = named(readShapes().models, 'tiny').model;
  const recipe = loadRecipe({
    recipeDir: new URL('../../configs/ferret-v2-tiny', import.meta.url).pathname,
    stage: 3,
    files: 'ignore',
  }).model;
  for (const key of ['image', 'global_encoder', 'local_encoder', 'projector', 'sampler', 'llm'] as const) {
    if (!isDeepStrictEqual(ours[key], recipe[key])) {
      throw new Error(`${SHAPES_FILE}: ${key} of tiny is not the tiny recipe's`);
    }
  }
}

interface Options {
  readonly pairs: number;
  /** How long a side's turn lasts at least. */
  readonly seconds: number;
  readonly others: readonly Other[];
  readonly python: string | undefined;
}

async function measure(model: string, stage: string, options: Options): Promise<Result> {
  const { pairs, seconds, others, python } = options;
  const folder = await mkdtemp(join(tmpdir(), 'ground-bench-'));
  const start = (other: Other): Side =>
    other === 'tfjs'
      ? Side.node(other, 'step-side.ts', [model, stage, 'eager'])
      : Side.python(other, python ?? '', 'step.py', [model, stage, folder, other]);
  const writer = Side.node('writer', 'step-side.ts', [model, stage]);
  await writer.ask(z.object({}), { do: 'write', folder });
  writer.close();
  const ground = Side.node('ground', 'step-side.ts', [model, stage]);
  const sides = new Map(others.map(other => [other, start(other)] as const));
  try {
    const ours = await ground.ask(checkAnswer, { do: 'check', steps: CHECKED_STEPS });
    for (const [other, side] of sides) {
      const theirs = await side.ask(checkAnswer, { do: 'check', steps: CHECKED_STEPS });
      checkSameWork(`${model} ${stage}, ${OTHERS[other]}`, ours, theirs);
    }
    const measured = new Map(
      [ground, ...sides.values()].map(side => [side, { seconds: [], memory: 0 } as Measured]),
    );
    const peaks: { ground: number[]; pytorch: number[] } = { ground: [], pytorch: [] };
    // Memory of steps alone: measuring peaks takes some of its own.
    for (const [side, own] of measured) own.memory = (await side.ask(memoryAnswer, { do: 'memory' })).bytes;
    for (let pair = 0; pair < pairs; pair++) {
      for (const [side, own] of measured) {
        own.seconds.push((await side.ask(timeAnswer, { do: 'time', seconds })).seconds);
      }
      peaks.ground.push((await ground.ask(peakAnswer, { do: 'peak' })).flops);
      const torch = sides.get('pytorch') ?? sides.get('compiled');
      if (torch) peaks.pytorch.push((await torch.ask(peakAnswer, { do: 'peak' })).flops);
    }
    const own = measured.get(ground) ?? { seconds: [], memory: 0 };
    const peak = {
      ground: median(peaks.ground),
      pytorch: peaks.pytorch.length > 0 ? median(peaks.pytorch) : null,
    };
    return {
      model,
      stage,
      flops: ours.flops,
      peak,
      mfu: ours.flops / median(own.seconds) / Math.max(peak.ground, peak.pytorch ?? 0),
      ground: { seconds: median(own.seconds), memory: own.memory },
      others: Object.fromEntries(
        [...sides].map(([other, side]) => {
          const theirs = measured.get(side) ?? { seconds: [], memory: 0 };
          const ratio = medianRatio(own.seconds, theirs.seconds);
          return [other, { seconds: median(theirs.seconds), memory: theirs.memory, ratio }];
        }),
      ),
    };
  } finally {
    for (const side of [ground, ...sides.values()]) side.close();
    await rm(folder, { recursive: true, force: true });
  }
}

/** Throws where another side does not compute the same losses and the same norm of the gradients. */
function checkSameWork(
  what: string,
  ours: z.infer<typeof checkAnswer>,
  theirs: z.infer<typeof checkAnswer>,
): void {
  const pairs = [...ours.losses.map((loss, i) => [loss, theirs.losses[i]]), [ours.gradNorm, theirs.gradNorm]];
  for (const [a = Number.NaN, b = Number.NaN] of pairs) {
    if (!(Math.abs(a - b) <= TOLERANCE * Math.abs(b))) {
      throw new Error(
        `${what}: losses ${theirs.losses}, ours ${ours.losses}; norms ${theirs.gradNorm}, ours ${ours.gradNorm}`,
      );
    }
  }
}

function print({ model, stage, flops, peak, mfu, ground, others }: Result): void {
  const row = (name: string, cells: readonly string[]): string =>
    `  ${name.padEnd(16)}${cells.map(cell => cell.padStart(12)).join('')}`;
  const giga = (flop: number): string => `${(flop / 1e9).toFixed(0)} GFLOP/s`;
  const cells = (side: { readonly seconds: number; readonly memory: number }, ratio?: number): string[] => [
    `${(1000 * side.seconds).toFixed(side.seconds < 0.1 ? 2 : 0)} ms`,
    ratio === undefined ? '' : ratio.toFixed(2),
    `${(side.memory / 2 ** 20).toFixed(0)} MiB`,
  ];
  console.log(
    `${model}, ${stage}: ${(flops / 1e9).toFixed(2)} GFLOP a step, ${(100 * mfu).toFixed(0)} % of the matrix peak`,
  );
  console.log(row('', ['a step', 'ours/theirs', 'memory']));
  console.log(row('ground', cells(ground)));
  for (const [other, side] of Object.entries(others)) {
    console.log(row(OTHERS[other as Other], cells(side, side.ratio)));
  }
  const theirs = peak.pytorch === null ? '' : `, PyTorch ${giga(peak.pytorch)}`;
  console.log(`  matrix peak: libtensorflow ${giga(peak.ground)}${theirs}`);
}

const { values } = parseArgs({
  options: {
    models: { type: 'string', default: 'tiny,small' },
    stages: { type: 'string', default: 'stage1,stage3' },
    sides: { type: 'string', default: Object.keys(OTHERS).join(',') },
    pairs: { type: 'string', default: '7' },
    seconds: { type: 'string', default: '0.5' },
    json: { type: 'boolean', default: false },
  },
});
checkTiny();
const python = findPython(['torch', 'numpy']);
const asked = values.sides.split(',').filter(side => side !== '');
const others = (Object.keys(OTHERS) as Other[]).filter(
  other => asked.includes(other) && (other === 'tfjs' || python !== undefined),
);
if (python === undefined && !values.json) {
  console.log('no Python with torch and numpy (GROUND_PYTHON): without PyTorch');
}
const results: Result[] = [];
for (const model of values.models.split(',')) {
  for (const stage of values.stages.split(',')) {
    const options = { pairs: Number(values.pairs), seconds: Number(values.seconds), others, python };
    const result = await measure(model, stage, options);
    results.push(result);
    if (!values.json) print(result);
  }
}
if (values.json) {
  console.log(
    JSON.stringify(
      { cores: availableParallelism(), threads: THREADS, node: process.version, results },
      null,
      2,
    ),
  );
}
