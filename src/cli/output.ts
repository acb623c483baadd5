/**
 * How commands speak. Results go to stdout: lines for people, or with `--json` exactly one JSON document. Everything
 * said along the way (progress, notes, errors) goes to stderr, so that a pipe only ever carries the result.
 */

/** The two streams a command writes to; tests pass their own. */
export interface Streams {
  readonly stdout: { write(text: string): unknown; readonly isTTY?: boolean };
  readonly stderr: { write(text: string): unknown; readonly isTTY?: boolean };
  readonly env: Readonly<Record<string, string | undefined>>;
}

/** A value that a table cell can hold. */
export type Cell = string | number | boolean | null | undefined;

export interface Output {
  /** True under `--json`: human lines are dropped and `result` prints. */
  readonly json: boolean;
  readonly style: Style;
  /** One line for a person, on stdout; nothing under `--json`. */
  line(text?: string): void;
  /** Aligned columns under a header; numbers to the right. Nothing under `--json`. */
  table(header: readonly string[], rows: readonly (readonly Cell[])[]): void;
  /** The command's result as a JSON document on stdout; nothing without `--json`. Call it once. */
  result(value: unknown): void;
  /** One line on stderr, in both modes. */
  note(text: string): void;
}

/** Colours that vanish where nobody sees them. */
export interface Style {
  bold(text: string): string;
  dim(text: string): string;
  red(text: string): string;
  green(text: string): string;
  yellow(text: string): string;
}

/** Whether escape codes may be written to a stream: NO_COLOR and dumb terminals say no (no-color.org). */
export function colorsAllowed(stream: { readonly isTTY?: boolean }, env: Streams['env']): boolean {
  if (env.NO_COLOR !== undefined && env.NO_COLOR !== '') return false;
  if (env.FORCE_COLOR !== undefined && env.FORCE_COLOR !== '0') return true;
  return stream.isTTY === true && env.TERM !== 'dumb';
}

/** The style of a stream that does or does not take colours. */
export function styleOf(colors: boolean): Style {
  const paint = (open: number, close: number) => (text: string) =>
    colors ? `\u001b[${open}m${text}\u001b[${close}m` : text;
  return {
    bold: paint(1, 22),
    dim: paint(2, 22),
    red: paint(31, 39),
    green: paint(32, 39),
    yellow: paint(33, 39),
  };
}

/** Columns padded to their widest cell, two spaces between them; a column of numbers is aligned to the right. */
export function formatTable(header: readonly string[], rows: readonly (readonly Cell[])[]): string[] {
  const text = (cell: Cell) => (cell === null || cell === undefined ? '-' : String(cell));
  const numeric = header.map((_, c) => rows.length > 0 && rows.every(row => typeof row[c] === 'number'));
  const lines = [header, ...rows.map(row => header.map((_, c) => text(row[c])))];
  const widths = header.map((_, c) => Math.max(...lines.map(line => (line[c] ?? '').length)));
  return lines.map(line =>
    widths
      .map((width, c) => (numeric[c] ? (line[c] ?? '').padStart(width) : (line[c] ?? '').padEnd(width)))
      .join('  ')
      .trimEnd(),
  );
}

/** The output of one command. `streams` is the process's own unless a test listens. */
export function createOutput(options: { readonly json?: boolean }, streams: Streams = process): Output {
  const json = options.json === true;
  const style = styleOf(colorsAllowed(streams.stdout, streams.env));
  const line = (text = '') => {
    if (!json) streams.stdout.write(`${text}\n`);
  };
  return {
    json,
    style,
    line,
    table(header, rows) {
      const [head, ...body] = formatTable(header, rows);
      line(style.bold(head ?? ''));
      for (const row of body) line(row);
    },
    result(value) {
      if (json) streams.stdout.write(`${JSON.stringify(value, null, 2)}\n`);
    },
    note(text) {
      streams.stderr.write(`${text}\n`);
    },
  };
}
