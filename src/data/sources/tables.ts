/** Parquet and Arrow files as sources: those that `ground data export` writes, and Hugging Face's. */
import { readFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { ioError } from '../../atomic.ts';
import { GroundError } from '../../errors.ts';
import type { BoxSpace } from '../box.ts';
import { readLink } from '../links.ts';
import type { ImageRecord } from '../record.ts';
import { type ColumnMap, classNames, columnMap, ROLES } from '../tables/columns.ts';
import { recordOfForeignRow } from '../tables/foreign-rows.ts';
import { isOwnTable, OWN_COLUMNS, recordsOfOwnRows } from '../tables/own-rows.ts';
import type { Table, TableRow } from '../tables/table.ts';
import { requireFolder } from './image-file.ts';
import {
  checkInputs,
  emptyReport,
  inputOf,
  inputsOf,
  type SourceFormat,
  type SourceInput,
  type SourceOptions,
  type SourceReader,
  type SourceReport,
  tally,
} from './source.ts';

const SPACES: readonly BoxSpace[] = ['pixels', 'unit', 'permille', 'padded-square', 'bins'];

/** Rows of our own layout that are turned into records at once. */
const OWN_ROWS = 32;

const INPUTS: readonly SourceInput[] = [
  { flag: 'files', what: 'file', required: true, many: true, help: 'the files, in the order of their rows' },
  {
    flag: 'column',
    what: 'value',
    required: false,
    many: true,
    help: `ROLE=COLUMN, such as caption=text; roles: ${ROLES.join(', ')}`,
  },
  {
    flag: 'box-corners',
    what: 'value',
    required: false,
    choices: ['xywh', 'xyxy'],
    help: 'corner and size (COCO, default) or two corners',
  },
  {
    flag: 'boxes',
    what: 'value',
    required: false,
    choices: SPACES,
    help: 'the space of the boxes (default: pixels)',
  },
  {
    flag: 'labels',
    what: 'file',
    required: false,
    help: 'names of numbered categories, one a line, from number 0',
  },
  { flag: 'images', what: 'folder', required: false, help: 'folder of images that rows only name' },
];

/** `ground data build --from parquet`. */
export const parquet: SourceFormat = {
  name: 'parquet',
  describes: "Parquet files: those of `ground data export`, or Hugging Face's with an image column",
  inputs: INPUTS,
  async open(options) {
    const { openParquet } = await import('../tables/read-parquet.ts');
    checkInputs(parquet, options);
    return openTables(options, openParquet);
  },
};

/** `ground data build --from arrow`. */
export const arrow: SourceFormat = {
  name: 'arrow',
  describes: "Arrow files and streams: shards, those of `ground data export`, or Hugging Face's",
  inputs: INPUTS,
  async open(options) {
    const { openArrow } = await import('../tables/read-arrow.ts');
    checkInputs(arrow, options);
    return openTables(options, openArrow);
  },
};

async function openTables(
  options: SourceOptions,
  openTable: (file: string) => Promise<Table>,
): Promise<SourceReader> {
  const images = inputOf(options, 'images');
  if (images !== undefined) await requireFolder(images);
  const labels = await labelsOf(inputOf(options, 'labels'));
  const tables: OpenedTable[] = [];
  for (const file of inputsOf(options, 'files')) {
    const table = await openTable(file);
    const given = inputsOf(options, 'column');
    const columns = given.length === 0 && isOwnTable(table) ? null : columnMap(table, given);
    if (columns && !columns.image && !columns.conversations) {
      throw new GroundError('data', `${file} has no column of images or conversations`, {
        hint: `say which it is with --column image=NAME; its columns are ${table.columns.join(', ')}`,
      });
    }
    tables.push({ table, columns, names: columns ? (labels ?? namesOf(table, columns)) : null });
  }
  return new TableReader(tables, options);
}

interface OpenedTable {
  readonly table: Table;
  /** Null for our own layout. */
  readonly columns: ColumnMap | null;
  readonly names: readonly string[] | null;
}

class TableReader implements SourceReader {
  readonly report: SourceReport = emptyReport();
  readonly #tables: readonly OpenedTable[];
  readonly #options: SourceOptions;
  readonly #limit: number;

  constructor(tables: readonly OpenedTable[], options: SourceOptions) {
    this.#tables = tables;
    this.#options = options;
    this.#limit = options.limit ?? Number.POSITIVE_INFINITY;
  }

  async count(): Promise<number> {
    return Math.min(
      this.#limit,
      this.#tables.reduce((sum, { table }) => sum + table.rows, 0),
    );
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<ImageRecord> {
    const { split, masks } = this.#options;
    let records = 0;
    for await (const found of this.#records()) {
      if (split !== undefined && found.split !== split) {
        tally(this.report.skipped, 'row of another split');
        continue;
      }
      const record = masks === false ? withoutMasks(found) : found;
      this.#count(record);
      yield record;
      if (++records >= this.#limit) return;
    }
    if (records === 0) {
      const reasons = Object.entries(this.report.skipped).map(([reason, times]) => `${reason}: ${times}`);
      throw new GroundError('data', `not one record in the files (${reasons.join('; ') || 'no rows'})`, {
        hint: 'which columns hold what is said with --column',
      });
    }
  }

  async *#records(): AsyncGenerator<ImageRecord> {
    for (const { table, columns, names } of this.#tables) {
      if (columns) yield* this.#foreign(table, columns, names);
      else yield* this.#own(table);
    }
  }

  async *#own({ file, read }: Table): AsyncGenerator<ImageRecord> {
    let rows: TableRow[] = [];
    let first = 0;
    const records = async () => {
      const found = recordsOfOwnRows(rows, file, first);
      first += rows.length;
      rows = [];
      return Promise.all(found.map(record => withImage(record, file, this.#options)));
    };
    for await (const row of read(OWN_COLUMNS)) {
      rows.push(row);
      if (rows.length === OWN_ROWS) yield* await records();
    }
    if (rows.length > 0) yield* await records();
  }

  async *#foreign(
    { file, read }: Table,
    columns: ColumnMap,
    names: readonly string[] | null,
  ): AsyncGenerator<ImageRecord> {
    const wanted = new Set(Object.values(columns).flatMap(paths => paths.map(([top = '']) => top)));
    const options = {
      columns,
      names,
      corners: inputOf(this.#options, 'box-corners') === 'xyxy' ? 'xyxy' : 'xywh',
      space: SPACES.find(space => space === inputOf(this.#options, 'boxes')) ?? 'pixels',
      images: inputOf(this.#options, 'images'),
      link: this.#options.link === true,
      report: this.report,
    } as const;
    let index = 0;
    for await (const row of read([...wanted])) {
      const record = await recordOfForeignRow(row, file, index++, options);
      if (record) yield record;
    }
  }

  #count({ width, captions, objects, conversations = [] }: ImageRecord): void {
    const { counts } = this.report;
    tally(counts, width > 0 ? 'images' : 'texts');
    const masks = objects.filter(object => object.mask).length;
    const totals = { captions: captions.length, objects: objects.length, masks };
    for (const [name, times] of Object.entries({ ...totals, conversations: conversations.length })) {
      if (times > 0) tally(counts, name, times);
    }
  }
}

/** A linked image is found beside the file, and read unless links are wanted. */
async function withImage(record: ImageRecord, file: string, { link }: SourceOptions): Promise<ImageRecord> {
  if (record.path === undefined || record.image.length > 0) return record;
  const { path: stored, ...rest } = record;
  const path = resolve(dirname(file), stored);
  return link ? { ...rest, path } : { ...rest, image: await readLink(path) };
}

function withoutMasks(record: ImageRecord): ImageRecord {
  return { ...record, objects: record.objects.map(({ mask: _, ...object }) => object) };
}

function namesOf(table: Table, columns: ColumnMap): readonly string[] | null {
  for (const path of columns['objects.category'] ?? []) {
    const names = classNames(table, path);
    if (names) return names;
  }
  return null;
}

async function labelsOf(file: string | undefined): Promise<readonly string[] | null> {
  if (file === undefined) return null;
  const text = await readFile(file, 'utf8').catch(thrown => {
    throw ioError(thrown, 'read', file);
  });
  return text.trimEnd().split(/\r?\n/);
}
