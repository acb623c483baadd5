/** Reading metrics.jsonl back. */
import { createReadStream } from 'node:fs';
import { createInterface } from 'node:readline';
import { errorCode, ioError } from '../atomic.ts';
import { type LineOf, type MetricsLine, metricsLine } from './schema.ts';

/**
 * The lines of these types in the order of the file; none where there is no file. Lines that are damaged, half written or
 * of another version are passed over; those of other types are not even parsed, as files grow long.
 */
export async function* readMetrics<T extends MetricsLine['type']>(
  file: string,
  types: readonly T[],
): AsyncGenerator<LineOf<T>> {
  const wanted = new Set<string>(types);
  try {
    for await (const text of createInterface({ input: createReadStream(file), crlfDelay: Infinity })) {
      const type = /^\{"type":"([\w-]+)"/.exec(text)?.[1];
      if (type === undefined || !wanted.has(type)) continue;
      const line = parseMetricsLine(text);
      // Its type is one of `types`: the text begins with it.
      if (line) yield line as LineOf<T>;
    }
  } catch (thrown) {
    if (errorCode(thrown) !== 'ENOENT') throw ioError(thrown, 'read', file);
  }
}

function parseMetricsLine(text: string): MetricsLine | undefined {
  try {
    return metricsLine.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined;
  }
}
