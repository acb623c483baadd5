/**
 * Writes the tokenizer of the tiny recipe: the words of rendered scenes, of all task templates, of COCO's categories
 * and of frequent captions.
 *
 *   npx tsx scripts/make-tiny-tokenizer.ts [--bins 64] [--out configs/ferret-v2-tiny/tokenizer.json]
 */
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { CAPTION_WORDS, COCO_NAMES } from '../src/data/coco-words.ts';
import { SCENE_WORDS } from '../src/data/sources/scene-vocabulary.ts';
import { pluralOf } from '../src/data/tasks/objects.ts';
import { PHRASINGS } from '../src/data/tasks/phrasings.ts';
import { tinyTokenizer } from '../src/data/tiny-tokenizer.ts';
import { createTokenizer } from '../src/data/tokenizer.ts';

const { values } = parseArgs({
  options: {
    bins: { type: 'string', default: '64' },
    out: { type: 'string', default: 'configs/ferret-v2-tiny/tokenizer.json' },
    help: { type: 'boolean', default: false },
  },
});
if (values.help) {
  console.log(
    'npx tsx scripts/make-tiny-tokenizer.ts [--bins 64] [--out configs/ferret-v2-tiny/tokenizer.json]',
  );
} else {
  const wordsOf = (text: string): string[] => text.replaceAll(/\{\w+\}/g, ' ').match(/[A-Za-z]+/g) ?? [];
  const names = [...COCO_NAMES, ...COCO_NAMES.map(pluralOf)].flatMap(wordsOf);
  const scenes = SCENE_WORDS.flatMap(wordsOf);
  const openings = ['A', 'An', 'The', 'Two', 'Three', 'There', 'This', 'Some', 'Several', 'People', 'Many'];
  const definition = tinyTokenizer({
    bins: Number(values.bins),
    inside: [...scenes, ...names, ...PHRASINGS.flatMap(wordsOf), ...CAPTION_WORDS, ...openings, 'ASSISTANT'],
    first: ['USER', ...PHRASINGS.flatMap(text => wordsOf(text).slice(0, 1))],
  });
  writeFileSync(values.out, `${JSON.stringify(definition, null, 1)}\n`);
  console.log(`${values.out}: ${createTokenizer(definition, null, values.out).vocabSize} tokens`);
}
