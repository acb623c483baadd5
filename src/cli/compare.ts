import type { Command } from 'commander';
import { GroundError } from '../errors.ts';
import { intervalText } from './eval.ts';
import { type CommonOptions, countingNumber, wholeNumber, withCommon } from './options.ts';
import { createOutput, type Output } from './output.ts';

interface CompareOptions extends CommonOptions {
  readonly seed: number;
  readonly bootstrap: number;
}

/** Adds `ground compare`. */
export function register(program: Command): void {
  const command = program
    .command('compare')
    .description('compare two evaluated runs on the questions that both answered')
    .argument('<a>', 'a run, the folder of a run or a stage, or a file of predictions')
    .argument('<b>', 'another one')
    .option('--bootstrap <n>', 'draws for the intervals', countingNumber, 1000)
    .option('--seed <n>', 'which draws', wholeNumber, 0);
  withCommon(command).action((a: string, b: string, options: CompareOptions) =>
    run(a, b, options, createOutput(options)),
  );
}

async function run(a: string, b: string, options: CompareOptions, out: Output): Promise<void> {
  const { comparePredictions } = await import('../eval/compare.ts');
  const { findPredictions } = await import('../eval/kept.ts');
  const { readPredictions } = await import('../eval/predictions.ts');
  const read = async (path: string) => {
    const files = await findPredictions(path);
    return { files, lines: (await Promise.all(files.map(readPredictions))).flat() };
  };
  const [first, second] = [await read(a), await read(b)];
  const { scores, unpaired } = comparePredictions(first.lines, second.lines, {
    seed: options.seed,
    resamples: options.bootstrap,
  });
  if (scores.length === 0) {
    throw new GroundError('data', `${a} and ${b} have no scored question in common`, {
      hint: 'evaluate both with the same --data, --task, --seed and --limit',
    });
  }
  if (unpaired.a + unpaired.b > 0) {
    out.note(`left out what only one was asked: ${unpaired.a} of a, ${unpaired.b} of b`);
  }
  out.line(`a: ${first.files.join(', ')}`);
  out.line(`b: ${second.files.join(', ')}`);
  const isSeveral = new Set(scores.map(score => score.data)).size > 1;
  out.table(
    [...(isSeveral ? ['data'] : []), 'score', 'questions', 'images', 'a', 'b', 'b - a', '95 %', 'p'],
    scores.map(s => [
      ...(isSeveral ? [s.data] : []),
      s.score,
      s.questions,
      s.images,
      s.a.toFixed(4),
      s.b.toFixed(4),
      s.difference.toFixed(4),
      intervalText(s),
      s.p.toFixed(3),
    ]),
  );
  out.result({ a: first.files, b: second.files, unpaired, scores });
}
