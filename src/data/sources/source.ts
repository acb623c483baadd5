/** What every annotation format gives: how it is called, which files it wants, and a stream of records with a report. */
import { GroundError } from '../../errors.ts';
import type { ImageRecord } from '../record.ts';
import type { GroupOptions } from './group.ts';

/** One thing a format is built from, and the flag that names it: `--annotations FILE`. */
export interface SourceInput {
  /** Name of the flag, without dashes; also the key in `SourceOptions.inputs`. */
  readonly flag: string;
  /** A path, or (`value`) a word about how to read, which is passed on as it was given. */
  readonly what: 'file' | 'folder' | 'value';
  /** The words that a `value` may be; any where absent. */
  readonly choices?: readonly string[];
  readonly required: boolean;
  /** Whether the flag may be given several times. */
  readonly many?: boolean;
  readonly help: string;
}

export interface SourceOptions {
  /** Paths and values by flag, as given; a flag that was not given is absent. */
  readonly inputs: Readonly<Record<string, readonly string[]>>;
  /** At most so many records. */
  readonly limit?: number | undefined;
  /** Whether to keep masks; true by default. */
  readonly masks?: boolean | undefined;
  /** Only this split of the source ("train", "testA"), where the format knows splits. */
  readonly split?: string | undefined;
  /** Records name the image's absolute path and leave `image` empty instead of holding the file. */
  readonly link?: boolean | undefined;
  /** How much memory grouping may take, and where what does not fit goes. */
  readonly spill?: GroupOptions | undefined;
}

/** What became of the annotations; complete once all records have been taken. */
export interface SourceReport {
  /** What was read: images, objects, captions, rounds, … */
  readonly counts: Record<string, number>;
  /** What was left out, by reason, */
  readonly skipped: Record<string, number>;
  /** and what was kept with something cut or dropped. */
  readonly mended: Record<string, number>;
  /** Where the first few of each of these reasons were met: "sample 12, turn 3". */
  readonly examples: Record<string, string[]>;
}

/** Records in an order that depends on nothing but the inputs. */
export interface SourceReader extends AsyncIterable<ImageRecord> {
  readonly report: SourceReport;
  /** Records that the inputs list, within the limit: what progress is measured by. */
  count(): Promise<number>;
  /** Removes temporary files, if any; called once, also after a failure. */
  close?(): Promise<void>;
}

/** An annotation format: `ground data build --from <name>`. */
export interface SourceFormat {
  readonly name: string;
  readonly describes: string;
  readonly inputs: readonly SourceInput[];
  /** Throws `usage` on missing inputs and `data` where a file is not of this format. */
  open(options: SourceOptions): Promise<SourceReader>;
}

/** What was given under a flag; empty where it was not. */
export function inputsOf({ inputs }: SourceOptions, flag: string): readonly string[] {
  return inputs[flag] ?? [];
}

/** The one path or value of a flag. */
export function inputOf(options: SourceOptions, flag: string): string | undefined {
  return inputsOf(options, flag)[0];
}

/** Throws `usage` where a format lacks an input that it requires, or has one that it does not know. */
export function checkInputs({ name, inputs }: SourceFormat, options: SourceOptions): void {
  const known = inputs.map(({ flag }) => `--${flag}`).join(', ');
  for (const [flag, given] of Object.entries(options.inputs)) {
    const input = inputs.find(one => one.flag === flag);
    if (!input && given.length > 0) {
      throw new GroundError('usage', `--${flag} is nothing that ${name} reads`, {
        hint: `it reads ${known}`,
      });
    }
    if (input && !input.many && given.length > 1) {
      throw new GroundError('usage', `--${flag} is given ${given.length} times`, { hint: 'give it once' });
    }
    const wrong = input?.choices && given.find(value => !input.choices?.includes(value));
    if (wrong !== undefined) {
      throw new GroundError('usage', `--${flag} "${wrong}" makes no sense`, {
        hint: `it must be one of ${input?.choices?.join(', ')}`,
      });
    }
  }
  for (const { flag, required, what, help } of inputs) {
    if (!required || inputsOf(options, flag).length > 0) continue;
    throw new GroundError('usage', `${name} needs --${flag} ${what.toUpperCase()}: ${help}`, {
      hint: `it reads ${known}`,
    });
  }
}

/** Adds one to (or `by` to) a reason or a count. */
export function tally(counts: Record<string, number>, reason: string, by = 1): void {
  counts[reason] = (counts[reason] ?? 0) + by;
}

/** Places that a report names for a reason; a file with a million of the same fault needs no million lines. */
const EXAMPLES = 3;

/** Counts a thing that was left out (`skipped`) or changed (`mended`), and remembers where, for the first few. */
export function note(
  report: SourceReport,
  became: 'skipped' | 'mended',
  reason: string,
  place: string,
): void {
  tally(report[became], reason);
  report.examples[reason] ??= [];
  const places = report.examples[reason];
  if (places.length < EXAMPLES) places.push(place);
}

export function emptyReport(): SourceReport {
  return { counts: {}, skipped: {}, mended: {}, examples: {} };
}
