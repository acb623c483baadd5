/** A case's comparisons in one line. */
import { existsSync, readdirSync } from 'node:fs';
import { basename, join } from 'node:path';
import { GroundError, messageOf } from '../../src/errors.ts';
import type { Comparison } from './compare.ts';
import { runCase } from './index.ts';

export interface CaseReport {
  readonly case: string;
  readonly engine: string;
  readonly verdict: 'pass' | 'FAIL';
  /** Tensors and tables compared. */
  readonly compared: number;
  /** Largest difference in any of them, absolute, and relative to the largest magnitude expected. */
  readonly absolute: number;
  readonly relative: number;
  /** The tensor whose difference comes closest to what is allowed, that (relative), and the share used (1 is all). */
  readonly closest: string;
  readonly tolerance: number;
  readonly used: number;
  /** What failed, worst first, or why the case could not be computed. */
  readonly failures: readonly string[];
  /** Tensors that the case says need not be compared, and why. */
  readonly skipped: Readonly<Record<string, string>>;
}

/** The case folders in a directory, in order of their names. Throws `usage` where there is none. */
export function caseFolders(dir: string): string[] {
  const entries = existsSync(dir) ? readdirSync(dir, { withFileTypes: true }) : [];
  const folders = entries.filter(entry => entry.isDirectory() && !/^[._]/.test(entry.name));
  if (folders.length === 0) {
    throw new GroundError('usage', `${dir} holds no case folders`, {
      hint: 'give the folder in which clip-vision, llama and the other cases lie',
    });
  }
  return folders.map(entry => join(dir, entry.name)).sort();
}

/** Computes and compares one case on the running engine; whatever goes wrong is its failure. */
export async function reportCase(dir: string, engine: string): Promise<CaseReport> {
  try {
    return summarize(basename(dir), engine, await runCase(dir));
  } catch (thrown) {
    const report = summarize(basename(dir), engine, []);
    return { ...report, failures: [messageOf(thrown)] };
  }
}

function summarize(name: string, engine: string, comparisons: readonly Comparison[]): CaseReport {
  const compared = comparisons.filter(c => c.skipped === undefined);
  const share = (c: Comparison): number => (c.error === 0 ? 0 : c.error / c.allowed);
  const byShare = [...compared].sort((a, b) => share(b) - share(a));
  // What is zero in exact arithmetic has no relative tolerance to show.
  const closest = byShare.find(c => c.relativeAllowed > 0) ?? byShare[0];
  const failures = byShare.filter(c => !c.passes);
  return {
    case: name,
    engine,
    verdict: compared.length > 0 && failures.length === 0 ? 'pass' : 'FAIL',
    compared: compared.length,
    absolute: Math.max(0, ...compared.map(c => c.error)),
    relative: Math.max(0, ...compared.map(c => c.relative)),
    closest: closest?.tensor ?? '',
    tolerance: closest?.relativeAllowed ?? 0,
    used: closest === undefined ? 0 : share(closest),
    failures: failures.map(describe),
    skipped: Object.fromEntries(
      comparisons.flatMap(c => (c.skipped === undefined ? [] : [[c.tensor, c.skipped]])),
    ),
  };
}

function describe({ tensor, error, allowed }: Comparison): string {
  if (error === Number.POSITIVE_INFINITY) return `${tensor} is missing, misshapen, not a number or not equal`;
  return `${tensor} is off by ${error.toExponential(1)}, allowed ${allowed.toExponential(1)}`;
}

/** Name, engine, differences, tolerance, verdict; where it failed, the worst of why. */
export function lineOf(report: CaseReport): string {
  const number = (value: number): string => (value === 0 ? '0' : value.toExponential(1)).padEnd(8);
  const columns = [
    report.case.padEnd(24),
    report.engine.padEnd(11),
    `${report.compared} compared`.padEnd(13),
    `abs ${number(report.absolute)}`,
    `rel ${number(report.relative)}`,
    `tolerance ${number(report.tolerance)} (${(100 * report.used).toFixed(1)} % used)`.padEnd(33),
    report.verdict,
  ];
  const [first, ...more] = report.failures;
  const why = first === undefined ? '' : `: ${first}${more.length > 0 ? `, and ${more.length} more` : ''}`;
  return columns.join(' ') + why;
}
