import { describe, expect, it } from 'vitest';
import { canTrain, diagnose } from '../../src/engine/doctor/diagnose.ts';
import { gatherFacts, type MachineFacts, parseCpuFeatures } from '../../src/engine/doctor/facts.ts';
import type { InstalledEngine } from '../../src/engine/installed.ts';

const engine: InstalledEngine = {
  version: '2.21.0',
  device: 'cpu',
  source: 'a test',
  libraries: [],
  includeDir: '/include',
  loader: { path: '/loader', bytes: 1 },
  addon: { path: '/addon', bytes: 1 },
  created: 1,
};

const HEALTHY: MachineFacts = {
  node: '20.11.0',
  platform: 'linux',
  arch: 'x64',
  glibc: '2.36',
  cpu: { model: 'Some CPU', cores: 2, features: ['avx', 'avx2', 'fma'] },
  memory: { total: 16e9, available: 8e9 },
  disk: [{ dir: '/data', free: 50e9 }],
  gpus: [],
  engines: [{ engine, fault: undefined, probe: { version: '2.21.0', gpu: '' } }],
  stale: 0,
  missingTools: [],
  pip: true,
  tools: { 'g++': 'g++ 12' },
};

/** The one check that is not well, for a machine that differs from a healthy one in some facts. */
function ailment(facts: Partial<MachineFacts>) {
  const checks = diagnose({ ...HEALTHY, ...facts }).filter(check => check.status !== 'ok');
  expect(checks).toHaveLength(1);
  expect(checks[0]?.mend).toBeTruthy();
  return checks[0];
}

describe('diagnosis', () => {
  it('finds nothing on a healthy machine', () => {
    const checks = diagnose(HEALTHY);
    expect(checks.map(check => check.status)).toEqual(checks.map(() => 'ok'));
    expect(canTrain(checks)).toBe(true);
  });

  it.each(['18.20.0', '20.10.9', '20'])('Node %s cannot train', node => {
    expect(ailment({ node })).toMatchObject({ name: 'node', status: 'fail' });
  });

  it.each(['20.11.0', '22.0.0', '30.1.0'])('Node %s can', node => {
    expect(canTrain(diagnose({ ...HEALTHY, node }))).toBe(true);
  });

  it('names the command for each ailment', () => {
    expect(ailment({ engines: [] })).toMatchObject({ status: 'warn', mend: 'ground setup' });
    expect(ailment({ engines: [], stale: 1 })).toMatchObject({ status: 'fail', mend: 'ground setup' });
    const broken = { engine, fault: '/x is missing', probe: undefined };
    expect(ailment({ engines: [broken] })).toMatchObject({
      status: 'fail',
      found: 'libtensorflow 2.21.0: /x is missing',
      mend: 'ground setup --force',
    });
    expect(ailment({ engines: [{ ...broken, engine: { ...engine, device: 'gpu' } }] })).toMatchObject({
      mend: 'ground setup --device gpu --force',
    });
    expect(ailment({ gpus: ['H100'] })).toMatchObject({ status: 'warn', mend: 'ground setup --device gpu' });
  });

  it('says when an engine for GPUs sees none of those there are', () => {
    const gpuEngine = { ...engine, device: 'gpu' as const };
    const blind = { engine: gpuEngine, fault: undefined, probe: { version: '2.21.0', gpu: '' } };
    const seeing = { ...blind, probe: { version: '2.21.0', gpu: '/device:GPU:0' } };
    expect(ailment({ gpus: ['H100'], engines: [blind] })?.mend).toContain('nvidia-smi');
    expect(diagnose({ ...HEALTHY, gpus: ['H100'], engines: [seeing] }).every(c => c.status === 'ok')).toBe(
      true,
    );
  });

  it('misses build tools only where they are needed', () => {
    const missingTools = [{ what: 'make', mend: 'apt-get install make' }];
    expect(diagnose({ ...HEALTHY, missingTools }).every(check => check.status === 'ok')).toBe(true);
    const checks = diagnose({ ...HEALTHY, missingTools, engines: [] });
    expect(checks.find(check => check.name === 'build tools')).toMatchObject({
      status: 'warn',
      mend: 'apt-get install make',
    });
    expect(canTrain(checks)).toBe(true);
  });

  it('warns of little room before it is too late', () => {
    expect(ailment({ disk: [{ dir: '/data', free: 1e9 }] })?.status).toBe('warn');
    expect(ailment({ disk: [{ dir: '/data', free: 1e7 }] })?.status).toBe('fail');
    expect(ailment({ memory: { total: 2e9, available: 1e9 } })?.name).toBe('memory');
    expect(ailment({ glibc: '' })?.name).toBe('system');
    expect(ailment({ glibc: '2.17' })?.name).toBe('system');
    expect(ailment({ cpu: { ...HEALTHY.cpu, features: [] } })?.found).toContain('no AVX');
  });
});

it('reads the flags of x86 and the features of ARM', () => {
  expect(parseCpuFeatures('processor : 0\nflags\t\t: fpu avx avx2 sse\nbugs : x')).toEqual(['avx', 'avx2']);
  expect(parseCpuFeatures('Features\t: fp asimd sve')).toEqual(['asimd', 'sve']);
  expect(parseCpuFeatures('')).toEqual([]);
});

it('looks at the machine it runs on', async () => {
  const facts = await gatherFacts(process.env, process.cwd());
  expect(facts.node).toBe(process.versions.node);
  expect(facts.memory.available).toBeGreaterThan(0);
  expect(facts.memory.available).toBeLessThanOrEqual(facts.memory.total);
  expect(facts.disk.every(({ free }) => free > 0)).toBe(true);
  expect(facts.engines.map(({ fault }) => fault)).toEqual(facts.engines.map(() => undefined));
});
