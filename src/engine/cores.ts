import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { GroundError } from '../errors.ts';

/**
 * Cores this process may use: its affinity, and the quota of its container where there is one; no more than the environment
 * variable GROUND_THREADS, for several processes side by side.
 */
export function usableCores(): number {
  return Math.max(1, Math.min(availableParallelism(), containerQuota(), threadLimit()));
}

function threadLimit(): number {
  const text = process.env.GROUND_THREADS ?? '';
  if (text === '') return Number.POSITIVE_INFINITY;
  if (/^[1-9]\d*$/.test(text)) return Number(text);
  throw new GroundError('usage', `GROUND_THREADS=${text}: expected a whole number from 1 on`);
}

function containerQuota(): number {
  let text: string;
  try {
    text = readFileSync('/sys/fs/cgroup/cpu.max', 'utf8');
  } catch {
    return Number.POSITIVE_INFINITY; // no cgroup v2: no quota
  }
  return quotaCores(text);
}

/** Cores of a cgroup's cpu.max ("200000 100000": microseconds of CPU in each period; "max 100000": no limit). */
export function quotaCores(cpuMax: string): number {
  const [quota, period] = cpuMax.trim().split(/\s+/).map(Number);
  if (!quota || !period) return Number.POSITIVE_INFINITY;
  return Math.ceil(quota / period);
}
