/** Every benchmark, one after another; what one prints is its own affair. Usage: npm run bench. */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

let failed = 0;
for (const file of ['step.ts', 'attention.ts', 'decode.ts', 'loader.ts', 'checkpoint.ts']) {
  console.log(`\n== ${file.replace('.ts', '')}`);
  const script = fileURLToPath(new URL(file, import.meta.url));
  const { status } = spawnSync(process.execPath, ['--import', 'tsx', script], { stdio: 'inherit' });
  if (status !== 0) failed++;
}
process.exitCode = failed === 0 ? 0 : 1;
