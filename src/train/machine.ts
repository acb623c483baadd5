/** What the machine of a run can do, measured once and kept in the run's folder. */
import { readFile } from 'node:fs/promises';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { writeFileAtomic } from '../atomic.ts';
import { measurePeak } from './plan/speed.ts';

const FILE = 'machine.json';

/**
 * Operations a second of one large matrix product on the engine in use: from the run's `machine.json` where that is about
 * this engine and processor, or else measured in a few hundred milliseconds and written there.
 *
 * @param engine one line that names engine, device and threads
 */
export async function machinePeak(runDir: string, engine: string): Promise<number> {
  const file = join(runDir, FILE);
  const machine = { engine, processor: cpus()[0]?.model ?? 'unknown' };
  const known = await readMachine(file);
  if (known?.engine === machine.engine && known.processor === machine.processor) return known.peakFlops;
  const peakFlops = measurePeak();
  const text = `${JSON.stringify({ ...machine, peakFlops }, null, 2)}\n`;
  // Without the file it is measured again the next time; the run does not depend on it.
  await writeFileAtomic(file, text).catch(() => undefined);
  return peakFlops;
}

async function readMachine(
  file: string,
): Promise<
  { readonly engine: unknown; readonly processor: unknown; readonly peakFlops: number } | undefined
> {
  try {
    const machine = JSON.parse(await readFile(file, 'utf8'));
    return typeof machine?.peakFlops === 'number' && machine.peakFlops > 0 ? machine : undefined;
  } catch {
    return undefined;
  }
}
