/** Our own format, one record a line: everything that a record can hold, docs/data.md has it to the last key. */
import { basename, dirname } from 'node:path';
import type { Size } from '../box.ts';
import { type Entry, type RecordContent, readEntries } from './entries.ts';
import { ShapeError } from './json-shape.ts';
import { streamRecords } from './json-stream.ts';
import { Unusable } from './jsonl-places.ts';
import { contentOfLine, headOf, type LineHead, malformed } from './jsonl-record.ts';
import { inputsOf, note, type SourceFormat, type SourceOptions, type SourceReport, tally } from './source.ts';

interface Line {
  readonly head: LineHead;
  readonly value: unknown;
}

export const jsonl: SourceFormat = {
  name: 'jsonl',
  describes: "ground's own format: everything that a record can hold, one a line (docs/data.md)",
  inputs: [
    { flag: 'annotations', what: 'file', required: true, many: true, help: 'the records' },
    {
      flag: 'images',
      what: 'folder',
      required: false,
      many: true,
      help: 'the folder that their file names start from; by default the folder of the first file',
    },
  ],
  async open(options) {
    const files = inputsOf(options, 'annotations');
    const images = inputsOf(options, 'images');
    const inputs = {
      ...options.inputs,
      images: images.length > 0 ? images : files.slice(0, 1).map(file => dirname(file)),
    };
    return readEntries<Line>(
      { ...options, inputs },
      {
        entries: report => lines(files, options, report),
        contentOf: (entries, image, report) => contentOf(entries, image, options, report),
      },
    );
  },
};

/** All lines, their shape checked, so that a mistake is found before the first image is read. */
async function* lines(
  files: readonly string[],
  { split }: SourceOptions,
  report: SourceReport,
): AsyncGenerator<Entry<Line>> {
  for (const file of files) {
    for await (const { value, key, line } of streamRecords(file)) {
      const place = `${basename(file)}:${line}`;
      try {
        const head = headOf(value);
        const found = contentOfLine(value, null, () => {});
        if (split !== undefined && found.split !== split) {
          tally(report.counts, 'records of other splits');
          continue;
        }
        const id = head.id ?? (head.image === undefined ? `text-${basename(file)}-${key}` : undefined);
        const named = id === undefined ? {} : { id };
        yield {
          images: head.image === undefined ? [] : [head.image],
          ...named,
          place,
          content: { head, value },
        };
      } catch (thrown) {
        throw thrown instanceof ShapeError ? malformed(file, line, thrown) : thrown;
      }
    }
  }
}

/** The content of the first line of an id; another one of the same id is left out. */
function contentOf(
  [first, ...others]: readonly Entry<Line>[],
  image: Size | null,
  { masks }: SourceOptions,
  report: SourceReport,
): RecordContent | null {
  if (!first) return null;
  for (const { place } of others) note(report, 'skipped', 'id that is there already', place);
  const { head, value } = first.content;
  if (
    image &&
    ((head.width ?? image.width) !== image.width || (head.height ?? image.height) !== image.height)
  ) {
    note(report, 'skipped', 'image of another size than annotated', first.place);
    return null;
  }
  try {
    const content = contentOfLine(value, image, (reason, at) =>
      note(report, 'mended', reason, `${first.place}, ${at}`),
    );
    return masks === false
      ? { ...content, objects: (content.objects ?? []).map(({ mask: _, ...object }) => object) }
      : content;
  } catch (thrown) {
    if (!(thrown instanceof Unusable)) throw thrown;
    note(report, 'skipped', thrown.message, `${first.place}, ${thrown.at}`);
    return null;
  }
}
