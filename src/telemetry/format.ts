/** Numbers and tables as a person reads them. */

/** `1234567` to `1,234,567`. */
export function count(n: number): string {
  return n.toLocaleString('en-US');
}

/** Three significant digits, in scientific notation only where that is shorter: 0.123, 2e-4, 1.23e+9. */
export function significant(value: number): string {
  if (!Number.isFinite(value)) return String(value);
  const rounded = Number(value.toPrecision(3));
  const plain = String(rounded);
  const scientific = rounded.toExponential();
  return scientific.length < plain.length ? scientific : plain;
}

/** Three significant digits with a letter for the power of a thousand: `812`, `12.3k`, `4.56G`. */
export function thousands(value: number): string {
  if (!Number.isFinite(value)) return String(value);
  const units = ['', 'k', 'M', 'G', 'T', 'P'];
  let power = 0;
  let rest = Number(value.toPrecision(3));
  while (Math.abs(rest) >= 1000 && power < units.length - 1) {
    rest /= 1000;
    power++;
  }
  return `${Number(rest.toPrecision(3))}${units[power]}`;
}

/** Bytes as `812 B`, `12.3 MB`, `4.56 GB`. */
export function size(bytes: number): string {
  const [, number, unit] = /^(.*?)([a-z]?)$/i.exec(thousands(bytes)) ?? [];
  return `${number} ${unit}B`;
}

/** Seconds as one or two units: `45 s`, `12 min`, `3 h 5 min`, `2 d 4 h`. */
export function roughly(seconds: number): string {
  if (seconds < 60) return `${Math.max(0, Math.round(seconds))} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return minutes % 60 === 0 ? `${hours} h` : `${hours} h ${minutes % 60} min`;
  return `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

/** Seconds to `0:07`, `12:34` or `1:02:03`. */
export function duration(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  const two = (n: number): string => String(n).padStart(2, '0');
  const minutes = Math.floor(whole / 60);
  if (minutes < 60) return `${minutes}:${two(whole % 60)}`;
  return `${Math.floor(minutes / 60)}:${two(minutes % 60)}:${two(whole % 60)}`;
}

/** Rows of one width: the first column to the left, the others to the right. */
export function columns(rows: readonly (readonly string[])[]): string[] {
  const widths = (rows[0] ?? []).map((_, i) => Math.max(...rows.map(row => row[i]?.length ?? 0)));
  return rows.map(row =>
    row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0))).join('  '),
  );
}
