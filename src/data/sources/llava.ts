/** LLaVA's conversation files: [{id, image, conversations: [{from, value}, …]}, …]. */
import type { BoxSpace, PixelBox, Size } from '../box.ts';
import { boxCodec } from '../box-text.ts';
import { boxPiece, type Piece, regionPiece, textPiece } from '../conversation.ts';
import { chatContent, chatEntries } from './chat-samples.ts';
import { readEntries } from './entries.ts';
import { inputOf, inputsOf, type SourceFormat } from './source.ts';
import { piecesAt, soundBox } from './turn-boxes.ts';
import type { Turn } from './turns.ts';

const SPACES: readonly BoxSpace[] = ['pixels', 'unit', 'permille', 'padded-square', 'bins'];

/** Four numbers in brackets. */
const WRITTEN_BOX = /\[\s*-?\d*\.?\d+(?:\s*,\s*-?\d*\.?\d+){3}\s*\]/g;

/** Fractions of two digits miss the image's edge by up to half a hundredth of the side. */
const FRACTION_ROUNDING = 0.005;

export const llava: SourceFormat = {
  name: 'llava',
  describes:
    'conversations about images as LLaVA trains on them: JSON list or JSON Lines of id, image, conversations',
  inputs: [
    { flag: 'annotations', what: 'file', required: true, many: true, help: 'the conversations' },
    {
      flag: 'images',
      what: 'folder',
      required: true,
      many: true,
      help: 'the folder that their file names start from',
    },
    {
      flag: 'boxes',
      what: 'value',
      required: false,
      choices: ['text', ...SPACES],
      help: 'what four numbers in brackets are: text (default), or boxes in a space; padded-square for LLaVA-1.5',
    },
  ],
  async open(options) {
    const files = inputsOf(options, 'annotations');
    const choice = inputOf(options, 'boxes');
    const space = SPACES.find(name => name === choice) ?? null;
    return readEntries(options, {
      entries: report => chatEntries(files, report, () => null),
      contentOf: (entries, image, report) =>
        chatContent(entries, image, report, (turn, _, size, changed) =>
          piecesOfTurn(turn, size, space, changed),
        ),
    });
  },
};

/** A message with its written boxes as boxes (the assistant's) or as regions (the user's). */
function piecesOfTurn(
  { role, text }: Turn,
  image: Size,
  space: BoxSpace | null,
  changed: (reason: string) => void,
): Piece[] | null {
  if (space === null || role === 'system') return [textPiece(text)];
  return piecesAt(text, WRITTEN_BOX, ([written]) => {
    const read = readBox(written, image, space);
    if (read === null) {
      changed(`numbers in brackets that are no box in ${space} left as text`);
      return textPiece(written);
    }
    const rounding = space === 'pixels' ? 1 : FRACTION_ROUNDING * Math.max(image.width, image.height);
    const sound = soundBox(read, image, rounding);
    if (typeof sound === 'string') {
      changed(`round left out: ${sound}`);
      return null;
    }
    if (sound.cut) changed('box cut at the edge of the image');
    return role === 'user' ? regionPiece({ kind: 'box', box: sound.box }) : boxPiece(sound.box);
  });
}

/** Null where the numbers are none of the space. */
function readBox(written: string, image: Size, space: BoxSpace): PixelBox | null {
  try {
    return boxCodec(space).read(written, image);
  } catch {
    return null;
  }
}
