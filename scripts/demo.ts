/**
 * The whole of `ground` in one go, on rendered scenes: data, three stages after pretraining, scores, ONNX, a prediction.
 * Usage: npm run demo [-- --engine wasm] [--recipe NAME] [--scenes N] [--run NAME]. What is finished already is not done again.
 */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { createOutput } from '../src/cli/output.ts';
import { loadRecipe } from '../src/config/load.ts';
import { openDataset } from '../src/data/dataset.ts';
import type { StageResult } from '../src/train/loop.ts';

interface Scenes {
  readonly dir: string;
  readonly count: number;
  readonly seed: number;
  readonly options: readonly string[];
}

/** The scenes that a recipe's comments ask for: those it trains on, and those it is scored on. */
const RECIPES: Readonly<Record<string, { readonly train: readonly Scenes[]; readonly val: Scenes }>> = {
  'ferret-v2-tiny': {
    // Fuller than the scenes that are scored: more to choose from, so that names matter.
    train: [scenes('data/scenes/train', 10000, 1, '--preset easy --objects 1-4 --scale 0.25-0.5')],
    val: scenes('data/scenes/val', 400, 2, '--preset easy'),
  },
  'ferret-v2-small-scenes': {
    train: [
      scenes('data/wide-scenes/train', 16000, 1, '--preset wide --objects 2-5'),
      scenes('data/mid-scenes/train', 8000, 5, '--preset wide --objects 2-5 --scale 0.14-0.36'),
      scenes('data/large-scenes/train', 16000, 1, '--preset easy --objects 1-4 --scale 0.25-0.5'),
    ],
    val: scenes('data/wide-scenes/val', 400, 2, '--preset wide'),
  },
};

function scenes(dir: string, count: number, seed: number, options: string): Scenes {
  return { dir, count, seed, options: options.split(' ') };
}

const usage = 'npm run demo [-- --engine auto|tensorflow|wasm] [--recipe NAME] [--scenes N] [--run NAME]';
const { values } = parseArgs({
  options: {
    engine: { type: 'string', default: 'auto' },
    recipe: { type: 'string', default: 'ferret-v2-tiny' },
    scenes: { type: 'string' },
    run: { type: 'string' },
    help: { type: 'boolean', default: false },
  },
});
if (values.help) {
  console.log(`${usage}\nrecipes: ${Object.keys(RECIPES).join(', ')}`);
  process.exit(0);
}
const data = Object.hasOwn(RECIPES, values.recipe) ? RECIPES[values.recipe] : undefined;
if (!data) {
  console.error(`no demo of a recipe "${values.recipe}"; there is ${Object.keys(RECIPES).join(', ')}`);
  process.exit(1);
}
const options = {
  ...values,
  run: values.run ?? (values.recipe === 'ferret-v2-tiny' ? 'demo' : values.recipe),
};
const recipe = ['--recipe', `configs/${options.recipe}`];

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

function synth({ dir, count, seed, options: more }: Scenes): void {
  if (existsSync(`${dir}/manifest.json`)) console.log(`\n${dir} is there already`);
  else ground(['data', 'synth', ...more, '--out', dir, '--count', `${count}`, '--seed', `${seed}`]);
}

const began = performance.now();
const engine = ['--engine', options.engine];
for (const set of data.train) synth({ ...set, count: Number(options.scenes ?? set.count) });
synth(data.val);
const STAGES = [0, 1, 2, 3];
if (options.engine === 'wasm') {
  // WebAssembly takes about ten times as long a step: a tenth of the steps shows that everything works.
  for (const stage of STAGES) {
    const { steps } = loadRecipe({ recipeDir: `configs/${options.recipe}`, stage }).stage;
    const fewer = ['--set', `steps=${Math.ceil(steps / 10)}`];
    ground(['train', ...recipe, '--stage', `${stage}`, '--run', options.run, ...fewer, ...engine]);
  }
} else {
  ground(['train', ...recipe, '--stage', '0-3', '--run', options.run, ...engine]);
}

const exported = JSON.parse(
  ground(
    ['export', 'onnx', '--run', options.run, '--out', `exports/${options.run}`, '--json', ...engine],
    true,
  ),
) as { readonly differences: readonly { readonly absolute: number }[] };

const val = await openDataset(data.val.dir);
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
  STAGES.map(async stage => {
    const file = `checkpoints/${options.run}/stage${stage}/result.json`;
    return JSON.parse(await readFile(file, 'utf8')) as StageResult;
  }),
);
const rounded = (value: number | null | undefined): string => value?.toFixed(3) ?? '-';
console.log();
createOutput({}).table(
  ['stage', 'name', 'trains', 'steps', 'first loss', 'last loss', 'ROC', 'REC', 'grounding gap', 'seconds'],
  stages.map(({ stage, name, trainable, steps, firstLoss, lastLoss, scores, seconds }) => [
    ...[stage, name, trainable, steps, rounded(firstLoss), rounded(lastLoss)],
    ...[rounded(scores.roc_accuracy), rounded(scores.rec_accuracy), rounded(scores.grounding_gap)],
    Math.round(seconds),
  ]),
);
const largest = Math.max(...exported.differences.map(difference => difference.absolute));
console.log(`
ROC: share of regions named rightly of two options. REC: share of boxes with IoU 0.5 or more. Grounding gap: how much
the loss grows when images are exchanged. Held-out scenes; the ONNX file differs from the model by at most ${largest.toExponential(1)}.

All of it took ${((performance.now() - began) / 60_000).toFixed(1)} minutes. To look further:

  tensorboard --logdir checkpoints/${options.run}
  npx ground predict --run ${options.run} --image exports/scene.png --prompt "${question}" --ground --out answer.png
  npx ground train ${recipe.join(' ')} --stage 3 --run ${options.run} --set steps=${(stages[3]?.steps ?? 0) + 500} --resume
`);
