/** VQA v2 and OK-VQA: a file of questions and a file of annotations, joined by question, ten answers each. */
import { basename } from 'node:path';
import { isObject, type JsonObject } from './chat-samples.ts';
import { type Entry, readEntries } from './entries.ts';
import { cocoImageId } from './image-id.ts';
import { streamArray } from './json-stream.ts';
import { answersOf, imageName, lineOf, mostFrequent, type Question, questionsContent } from './questions.ts';
import { inputOf, inputsOf, note, type SourceFormat, type SourceReport } from './source.ts';

/** What one of the two files says of a question. */
interface Half {
  /** Its id. */
  readonly of: string;
  readonly place: string;
  readonly question?: string;
  readonly answer?: string;
  readonly accepted?: readonly string[];
}

/** How COCO calls an image, the later releases first. */
const COCO_NAMES = [
  '{id:12}.jpg',
  'COCO_train2014_{id:12}.jpg',
  'COCO_val2014_{id:12}.jpg',
  'COCO_test2015_{id:12}.jpg',
] as const;

export const vqa: SourceFormat = {
  name: 'vqa',
  describes: 'VQA v2, OK-VQA: questions, and annotations with ten answers each',
  inputs: [
    { flag: 'questions', what: 'file', required: true, many: true, help: 'the questions' },
    { flag: 'annotations', what: 'file', required: true, many: true, help: 'their answers' },
    { flag: 'images', what: 'folder', required: true, many: true, help: 'the folder of the images' },
    {
      flag: 'image-name',
      what: 'value',
      required: false,
      help: 'name of an image by its id, such as COCO_val2014_{id:12}.jpg; by default as COCO names them',
    },
  ],
  async open(options) {
    const [questions, annotations] = [inputsOf(options, 'questions'), inputsOf(options, 'annotations')];
    const pattern = inputOf(options, 'image-name');
    return readEntries<Half>(options, {
      async *entries(report) {
        for (const file of questions) yield* halves(file, 'questions', askedIn, pattern, report);
        for (const file of annotations) yield* halves(file, 'annotations', answeredIn, pattern, report);
      },
      contentOf: (entries, _, report) => {
        const found = joined(
          entries.map(({ content }) => content),
          report,
        );
        return questionsContent('vqa', found);
      },
    });
  },
};

async function* halves(
  file: string,
  list: string,
  read: (value: JsonObject) => Omit<Half, 'of' | 'place'> | string,
  pattern: string | undefined,
  report: SourceReport,
): AsyncGenerator<Entry<Half>> {
  for await (const { value, line, key } of streamArray(file, [list])) {
    const id = isObject(value) ? value.question_id : undefined;
    const of = typeof id === 'number' || typeof id === 'string' ? String(id) : null;
    const place = `${basename(file)}:${line}, question ${of ?? key}`;
    const image = isObject(value) ? value.image_id : undefined;
    const half = isObject(value) ? read(value) : 'entry that is no object';
    if (typeof half === 'string') note(report, 'skipped', half, place);
    else if (of === null) note(report, 'skipped', 'entry without a question id', place);
    else if (typeof image !== 'number' && typeof image !== 'string') {
      note(report, 'skipped', 'entry without an image id', place);
    } else yield { ...imagesOf(image, pattern), place, content: { of, place, ...half } };
  }
}

/** COCO's images have numbers; other datasets in this form name theirs. */
function imagesOf(id: number | string, pattern: string | undefined): { images: string[]; id?: string } {
  const number = Number(id);
  const isNumber = Number.isSafeInteger(number) && number >= 0 && String(id).trim() !== '';
  if (pattern !== undefined) return { images: [imageName(pattern, id)] };
  if (!isNumber) return { images: [String(id), `${id}.jpg`, `${id}.png`] };
  return { images: COCO_NAMES.map(name => imageName(name, number)), id: cocoImageId(number) };
}

function askedIn({ question }: JsonObject): { question: string } | string {
  const text = lineOf(question);
  return text === null ? 'question without text' : { question: text };
}

function answeredIn({
  answers,
  multiple_choice_answer,
}: JsonObject): { answer: string; accepted: readonly string[] } | string {
  const accepted = answersOf(answers);
  const chosen = lineOf(multiple_choice_answer);
  const answer = mostFrequent(accepted, chosen) ?? chosen;
  if (answer === null) return 'annotation without an answer';
  return { answer, accepted: accepted.length === 0 ? [answer] : accepted };
}

/** The questions of one image that both files know, in the order of the file of questions. */
function joined(halves: readonly Half[], report: SourceReport): Question[] {
  const answers = new Map<string, Half>();
  const asked = new Set<string>();
  for (const half of halves) {
    if (half.answer === undefined) continue;
    if (answers.has(half.of)) note(report, 'skipped', 'annotation listed twice', half.place);
    else answers.set(half.of, half);
  }
  const found: Question[] = [];
  for (const { of, place, question } of halves) {
    if (question === undefined) continue;
    const { answer, accepted } = answers.get(of) ?? {};
    if (asked.has(of)) note(report, 'skipped', 'question listed twice', place);
    else if (answer === undefined) note(report, 'skipped', 'question without an annotation', place);
    else found.push({ question, answer, ...(accepted ? { accepted } : {}) });
    asked.add(of);
  }
  for (const { of, place } of answers.values()) {
    if (!asked.has(of)) note(report, 'skipped', 'annotation without its question', place);
  }
  return found;
}
