import { boxPiece, type Round, regionPiece, textPiece } from '../conversation.ts';
import type { ObjectAnnotation, Relation } from '../record.ts';
import { spatialRelations } from '../spatial.ts';
import type { Task } from './context.ts';
import { countBy, uniquelyNamed } from './objects.ts';
import { pointAt, pointingKind } from './pointing.ts';
import { grounded, phrase } from './template.ts';

export const RELATION_QUESTIONS = [
  'What is the relation of {first} to {second}?',
  'How is {first} related to {second}?',
  'Where is {first} relative to {second}?',
  'Which relation has the object {first} to the object {second}?',
] as const;
export const RELATED_QUESTIONS = [
  'What is {predicate} {object}?',
  'Which object is {predicate} {object}?',
  'Name the object that is {predicate} {object}.',
  'Find the object {predicate} {object}.',
] as const;

/**
 * Relations of an image, asked two ways: two regions in, the predicate out; or predicate and phrase in, the one object
 * they fit out, with its box. Where nobody has annotated any (COCO), they are what the boxes tell.
 */
export const relation: Task = (record, context, random) => {
  const relations = record.relations.length > 0 ? record.relations : spatialRelations(record.objects);
  const asked = random.shuffle(relations).slice(0, context.rounds);
  const unique = new Set(uniquelyNamed(record.objects));
  const fits = countBy(relations.map(related));
  const predicates = countBy(relations.map(({ subject, object }) => `${subject} ${object}`));
  // A crowd stands somewhere too, and nobody has said where.
  const hasCrowd = record.objects.some(object => object.crowd);
  const rounds = asked.flatMap((stated): Round[] => {
    const subject = record.objects[stated.subject];
    const object = record.objects[stated.object];
    if (!subject || !object || subject.crowd || object.crowd) return [];
    const single = !hasCrowd && unique.has(object) && fits.get(related(stated)) === 1;
    if (single && random.next() < 0.5) {
      const slots = { predicate: stated.predicate, object: object.phrase };
      return [
        {
          question: grounded(phrase(RELATED_QUESTIONS, slots, context, random), context),
          answer: [textPiece(`${subject.phrase} `), boxPiece(subject.box)],
          truth: { boxes: [subject.box], label: subject.phrase },
        },
      ];
    }
    // Two predicates for the same two objects ("above", "overlapping"): neither is the answer.
    if (predicates.get(`${stated.subject} ${stated.object}`) !== 1) return [];
    const kind = pointingKind([subject, object], context, random);
    const at = (target: ObjectAnnotation) => [regionPiece(pointAt(target, kind, record, random))];
    return [
      {
        question: phrase(RELATION_QUESTIONS, { first: at(subject), second: at(object) }, context, random),
        answer: [textPiece(stated.predicate)],
        truth: { label: stated.predicate, region: kind },
      },
    ];
  });
  return rounds.length === 0 ? null : { task: 'relation', image: true, rounds };
};

function related({ predicate, object }: Relation): string {
  return `${predicate} ${object}`;
}
