import { existsSync, readdirSync, readFileSync, statfsSync } from 'node:fs';
import { cpus, freemem, totalmem } from 'node:os';
import { dirname } from 'node:path';
import { messageOf } from '../../errors.ts';
import { usableCores } from '../cores.ts';
import { cacheDir, damageOf, findInstalled, findStale, type InstalledEngine } from '../installed.ts';
import { findProgram, runCommand } from '../setup/command.ts';
import { type Probe, probeAddon } from '../setup/probe.ts';
import { hasPip, type MissingTool, missingBuildTools, pythonName } from '../setup/tools.ts';

/** What a machine is like, as far as training is concerned. Only data: judging it is another matter. */
export interface MachineFacts {
  readonly node: string;
  readonly platform: string;
  readonly arch: string;
  /** "2.36"; empty where the C library is another one (musl). */
  readonly glibc: string;
  readonly cpu: { readonly model: string; readonly cores: number; readonly features: readonly string[] };
  /** Bytes; the container's limit where there is one. */
  readonly memory: { readonly total: number; readonly available: number };
  readonly disk: readonly { readonly dir: string; readonly free: number }[];
  /** Names of NVIDIA GPUs, as the driver gives them. */
  readonly gpus: readonly string[];
  readonly engines: readonly EngineFacts[];
  /** Engines that were built from other sources of the addon than these. */
  readonly stale: number;
  readonly missingTools: readonly MissingTool[];
  readonly pip: boolean;
  /** First lines of `--version`, by program. */
  readonly tools: Readonly<Record<string, string>>;
}

export interface EngineFacts {
  readonly engine: InstalledEngine;
  /** What is wrong with it; undefined when it loads and computes. */
  readonly fault: string | undefined;
  readonly probe: Probe | undefined;
}

/** Looks at this machine. Tries every installed engine in a process of its own. */
export async function gatherFacts(env: NodeJS.ProcessEnv, cwd: string): Promise<MachineFacts> {
  const cache = cacheDir(env);
  return {
    node: process.versions.node,
    platform: process.platform,
    arch: process.arch,
    glibc: glibcVersion(),
    cpu: { model: cpus()[0]?.model ?? 'unknown', cores: usableCores(), features: cpuFeatures() },
    memory: memory(),
    disk: [...new Set([nearestFolder(cache), cwd])].map(dir => ({ dir, free: freeSpace(dir) })),
    gpus: await nvidiaGpus(env),
    engines: await Promise.all(findInstalled(cache).map(engine => tryEngine(engine, env))),
    stale: findStale(cache).length,
    missingTools: missingBuildTools(env),
    pip: await hasPip(env),
    tools: await toolVersions(env),
  };
}

async function tryEngine(engine: InstalledEngine, env: NodeJS.ProcessEnv): Promise<EngineFacts> {
  const damage = damageOf(engine);
  if (damage) return { engine, fault: damage, probe: undefined };
  try {
    return { engine, fault: undefined, probe: await probeAddon(engine.addon.path, engine.device, env) };
  } catch (error) {
    return { engine, fault: messageOf(error), probe: undefined };
  }
}

/** The vector instructions that decide how fast, or whether, libtensorflow runs here. */
const INTERESTING = ['avx', 'avx2', 'fma', 'avx512f', 'avx512_vnni', 'amx_tile', 'asimd', 'sve'];

function cpuFeatures(): string[] {
  try {
    return parseCpuFeatures(readFileSync('/proc/cpuinfo', 'utf8'));
  } catch {
    return []; // not Linux
  }
}

/** Of /proc/cpuinfo's flags (x86) or Features (ARM) those that matter. */
export function parseCpuFeatures(cpuinfo: string): string[] {
  const line = /^(?:flags|Features)\s*:(.*)$/m.exec(cpuinfo)?.[1] ?? '';
  const flags = new Set(line.trim().split(/\s+/));
  return INTERESTING.filter(flag => flags.has(flag));
}

function memory(): { total: number; available: number } {
  const limit = containerLimit();
  const available = availableMemory();
  return { total: Math.min(totalmem(), limit), available: Math.min(available, limit) };
}

function containerLimit(): number {
  try {
    const text = readFileSync('/sys/fs/cgroup/memory.max', 'utf8').trim();
    return text === 'max' ? Number.POSITIVE_INFINITY : Number(text);
  } catch {
    return Number.POSITIVE_INFINITY;
  }
}

/** What can be had without swapping: the file cache counts as free, which `os.freemem` does not see. */
function availableMemory(): number {
  try {
    const kilobytes = /^MemAvailable:\s+(\d+) kB/m.exec(readFileSync('/proc/meminfo', 'utf8'))?.[1];
    return kilobytes === undefined ? freemem() : Number(kilobytes) * 1024;
  } catch {
    return freemem();
  }
}

function nearestFolder(dir: string): string {
  return existsSync(dir) ? dir : nearestFolder(dirname(dir));
}

function freeSpace(dir: string): number {
  const { bavail, bsize } = statfsSync(dir);
  return bavail * bsize;
}

function glibcVersion(): string {
  // Node's types leave the report's contents open.
  const report = process.report.getReport() as { header?: { glibcVersionRuntime?: string } };
  return report.header?.glibcVersionRuntime ?? '';
}

/** GPUs by the driver's own tool; by the kernel's device files where that is not installed. */
async function nvidiaGpus(env: NodeJS.ProcessEnv): Promise<string[]> {
  const query = ['--query-gpu=name,memory.total', '--format=csv,noheader'];
  const listed = await runCommand('nvidia-smi', query, { env });
  if (listed.status === 0) return listed.stdout.trim().split('\n').filter(Boolean);
  if (!existsSync('/dev')) return [];
  return readdirSync('/dev').filter(name => /^nvidia\d+$/.test(name));
}

async function toolVersions(env: NodeJS.ProcessEnv): Promise<Record<string, string>> {
  const versions: Record<string, string> = {};
  for (const name of [env.CXX ?? 'g++', env.MAKE ?? 'make', pythonName(env)]) {
    if (!findProgram(name, env)) continue;
    const { stdout, stderr } = await runCommand(name, ['--version'], { env });
    versions[name] = (stdout || stderr).split('\n')[0] ?? '';
  }
  return versions;
}
