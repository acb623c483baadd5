/** The samples of one image: what each asks and answers, and which crops stand beside the scene. */
import { Random } from '../../random.ts';
import type { PixelBox } from '../box.ts';
import { boxPiece, type Piece, regionPiece, textPiece } from '../conversation.ts';
import type { Annotations, StoredRound } from '../record.ts';
import { fill, type Slots } from '../tasks/template.ts';
import { boxesElsewhere, type CropPlan, drawChange, isElsewhere, STRIP_CELLS } from './crops.ts';
import { globalText } from './global.ts';
import { type ChosenObject, chooseObjects, describe, usableObjects } from './objects.ts';
import { type Related, relationsAmong } from './related.ts';
import { comparisonOf } from './relations.ts';
import {
  BETWEEN_QUESTIONS,
  NO,
  NONE,
  QUESTIONS,
  SIZE_QUESTIONS,
  type SynthesisTask,
  WHICH_QUESTIONS,
  YES,
} from './wording.ts';

/** A crop of the strip; `image` is the number of another image it is cut from. */
export interface StripCrop extends CropPlan {
  readonly image?: number;
}

/** A sample that could be made. */
export interface Candidate {
  readonly task: SynthesisTask;
  /** The label it is about; null where it is about the whole image. */
  readonly label: string | null;
  /** Indices of the objects it is about. */
  readonly objects: readonly number[];
  /** Writes it. `others` gives objects of a label on other images, in an order of its own. */
  readonly write: (others: OtherObjects) => WrittenSample;
}

export interface WrittenSample {
  readonly round: StoredRound;
  /** None: the scene is shown as it is. */
  readonly crops: readonly StripCrop[];
}

export type OtherObjects = (
  label: string,
  random: Random,
) => readonly { readonly image: number; readonly box: PixelBox }[];

/** Share of choices whose right answer is that none of the crops fits. */
const NONE_SHARE = 0.15;

/** All samples that an image can give, the same for the same seed; empty where it has no usable object. */
export function candidatesOf(record: Annotations, seed: number): Candidate[] {
  const chosen = chooseObjects(record);
  if (chosen.length === 0) return [];
  const relations = relationsAmong(record, chosen);
  const named = (task: SynthesisTask, index: number) => new Random(seed, 'synthesis', record.id, task, index);
  const ofObjects = chosen.flatMap(target => {
    const sample = (
      task: SynthesisTask,
      write: (random: Random, others: OtherObjects) => WrittenSample,
    ): Candidate => ({
      task,
      label: target.object.label,
      objects: [target.index],
      write: others => write(named(task, target.index), others),
    });
    return candidatesOfObject(record, target, chosen, relations, sample);
  });
  const whole: Candidate = {
    task: 'global',
    label: null,
    objects: chosen.map(({ index }) => index),
    write: () => {
      const random = named('global', 0);
      const question = ask('global', {}, random);
      return plain(question, globalText(record, chosen, relations, random));
    },
  };
  return [...ofObjects, whole];
}

function candidatesOfObject(
  record: Annotations,
  target: ChosenObject,
  chosen: readonly ChosenObject[],
  relations: readonly Related[],
  sample: (task: SynthesisTask, write: (random: Random, others: OtherObjects) => WrittenSample) => Candidate,
): Candidate[] {
  const { object, phrase } = target;
  const { box } = object;
  const words = describe(object);
  const own = (random: Random, mayFlip: boolean): CropPlan => ({ box, change: drawChange(random, mayFlip) });
  const wrong = negativesHere(record, target, new Random('synthesis', record.id, target.index));
  const out = [
    sample('box-to-text', random => {
      // The place in words, or as a region that the model also looks at.
      const at = random.next() < 0.5 ? boxPiece(box) : regionPiece({ kind: 'box', box });
      return plain(ask('box-to-text', { box: [at] }, random), [textPiece(words)]);
    }),
    sample('crop-to-box', random => ({
      round: { question: ask('crop-to-box', {}, random), answer: [boxPiece(box)] },
      crops: [own(random, false)],
    })),
    sample('crop-to-text', random => ({
      round: { question: ask('crop-to-text', {}, random), answer: [textPiece(words)] },
      crops: [own(random, true)],
    })),
    sample('crop-and-box-to-text', random => ({
      round: {
        question: ask('crop-and-box-to-text', { box: [boxPiece(box)] }, random),
        answer: [textPiece(words)],
      },
      crops: [own(random, false)],
    })),
  ];
  const known = phrase === null ? null : withThe(phrase);
  if (phrase !== null && known !== null) {
    out.push(
      sample('text-to-box', random =>
        plain(ask('text-to-box', { phrase: known }, random), [textPiece(`${phrase} `), boxPiece(box)]),
      ),
    );
  }
  if (wrong.length > 0) {
    out.push(
      sample('box-to-crop', (random, others) =>
        choice('box-to-crop', { box: [boxPiece(box)] }, random, others),
      ),
    );
    if (known !== null) {
      out.push(
        sample('text-to-crop', (random, others) => choice('text-to-crop', { phrase: known }, random, others)),
        sample('text-and-box-to-crop', random => {
          const fits = random.next() < 0.5;
          const shown = fits ? box : random.pick(wrong);
          const slots = { phrase: known, box: [boxPiece(box)] };
          return {
            round: {
              question: ask('text-and-box-to-crop', slots, random),
              answer: [textPiece(fits ? YES : NO)],
            },
            crops: [{ box: shown, change: drawChange(random, false) }],
          };
        }),
      );
    }
  }
  const about = relations.filter(({ subject }) => subject === target);
  const told = about.filter(({ only, sole, object: other }) => sole || (only && other.phrase !== null));
  const compared = chosen.filter(other => other !== target && comparisonOf(box, other.object.box) !== null);
  if (told.length > 0 || compared.length > 0) {
    out.push(sample('relation', random => relationSample(target, told, compared, random)));
  }
  return out;

  function choice(
    task: 'text-to-crop' | 'box-to-crop',
    slots: Slots,
    random: Random,
    others: OtherObjects,
  ): WrittenSample {
    const foreign = others(object.label, random).map(other => ({ image: other.image, box: other.box }));
    const negatives: { readonly box: PixelBox; readonly image?: number }[] = [
      ...wrong.map(other => ({ box: other })),
      ...foreign,
    ];
    const none = negatives.length > 1 && random.next() < NONE_SHARE;
    const shown = none ? negatives.slice(0, STRIP_CELLS) : [{ box }, ...negatives.slice(0, STRIP_CELLS - 1)];
    const order = random.shuffle(shown);
    const right = none ? NONE : String(order.indexOf(shown[0]!) + 1);
    return {
      round: { question: ask(task, slots, random), answer: [textPiece(right)] },
      crops: order.map(crop => ({ ...crop, change: drawChange(random, task === 'text-to-crop') })),
    };
  }
}

/** Boxes of the image that do not show the object: of other objects of its label, of any others, of anything. */
function negativesHere(record: Annotations, { object, index }: ChosenObject, random: Random): PixelBox[] {
  const others = usableObjects(record).filter(
    other => other.index !== index && isElsewhere(other.object.box, object.box),
  );
  const [same, different] = [true, false].map(wanted =>
    others.filter(other => (other.object.label === object.label) === wanted).map(other => other.object.box),
  ) as [PixelBox[], PixelBox[]];
  const known = [...random.shuffle(same), ...random.shuffle(different)].slice(0, STRIP_CELLS);
  // Two of the crops stay free for the label on other images, where there are any.
  return [...known, ...boxesElsewhere(object.box, record, known, Math.max(0, 2 - known.length), random)];
}

function relationSample(
  target: ChosenObject,
  told: readonly Related[],
  compared: readonly ChosenObject[],
  random: Random,
): WrittenSample {
  const { box } = target.object;
  const bySize = told.length === 0 || (compared.length > 0 && random.next() < 0.25);
  if (bySize) {
    const other = random.pick(compared).object.box;
    const slots = { first: [boxPiece(box)], second: [boxPiece(other)] };
    return plain(pick(SIZE_QUESTIONS, slots, random), [textPiece(comparisonOf(box, other) ?? '')]);
  }
  const named = told.flatMap(one =>
    one.only && one.object.phrase !== null ? [{ ...one, phrase: one.object.phrase }] : [],
  );
  const plainly = told.filter(one => one.sole);
  if (named.length > 0 && (plainly.length === 0 || random.next() < 0.5)) {
    const { predicate, phrase } = random.pick(named);
    const words = pick(WHICH_QUESTIONS, { predicate, phrase: withThe(phrase) }, random);
    return plain(words, [textPiece(`${describe(target.object)} `), boxPiece(box)]);
  }
  const related = random.pick(plainly);
  const slots = { first: [boxPiece(box)], second: [boxPiece(related.object.object.box)] };
  return plain(pick(BETWEEN_QUESTIONS, slots, random), [textPiece(related.predicate)]);
}

function plain(question: readonly Piece[], answer: readonly Piece[]): WrittenSample {
  return { round: { question, answer }, crops: [] };
}

function ask(task: keyof typeof QUESTIONS, slots: Slots, random: Random): Piece[] {
  return pick(QUESTIONS[task], slots, random);
}

function pick(templates: readonly string[], slots: Slots, random: Random): Piece[] {
  return fill(random.pick(templates), slots);
}

/** "the dog"; a phrase that has an article or the like already stays as it is. */
export function withThe(phrase: string): string {
  return /^(?:an?|the|this|that|my|his|her|its|their|one|two|three|both|all)\b/i.test(phrase)
    ? phrase
    : `the ${phrase}`;
}
