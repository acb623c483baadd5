/** POPE: questions whether an object is in an image, {question_id, image, text, label: "yes" or "no"}, as JSON Lines. */
import { basename } from 'node:path';
import { isObject } from './chat-samples.ts';
import { readEntries } from './entries.ts';
import { streamRecords } from './json-stream.ts';
import { lineOf, type Question, questionsContent, questionsOf } from './questions.ts';
import { inputsOf, note, type SourceFormat } from './source.ts';

export const pope: SourceFormat = {
  name: 'pope',
  describes: 'POPE: questions whether an object is in an image, JSON Lines',
  inputs: [
    {
      flag: 'annotations',
      what: 'file',
      required: true,
      many: true,
      help: 'the questions with their labels',
    },
    { flag: 'images', what: 'folder', required: true, many: true, help: 'the folder of the images' },
  ],
  async open(options) {
    return readEntries<Question>(options, {
      async *entries(report) {
        for (const file of inputsOf(options, 'annotations')) {
          for await (const { value, line, key } of streamRecords(file)) {
            const sample = isObject(value) ? value : {};
            const place = `${basename(file)}:${line}, question ${String(sample.question_id ?? key)}`;
            const image = lineOf(sample.image);
            const question = lineOf(sample.text);
            const label = lineOf(sample.label)?.toLowerCase();
            if (question === null) note(report, 'skipped', 'question without text', place);
            else if (image === null) note(report, 'skipped', 'question without an image', place);
            else if (label !== 'yes' && label !== 'no') {
              note(report, 'skipped', 'label that is neither yes nor no', place);
            } else yield { images: [image], place, content: { question, answer: label } };
          }
        }
      },
      contentOf: entries => questionsContent('presence', questionsOf(entries)),
    });
  },
};
