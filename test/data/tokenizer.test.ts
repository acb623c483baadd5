import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CAPTION_WORDS, COCO_NAMES } from '../../src/data/coco-words.ts';
import { SCENE_WORDS } from '../../src/data/sources/scene-vocabulary.ts';
import { PHRASINGS } from '../../src/data/tasks/phrasings.ts';
import { createTokenizer, loadTokenizer } from '../../src/data/tokenizer.ts';
import { temporaryFolder } from '../helpers/folder.ts';
import { findPython, runPython } from '../helpers/python.ts';
import { TOKENIZER_FILE, tokenizer } from './loader-records.ts';

const anyText = fc.string({ unit: 'binary' });
/** Texts as they occur: known words, numbers, punctuation, and anything between. */
const likelyText = fc
  .array(
    fc.oneof(
      fc.constantFrom('red', ' circle', ', ', ' [', '[', ']', ' ', '  ', '\n', '.', '?', 'USER:', ' The'),
      fc.integer({ min: 0, max: 1200 }).map(String),
      fc.string({ unit: 'binary', maxLength: 4 }),
    ),
  )
  .map(parts => parts.join(''));

describe('the tiny tokenizer', () => {
  it('gives back every text', () => {
    fc.assert(
      fc.property(fc.oneof(anyText, likelyText), text => {
        expect(tokenizer.decode(tokenizer.encode(text), { special: true })).toBe(text);
      }),
      { numRuns: 500 },
    );
  });

  it('tokenises a continuation as it would inside the whole text', () => {
    fc.assert(
      fc.property(likelyText, text => {
        const whole = tokenizer.encode(` ASSISTANT: ${text}`);
        expect(whole.slice(0, 2)).toEqual(tokenizer.encode(' ASSISTANT:'));
        expect(whole.slice(2)).toEqual(tokenizer.encodeContinuation(` ${text}`));
      }),
    );
  });

  it('writes a box as four tokens, each coordinate with what stands beside it, and each number below 64 as one', () => {
    const ids = tokenizer.encode(' [12, 3, 56, 63]');
    expect(ids.map(id => tokenizer.decode([id]))).toEqual([' [12', ', 3', ', 56', ', 63]']);
    expect(tokenizer.decode(tokenizer.encode('1, 2 and [3, 4], 70, [99] [5'))).toBe(
      '1, 2 and [3, 4], 70, [99] [5',
    );
    const numbers = Array.from({ length: 64 }, (_, n) => tokenizer.encode(String(n)));
    expect(numbers.every(found => found.length === 1)).toBe(true);
    expect(new Set(numbers.flat()).size).toBe(64);
    expect(tokenizer.encode('64')).toHaveLength(2);
  });

  it('knows every word of templates, scenes, COCO and captions', () => {
    const words = [...PHRASINGS, ...SCENE_WORDS, ...COCO_NAMES, ...CAPTION_WORDS].flatMap(
      text => text.replaceAll(/\{\w+\}/g, ' ').match(/[A-Za-z]+/g) ?? [],
    );
    const split = [...new Set(words)].filter(word => tokenizer.encode(` ${word}`).length !== 1);
    expect(split).toEqual([]);
  });

  it('has the special tokens at the ids that Llama gives them', () => {
    expect([tokenizer.unknownId, tokenizer.beginId, tokenizer.endId, tokenizer.regionId]).toEqual([
      0, 1, 2, 3,
    ]);
    expect(tokenizer.idOf('<image>')).toBeUndefined();
    expect(tokenizer.decode([1, ...tokenizer.encode('a'), 2])).toBe('a');
    expect(tokenizer.decode([])).toBe('');
    expect(tokenizer.decode([tokenizer.vocabSize + 5])).toBe('');
  });

  const python = findPython(['tokenizers']);
  it.skipIf(python === undefined)('agrees with the Rust library', () => {
    const texts = fc.sample(fc.oneof(anyText, likelyText), { numRuns: 300, seed: 1 });
    texts.push('Is the object [1, 2, 3, 4] <region_fea> of the image a dog or a cat?</s>');
    const file = join(temporaryFolder(), 'texts.json');
    writeFileSync(file, JSON.stringify(texts));
    const script = `
import json, sys
from tokenizers import Tokenizer
t = Tokenizer.from_file(sys.argv[1])
texts = json.load(open(sys.argv[2], encoding='utf8'))
ids = [t.encode(x, add_special_tokens=False).ids for x in texts]
print(json.dumps([ids, [t.decode(i, skip_special_tokens=False) for i in ids]]))`;
    const [ids, decoded] = JSON.parse(runPython(python!, script, [TOKENIZER_FILE, file]));
    expect(texts.map(text => tokenizer.encode(text))).toEqual(ids);
    expect(decoded).toEqual(texts);
  });
});

/** A SentencePiece-like tokenizer in miniature: a blank is put before every text, as Llama's does. */
const prefixing = {
  added_tokens: ['<unk>', '<s>', '</s>', '<region_fea>'].map((content, id) => ({
    id,
    content,
    special: true,
  })),
  normalizer: {
    type: 'Sequence',
    normalizers: [
      { type: 'Prepend', prepend: '\u2581' },
      { type: 'Replace', pattern: { String: ' ' }, content: '\u2581' },
    ],
  },
  pre_tokenizer: null,
  post_processor: null,
  decoder: { type: 'Replace', pattern: { String: '\u2581' }, content: ' ' },
  model: {
    type: 'BPE',
    unk_token: '<unk>',
    merges: ['\u2581 a', 'b a'],
    vocab: {
      '<unk>': 0,
      '<s>': 1,
      '</s>': 2,
      '<region_fea>': 3,
      '\u2581': 4,
      a: 5,
      b: 6,
      '\u2581a': 7,
      ba: 8,
      '\n': 9,
    },
  },
};

describe('any tokenizer.json', () => {
  it('adds no blank to a continuation where the tokenizer puts one before every text', () => {
    const small = createTokenizer(prefixing, null, 'small');
    expect(small.encode('a')).toEqual([7]);
    expect(small.encodeContinuation('a')).toEqual([5]);
    expect(small.encodeContinuation(' a')).toEqual([7]);
    expect(small.encodeContinuation('ba')).toEqual([8]);
    expect(small.encodeContinuation('')).toEqual([]);
  });

  it('takes the names of special tokens from tokenizer_config.json', () => {
    const config = { eos_token: { content: 'b' }, bos_token: null };
    expect(createTokenizer(prefixing, config, 'small').endId).toBe(6);
  });

  it('says which token is missing', () => {
    const without = {
      ...prefixing,
      added_tokens: [],
      model: { ...prefixing.model, vocab: { a: 0, '</s>': 1 } },
    };
    expect(() => createTokenizer(without, null, 'small.json')).toThrow(
      /small\.json has no token <region_fea>/,
    );
    const config = { eos_token: '<end>' };
    expect(() => createTokenizer(prefixing, config, 'small.json')).toThrow(/no token <end>/);
  });

  it('names a file that is missing, broken, or no tokenizer', () => {
    const folder = temporaryFolder();
    const file = join(folder, 'tokenizer.json');
    expect(() => loadTokenizer(file)).toThrow(/tokenizer\.json cannot be read/);
    writeFileSync(file, '{');
    expect(() => loadTokenizer(file)).toThrow(/no JSON object/);
    writeFileSync(file, '{}');
    expect(() => loadTokenizer(file)).toThrow(/is no tokenizer/);
  });
});
