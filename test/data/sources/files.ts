/** Annotation files made by hand, and what a format makes of them. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { ImageRecord } from '../../../src/data/record.ts';
import {
  checkInputs,
  type SourceFormat,
  type SourceOptions,
  type SourceReport,
} from '../../../src/data/sources/source.ts';
import { temporaryFolder } from '../../helpers/folder.ts';

/** Writes files into a fresh folder, those that are no text or bytes as JSON; returns the folder. */
export function filesIn(files: Readonly<Record<string, unknown>>): string {
  const folder = temporaryFolder();
  for (const [name, content] of Object.entries(files)) {
    const file = join(folder, name);
    mkdirSync(dirname(file), { recursive: true });
    const isPlain = typeof content === 'string' || content instanceof Uint8Array;
    writeFileSync(file, isPlain ? content : JSON.stringify(content));
  }
  return folder;
}

/** All records of a source, without the bytes of their images, and its report. */
export async function readAll(
  format: SourceFormat,
  options: SourceOptions,
): Promise<{ records: Omit<ImageRecord, 'image'>[]; report: SourceReport; listed: number }> {
  checkInputs(format, options);
  const reader = await format.open(options);
  try {
    const listed = await reader.count();
    const records = [];
    for await (const { image: _, ...record } of reader) records.push(record);
    return { records, report: reader.report, listed };
  } finally {
    await reader.close?.();
  }
}
