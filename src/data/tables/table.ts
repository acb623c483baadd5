/** A file of rows and columns, whatever its format. */
import { extname } from 'node:path';
import { GroundError, messageOf } from '../../errors.ts';

/** Numbers, texts, booleans, bytes, lists and plain objects of these, or null. */
export type TableRow = Readonly<Record<string, unknown>>;

export interface Table {
  readonly file: string;
  readonly rows: number;
  /** Names of the columns at the top. */
  readonly columns: readonly string[];
  /** What the file says of itself: "huggingface", "ground.schema_version". */
  readonly metadata: ReadonlyMap<string, string>;
  /** All rows in their order, with these columns alone. */
  read(columns: readonly string[]): AsyncIterable<TableRow>;
}

/** The file is damaged, or none of its kind. */
export function brokenTable(file: string, kind: string, thrown: unknown): GroundError {
  if (thrown instanceof GroundError) return thrown;
  const other = { '.parquet': 'parquet', '.arrow': 'arrow' }[extname(file)];
  return new GroundError('data', `${file} cannot be read as ${kind}: ${messageOf(thrown)}`, {
    hint:
      other === undefined || other === kind.toLowerCase()
        ? 'was the file copied completely?'
        : `by its name it is for --from ${other}`,
    cause: thrown,
  });
}

/** 64-bit integers as numbers; those beyond 2^53 as text, for they can only be names. */
export function plainInteger(value: bigint): number | string {
  return value >= Number.MIN_SAFE_INTEGER && value <= Number.MAX_SAFE_INTEGER ? Number(value) : String(value);
}
