/** Takes steps from a loader and prints a digest of each: run by loader.test.ts in a process of its own. */
import { readFileSync } from 'node:fs';
import { type LoaderOptions, openLoader } from '../../src/data/loader.ts';
import { GroundError } from '../../src/errors.ts';
import { digestOf } from './digest.ts';

const { steps, ...options }: LoaderOptions & { steps: number } = JSON.parse(
  readFileSync(process.argv[2] ?? '', 'utf8'),
);
const digests: string[] = [];
try {
  const loader = await openLoader(options);
  for (let i = 0; i < steps; i++) {
    digests.push(digestOf(await loader.next()));
  }
  await loader.close();
  console.log(JSON.stringify({ digests }));
} catch (thrown) {
  if (!(thrown instanceof GroundError)) throw thrown;
  console.log(JSON.stringify({ digests, error: { code: thrown.code, message: thrown.message } }));
}
