/**
 * The whole of `ground` in one go, on rendered scenes: data, three stages after pretraining, scores, ONNX, a prediction.
 * Usage: npm run demo [-- --engine wasm] [--scenes N] [--run NAME]. What is finished already is not done again.
 */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { openDataset } from '../src/data/dataset.ts';
import type { StageResult } from '../src/train/loop.ts';

const { values: options } = parseArgs({
  options: {
    engine: { type: 'string', default: 'auto' },
    scenes: { type: 'string', default: '6000' },
    run: { type: 'string', default: 'demo' },
    help: { type: 'boolean', default: false },
  },
});
if (options.help) {
  console.log('npm run demo [-- --engine auto|tensorflow|wasm] [--scenes N] [--run NAME]');
  process.exit(0);
}

/** Runs one command of ground, shown as a user would type it; ends the demo when it fails. */
function ground(args: readonly string[], capture = false): string {
  console.log(`\n$ ground ${args.join(' ')}`);
  const { status, stdout } = spawnSync(process.execPath, ['dist/cli/main.js', ...args], {
    stdio: ['ignore', capture ? 'pipe' : 'inherit', 'inherit'],
    encoding: 'utf8',
  });
  if (status !== 0) process.exit(status ?? 1);
  return stdout ?? '';
}

async function synth(dir: string, count: string, seed: string): Promise<void> {
  if (existsSync(`${dir}/manifest.json`)) return console.log(`\n${dir} is there already`);
  ground(['data', 'synth', '--preset', 'easy', '--out', dir, '--count', count, '--seed', seed]);
}

const began = performance.now();
const engine = ['--engine', options.engine];
await synth('data/scenes/train', options.scenes, '1');
await synth('data/scenes/val', '400', '2');
ground(['train', '--stage', '0-3', '--run', options.run, ...engine]);

const exported = JSON.parse(
  ground(
    ['export', 'onnx', '--run', options.run, '--out', `exports/${options.run}`, '--json', ...engine],
    true,
  ),
) as { readonly maxAbsoluteDifference: number };

const val = await openDataset('data/scenes/val');
const scene = await val.read(0);
await val.close();
await mkdir('exports', { recursive: true });
await writeFile('exports/scene.png', scene.image);
const phrase = scene.objects[0]?.phrase ?? 'object';
const question = `What is the location of ${phrase} in the image?`;
const predict = [
  'predict',
  '--run',
  options.run,
  '--image',
  'exports/scene.png',
  '--prompt',
  question,
  '--ground',
];
ground([...predict, '--out', 'exports/answer.png', ...engine]);

const stages = await Promise.all(
  [0, 1, 2, 3].map(
    async stage =>
      JSON.parse(
        await readFile(`checkpoints/${options.run}/stage${stage}/result.json`, 'utf8'),
      ) as StageResult,
  ),
);
const number = (value: number | null | undefined, digits: number): string => value?.toFixed(digits) ?? '-';
console.log();
console.table(
  Object.fromEntries(
    stages.map(s => [
      `${s.stage} ${s.name}`,
      {
        'trainable parameters': s.trainable,
        steps: s.steps,
        'first loss': number(s.firstLoss, 3),
        'last loss': number(s.lastLoss, 3),
        ROC: number(s.scores.roc_accuracy, 3),
        REC: number(s.scores.rec_accuracy, 3),
        'grounding gap': number(s.scores.grounding_gap, 3),
        seconds: number(s.seconds, 0),
      },
    ]),
  ),
);
console.log(
  `ONNX differs from the trained model by at most ${exported.maxAbsoluteDifference.toExponential(1)}.`,
);
console.log(`All of it took ${((performance.now() - began) / 60_000).toFixed(1)} minutes. To look further:

  tensorboard --logdir checkpoints/${options.run}
  npx ground predict --run ${options.run} --image exports/scene.png --prompt "${question}" --ground --out answer.png
  npx ground train --stage 3 --run ${options.run} --set steps=${(stages[3]?.steps ?? 0) + 500} --resume
`);
