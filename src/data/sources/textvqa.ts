/** TextVQA: {data: [{question, image_id, answers, …}]}, ten answers each. What OCR systems read is not kept. */
import { basename } from 'node:path';
import { isObject } from './chat-samples.ts';
import { readEntries } from './entries.ts';
import { streamArray } from './json-stream.ts';
import {
  answersOf,
  imageName,
  lineOf,
  mostFrequent,
  type Question,
  questionsContent,
  questionsOf,
} from './questions.ts';
import { inputOf, inputsOf, note, type SourceFormat, tally } from './source.ts';

export const textvqa: SourceFormat = {
  name: 'textvqa',
  describes: 'TextVQA: questions about text in images with ten answers each',
  inputs: [
    { flag: 'annotations', what: 'file', required: true, many: true, help: 'the questions and answers' },
    { flag: 'images', what: 'folder', required: true, many: true, help: 'the folder of the images' },
    {
      flag: 'image-name',
      what: 'value',
      required: false,
      help: 'name of an image by its id; {id}.jpg by default',
    },
  ],
  async open(options) {
    const pattern = inputOf(options, 'image-name') ?? '{id}.jpg';
    return readEntries<Question>(options, {
      async *entries(report) {
        for (const file of inputsOf(options, 'annotations')) {
          for await (const { value, line, key } of streamArray(file, ['data'])) {
            const sample = isObject(value) ? value : {};
            const place = `${basename(file)}:${line}, question ${String(sample.question_id ?? key)}`;
            const split = lineOf(sample.set_name) ?? undefined;
            if (options.split !== undefined && split !== options.split) {
              tally(report.counts, 'questions of other splits');
              continue;
            }
            const question = lineOf(sample.question);
            const image = lineOf(sample.image_id);
            const accepted = answersOf(sample.answers);
            const answer = mostFrequent(accepted, null);
            if (question === null) note(report, 'skipped', 'question without text', place);
            else if (image === null) note(report, 'skipped', 'question without an image id', place);
            else if (answer === null) note(report, 'skipped', 'question without an answer', place);
            else {
              const content = { question, answer, accepted, ...(split === undefined ? {} : { split }) };
              yield { images: [imageName(pattern, image)], place, content };
            }
          }
        }
      },
      contentOf: entries => questionsContent('ocr', questionsOf(entries)),
    });
  },
};
