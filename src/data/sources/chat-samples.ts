/** The samples of LLaVA's and Ferret's files, up to what needs the image: which one it is, and who says what. */
import { basename } from 'node:path';
import type { Size } from '../box.ts';
import type { Piece } from '../conversation.ts';
import type { StoredConversation } from '../record.ts';
import type { Entry, RecordContent } from './entries.ts';
import { streamRecords } from './json-stream.ts';
import { roundsOf } from './rounds.ts';
import { note, type SourceReport } from './source.ts';
import { placeholdersOf, type Turn, turnsOf, withoutPlaceholders } from './turns.ts';

/** A sample that may wait on disk for its image: plain JSON. */
export interface ChatSample<Extra> {
  readonly turns: readonly Turn[];
  readonly extra: Extra;
}

export type JsonObject = Readonly<Record<string, unknown>>;

/**
 * Samples of several files, each a JSON list or JSON Lines. `extraOf` takes from a sample what its format adds. Left out,
 * and noted: samples about several images or a video, and those that are no conversation.
 */
export async function* chatEntries<Extra>(
  files: readonly string[],
  report: SourceReport,
  extraOf: (sample: JsonObject) => Extra,
): AsyncGenerator<Entry<ChatSample<Extra>>> {
  for (const file of files) {
    for await (const { value, key, line } of streamRecords(file)) {
      const id = isObject(value) ? idOf(value) : null;
      const place = `${basename(file)}:${line}, sample ${id ?? key}`;
      const entry = isObject(value) ? entryOf(value, place, report) : 'sample that is no object';
      if (typeof entry === 'string') {
        note(report, 'skipped', entry, place);
        continue;
      }
      const { images, turns } = entry;
      // Ids of samples are not unique in the files that people train on; places are.
      const text =
        images.length === 0 ? { id: `text-${basename(file)}-${key}${id === null ? '' : `-${id}`}` } : {};
      yield { images, ...text, place, content: { turns, extra: extraOf(value as JsonObject) } };
    }
  }
}

/** What turns the text of one message into pieces; null where the round it belongs to must go, `changed` told why. */
export type PiecesOfTurn<Extra> = (
  turn: Turn,
  sample: ChatSample<Extra>,
  image: Size,
  changed: (reason: string) => void,
) => Piece[] | null;

/** The conversations of one image, or of a text alone (`image` null), the samples that have no sound round left out. */
export function chatContent<Extra>(
  entries: readonly Entry<ChatSample<Extra>>[],
  image: Size | null,
  report: SourceReport,
  piecesOf: PiecesOfTurn<Extra>,
): RecordContent | null {
  const conversations = entries.flatMap(({ content, place }): StoredConversation[] => {
    const changed = (reason: string, turn: number) =>
      note(report, 'mended', reason, `${place}, turn ${turn}`);
    const turns = content.turns.map(turn => ({
      role: turn.role,
      index: turn.index,
      pieces: image
        ? piecesOf(turn, content, image, reason => changed(reason, turn.index))
        : [{ kind: 'text' as const, text: turn.text }],
    }));
    const rounds = roundsOf(turns, image !== null, changed);
    if (rounds.length > 0) return [{ kind: 'chat', rounds }];
    note(report, 'skipped', 'conversation without a usable round', place);
    return [];
  });
  return conversations.length === 0 ? null : { conversations };
}

export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Ids are text or numbers. */
export function idOf({ id }: JsonObject): string | null {
  if (typeof id === 'number') return String(id);
  return typeof id === 'string' && id.trim() !== '' ? id.trim() : null;
}

function entryOf(
  sample: JsonObject,
  place: string,
  report: SourceReport,
): { images: readonly string[]; turns: Turn[] } | string {
  if (sample.video !== undefined) return 'sample about a video';
  const images = imagesOf(sample);
  if (images === null) return 'image that is no file name';
  if (images.length > 1) return 'sample about several images';
  const turns = turnsOf(sample.conversations ?? sample.messages);
  if (typeof turns === 'string') return turns;
  const placeholders = placeholdersOf(turns);
  if (images.length === 0 && placeholders > 0) return 'image placeholder without an image';
  if (images.length === 1 && placeholders === 0)
    note(report, 'mended', 'image without a placeholder: shown first', place);
  if (placeholders > 1) note(report, 'mended', 'image placeholder repeated: shown once', place);
  return { images, turns: withoutPlaceholders(turns) };
}

/** The names of a sample's images: `image`, a text or a list, or `images`. */
function imagesOf(sample: JsonObject): string[] | null {
  const value = sample.image ?? sample.images ?? [];
  const names: readonly unknown[] = Array.isArray(value) ? value : [value];
  const texts = names.filter(name => typeof name === 'string').map(name => name.trim());
  return texts.length < names.length ? null : texts.filter(name => name !== '');
}
