/** Chrome's trace format (chrome://tracing, Perfetto): what ran when, as JSON. */

/** Something that took time; milliseconds of one clock. */
export interface TracedSpan {
  readonly name: string;
  /** Kind of span, by which a viewer filters. */
  readonly category: string;
  readonly began: number;
  readonly ended: number;
  readonly details?: Readonly<Record<string, unknown>>;
}

/**
 * Complete ("X") events of one thread, in which spans that lie in each other nest; the one that began first is at 0.
 * Times are microseconds.
 */
export function chromeTrace(process: string, spans: readonly TracedSpan[]): string {
  const sorted = [...spans].sort((a, b) => a.began - b.began || b.ended - a.ended);
  const zero = sorted[0]?.began ?? 0;
  const place = { pid: 1, tid: 1 };
  const named = (name: string, value: string): object => ({
    name,
    ph: 'M',
    ...place,
    args: { name: value },
  });
  const events = sorted.map(({ name, category, began, ended, details }) => ({
    name,
    cat: category,
    ph: 'X',
    ts: microseconds(began - zero),
    dur: microseconds(ended - began),
    ...place,
    ...(details === undefined ? {} : { args: details }),
  }));
  const traceEvents = [named('process_name', process), named('thread_name', 'training'), ...events];
  return `{"displayTimeUnit":"ms","traceEvents":[\n${traceEvents.map(e => JSON.stringify(e)).join(',\n')}\n]}\n`;
}

/** Whole nanoseconds: the clock has no finer ones. */
function microseconds(milliseconds: number): number {
  return Math.round(milliseconds * 1e6) / 1e3;
}
