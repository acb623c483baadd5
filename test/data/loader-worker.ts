/** Takes steps from a loader, a line with digest and position for each: run by workers.test.ts in a process of its own. */
import { readFileSync } from 'node:fs';
import { type LoaderOptions, openLoader } from '../../src/data/loader.ts';
import { GroundError } from '../../src/errors.ts';
import { digestOf } from './digest.ts';

interface Work extends LoaderOptions {
  readonly steps: number;
  /** Give memory back after each step. */
  readonly recycle?: boolean;
  /** Close while a step is waited for. */
  readonly closeEarly?: boolean;
}

const { steps, recycle, closeEarly, ...options }: Work = JSON.parse(
  readFileSync(process.argv[2] ?? '', 'utf8'),
);
const say = (line: object): void => console.log(JSON.stringify(line));

try {
  const loader = await openLoader(options);
  try {
    for (let i = 0; i < steps; i++) {
      const step = await loader.next();
      say({ digest: digestOf(step), position: step.position });
      if (recycle) loader.recycle(step.batches);
    }
    if (closeEarly) {
      for (;;) {
        await Promise.all([loader.next(), loader.close()]);
      }
    }
  } finally {
    await loader.close();
  }
} catch (thrown) {
  if (!(thrown instanceof GroundError)) throw thrown;
  say({ error: { code: thrown.code, message: thrown.message, hint: thrown.hint ?? '' } });
}
