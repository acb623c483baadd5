/** GQA: an object of questions by their ids, {imageId, question, answer, fullAnswer, …}, about Visual Genome's images. */
import { basename } from 'node:path';
import { isObject } from './chat-samples.ts';
import { readEntries } from './entries.ts';
import { visualGenomeImageId } from './image-id.ts';
import { streamMembers } from './json-stream.ts';
import { lineOf, type Question, questionsContent, questionsOf } from './questions.ts';
import { inputOf, inputsOf, note, type SourceFormat } from './source.ts';

export const gqa: SourceFormat = {
  name: 'gqa',
  describes: "GQA: questions by id about Visual Genome's images",
  inputs: [
    {
      flag: 'annotations',
      what: 'file',
      required: true,
      many: true,
      help: 'the questions with their answers',
    },
    { flag: 'images', what: 'folder', required: true, many: true, help: 'the folder of the images' },
    {
      flag: 'answers',
      what: 'value',
      required: false,
      choices: ['short', 'full'],
      help: 'short (default): a word or a phrase, as VQA; full: the sentence, as a chat',
    },
  ],
  async open(options) {
    const full = inputOf(options, 'answers') === 'full';
    return readEntries<Question>(options, {
      async *entries(report) {
        for (const file of inputsOf(options, 'annotations')) {
          for await (const { value, line, key } of streamMembers(file, [])) {
            const sample = isObject(value) ? value : {};
            const place = `${basename(file)}:${line}, question ${key}`;
            const { imageId } = sample;
            const image = typeof imageId === 'number' ? String(imageId) : lineOf(imageId);
            const question = lineOf(sample.question);
            const answer = lineOf(full ? sample.fullAnswer : sample.answer);
            if (question === null) note(report, 'skipped', 'question without text', place);
            else if (image === null) note(report, 'skipped', 'question without an image id', place);
            else if (answer === null) note(report, 'skipped', 'question without an answer', place);
            else {
              // A few images are not Visual Genome's; their ids begin with a letter.
              const id = /^\d+$/.test(image) ? { id: visualGenomeImageId(image) } : {};
              yield { images: [`${image}.jpg`, `${image}.png`], ...id, place, content: { question, answer } };
            }
          }
        }
      },
      contentOf: entries => questionsContent(full ? 'chat' : 'vqa', questionsOf(entries)),
    });
  },
};
