import type { MachineFacts } from './facts.ts';

/** One thing that was looked at. */
export interface Check {
  readonly name: string;
  /** `fail`: training is impossible until it is mended; `warn`: slower, or something else will fail later. */
  readonly status: 'ok' | 'warn' | 'fail';
  readonly found: string;
  /** The command that mends it, or what to do; absent when all is well. */
  readonly mend?: string;
}

/** Judges a machine: every problem comes with what mends it. */
export function diagnose(facts: MachineFacts): Check[] {
  return [
    checkNode(facts),
    checkSystem(facts),
    checkCpu(facts),
    checkMemory(facts),
    ...facts.disk.map(({ dir, free }) => checkDisk(dir, free)),
    checkEngine(facts),
    checkGpu(facts),
    checkTools(facts),
  ];
}

/** False when a check says that training cannot work. */
export function canTrain(checks: readonly Check[]): boolean {
  return checks.every(check => check.status !== 'fail');
}

function checkNode({ node }: MachineFacts): Check {
  const [major = 0, minor = 0] = node.split('.').map(Number);
  const good = major > 20 || (major === 20 && minor >= 11);
  if (good) return { name: 'node', status: 'ok', found: node };
  return { name: 'node', status: 'fail', found: node, mend: 'install Node 20.11 or newer' };
}

/** The official wheels are built for this and newer (manylinux_2_27). */
const OLDEST_GLIBC = 27;

function checkSystem({ platform, arch, glibc }: MachineFacts): Check {
  const found = `${platform} ${arch}${glibc === '' ? '' : `, glibc ${glibc}`}`;
  const name = 'system';
  if (platform !== 'linux') return { name, status: 'ok', found };
  if (glibc === '') {
    const mend = 'use a distribution with glibc, or `--engine wasm`';
    return {
      name,
      status: 'warn',
      found: `${found}, no glibc: TensorFlow publishes no library for it`,
      mend,
    };
  }
  if (Number(glibc.split('.')[1]) >= OLDEST_GLIBC) return { name, status: 'ok', found };
  const mend = 'use a newer distribution, or `--engine wasm`';
  return { name, status: 'warn', found: `${found}, older than 2.${OLDEST_GLIBC}`, mend };
}

function checkCpu({ cpu, arch, platform }: MachineFacts): Check {
  const found = [cpu.model.trim(), `${cpu.cores} usable cores`, cpu.features.join(' ')]
    .filter(Boolean)
    .join(', ');
  const lacking = platform === 'linux' && arch === 'x64' && !cpu.features.includes('avx');
  if (!lacking) return { name: 'cpu', status: 'ok', found };
  return {
    name: 'cpu',
    status: 'warn',
    found: `${found}, no AVX: libtensorflow's wheel cannot run`,
    mend: 'use `--engine wasm`',
  };
}

const GIGABYTE = 1e9;
const gigabytes = (bytes: number) => `${(bytes / GIGABYTE).toFixed(1)} GB`;

function checkMemory({ memory }: MachineFacts): Check {
  const found = `${gigabytes(memory.available)} of ${gigabytes(memory.total)} available`;
  if (memory.available >= 2 * GIGABYTE) return { name: 'memory', status: 'ok', found };
  const mend = 'close other programs; the tiny recipe needs about 2 GB';
  return { name: 'memory', status: 'warn', found, mend };
}

function checkDisk(dir: string, free: number): Check {
  const found = `${gigabytes(free)} free in ${dir}`;
  if (free >= 2 * GIGABYTE) return { name: 'disk', status: 'ok', found };
  const status = free < 0.1 * GIGABYTE ? 'fail' : 'warn';
  return {
    name: 'disk',
    status,
    found,
    mend: 'free some space; `ground checkpoints prune` removes old checkpoints',
  };
}

function checkEngine({ engines, stale }: MachineFacts): Check {
  const name = 'engine';
  const broken = engines.find(({ fault }) => fault !== undefined);
  if (broken) {
    const found = `libtensorflow ${broken.engine.version}: ${broken.fault}`;
    return { name, status: 'fail', found, mend: setupCommand(broken.engine.device, true) };
  }
  const list = engines.map(
    ({ engine }) => `libtensorflow ${engine.version} for ${engine.device} (${engine.source})`,
  );
  if (list.length > 0) return { name, status: 'ok', found: list.join('; ') };
  if (stale > 0)
    return { name, status: 'fail', found: 'built for another version of ground', mend: 'ground setup' };
  const found = 'WebAssembly only, about ten times slower than libtensorflow';
  return { name, status: 'warn', found, mend: 'ground setup' };
}

function checkGpu({ gpus, engines }: MachineFacts): Check {
  const name = 'gpu';
  const built = engines.find(({ engine }) => engine.device === 'gpu');
  if (gpus.length === 0) return { name, status: 'ok', found: 'none' };
  const found = gpus.join('; ');
  if (!built) return { name, status: 'warn', found: `${found}; not used`, mend: setupCommand('gpu', false) };
  if (built.probe?.gpu) return { name, status: 'ok', found };
  const mend = 'check the NVIDIA driver with `nvidia-smi`, then run `ground setup --device gpu --force`';
  return { name, status: 'warn', found: `${found}; libtensorflow does not see it`, mend };
}

/** Compilers are needed for setup alone: without them a machine that has its engine is well. */
function checkTools({ missingTools, pip, tools, engines }: MachineFacts): Check {
  const name = 'build tools';
  const have = Object.values(tools).join('; ');
  const missing = pip ? [...missingTools] : [...missingTools, { what: 'pip', mend: 'python3 -m ensurepip' }];
  if (missing.length === 0) return { name, status: 'ok', found: have };
  const found = `missing: ${missing.map(tool => tool.what).join(', ')}`;
  if (engines.length > 0) return { name, status: 'ok', found: `${found} (needed for \`ground setup\` only)` };
  return { name, status: 'warn', found, mend: missing.map(tool => tool.mend).join(' && ') };
}

function setupCommand(device: 'cpu' | 'gpu', force: boolean): string {
  return ['ground setup', device === 'gpu' ? '--device gpu' : '', force ? '--force' : '']
    .filter(Boolean)
    .join(' ');
}
