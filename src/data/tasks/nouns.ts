/** What people call the objects of an image in a caption: other words for labels, plurals, and where a noun ends. */
import { COCO_NAMES } from '../coco-words.ts';
import { pluralOf } from './objects.ts';

/** Words for COCO's labels that captions use instead of them. A word under two labels fits objects of either. */
const OTHER_WORDS: Readonly<Record<string, readonly string[]>> = {
  person: (
    'man woman boy girl child kid guy lady baby toddler gentleman adult teenager player batter rider skier surfer ' +
    'snowboarder skateboarder pedestrian'
  ).split(' '),
  bicycle: ['bike'],
  motorcycle: ['bike', 'motorbike'],
  airplane: ['plane', 'jet', 'aeroplane'],
  dog: ['puppy'],
  cat: ['kitten'],
  handbag: ['purse'],
  couch: ['sofa'],
  tv: ['television'],
  laptop: ['laptop computer'],
  'cell phone': ['phone', 'cellphone', 'smartphone'],
  refrigerator: ['fridge'],
  donut: ['doughnut'],
  'dining table': ['table'],
  'potted plant': ['plant'],
  'sports ball': ['ball'],
  tie: ['necktie'],
  'hair drier': ['hair dryer'],
  remote: ['remote control'],
};

const OTHER_PLURALS = new Map([
  ['man', 'men'],
  ['woman', 'women'],
  ['gentleman', 'gentlemen'],
  ['child', 'children'],
]);

/** Words for a label in the singular: itself and, for COCO's, what captions say instead. */
export function wordsFor(label: string): string[] {
  const name = label.toLowerCase().replaceAll('_', ' ');
  return [name, ...(Object.hasOwn(OTHER_WORDS, name) ? OTHER_WORDS[name]! : [])];
}

/** The plural of one of `wordsFor`. */
export function manyOf(word: string): string {
  return OTHER_PLURALS.get(word) ?? pluralOf(word);
}

/** COCO's labels that hold another of them as a word: "hot dog" in a caption is no dog. */
export const COMPOUNDS: readonly string[] = COCO_NAMES.filter(name => name.includes(' '));

const AFTER_NOUN = new Set(
  (
    'with without in inside on at by near next from for to into onto over under above below behind beside between ' +
    'among around against along across through during before after while who which that whose where and or as of ' +
    'is are was were has have having sits stands sit stand rides walks walk plays play holds lays lies flies looks ' +
    'lay lie look hold ride fly up down out off about together there while surrounded covered filled topped parked ' +
    'made seated dressed left right overlapping'
  ).split(' '),
);
/** Nouns that end like a verb's -ing form. */
const NO_VERBS = new Set(
  'building ceiling clothing evening king morning painting railing ring sibling string wedding wing'.split(
    ' ',
  ),
);

/** Whether a word may follow a noun that is the last of its phrase: "train" in "train is", not in "train station". */
export function mayFollowNoun(word: string): boolean {
  return AFTER_NOUN.has(word) || (word.length > 4 && word.endsWith('ing') && !NO_VERBS.has(word));
}

const NUMBERS = 'one two three four five six seven eight nine ten eleven twelve'.split(' ');

/** What a determiner says of how many: a number, or null for any; undefined for a word that is no determiner. */
export function numberOf(word: string): number | null | undefined {
  if (word === 'a' || word === 'an') return 1;
  const number = NUMBERS.indexOf(word);
  if (number >= 0) return number + 1;
  if (/^[0-9]+$/.test(word)) return Number(word);
  return DETERMINERS.has(word) ? null : undefined;
}

const DETERMINERS = new Set(
  'the this that these those his her their its some several many few both all'.split(' '),
);
