/**
 * Golden cases of the reference implementations against ground's own networks and data code.
 * Usage: npm run parity -- DIR [--engine tensorflow|wasm|both] [--json]. Exits 1 if a case fails or is not known.
 */
import { parseArgs } from 'node:util';
import { startEngine } from '../src/engine/engine.ts';
import { GroundError, messageOf } from '../src/errors.ts';
import { type CaseReport, caseFolders, lineOf, reportCase } from './parity/report.ts';

const USAGE = 'npm run parity -- DIR [--engine tensorflow|wasm|both] [--json]';
const ENGINES = { tensorflow: ['tensorflow'], wasm: ['wasm'], both: ['tensorflow', 'wasm'] } as const;

function argumentsOf() {
  try {
    const { values, positionals } = parseArgs({
      allowPositionals: true,
      options: {
        engine: { type: 'string', default: 'both' },
        json: { type: 'boolean', default: false },
        help: { type: 'boolean', short: 'h', default: false },
      },
    });
    if (values.help) {
      console.log(USAGE);
      process.exit(0);
    }
    const [dir, ...more] = positionals;
    const engines = Object.entries(ENGINES).find(([name]) => name === values.engine)?.[1];
    if (dir !== undefined && more.length === 0 && engines) return { dir, engines, json: values.json };
  } catch (thrown) {
    console.error(`error: ${messageOf(thrown)}`);
  }
  console.error(`usage: ${USAGE}`);
  return process.exit(2);
}

/** All cases on all engines; whether all of them pass. */
async function run({ dir, engines, json }: ReturnType<typeof argumentsOf>): Promise<boolean> {
  const folders = caseFolders(dir);
  const reports: CaseReport[] = [];
  for (const engine of engines) {
    await startEngine({ engine, device: 'cpu' });
    for (const folder of folders) {
      const report = await reportCase(folder, engine);
      reports.push(report);
      if (!json) console.log(lineOf(report));
    }
  }
  const failures = reports.filter(report => report.verdict === 'FAIL').length;
  if (json) console.log(JSON.stringify(reports, null, 2));
  else console.log(`${reports.length - failures} of ${reports.length} pass`);
  return failures === 0;
}

try {
  process.exitCode = (await run(argumentsOf())) ? 0 : 1;
} catch (thrown) {
  console.error(`error: ${messageOf(thrown)}`);
  if (thrown instanceof GroundError && thrown.hint !== undefined) console.error(`hint: ${thrown.hint}`);
  process.exitCode = thrown instanceof GroundError ? thrown.exitCode : 1;
}
