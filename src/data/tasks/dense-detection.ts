import { boxPiece, textPiece } from '../conversation.ts';
import type { Task } from './context.ts';
import { rasterOrder, singleObjects, someObjects } from './objects.ts';
import { enumerate, grounded, phrase } from './template.ts';

export const DENSE_DETECTION_QUESTIONS = [
  'Please localize visible objects in the image in a raster scan order.',
  'List the visible objects of the image with their locations, in raster order.',
  'Which objects are in the image, and where? Answer in a raster scan order.',
  'Locate all objects in the image, from top to bottom and left to right.',
  'Please find every object in the image in a raster scan order.',
  'Detect the objects of the image in a raster scan order.',
  'Name each object in the image and its location, from top to bottom.',
  'Give the locations of all visible objects in a raster scan order.',
] as const;
export const DENSE_DETECTION_ANSWER = 'The objects are: {objects}';

/** All objects with category and box, top to bottom by y1, then left to right by x1. */
export const denseDetection: Task = (record, context, random) => {
  const objects = rasterOrder(someObjects(singleObjects(record.objects), context.maxObjects, random));
  if (objects.length === 0) return null;
  const listed = enumerate(objects.map(object => [textPiece(`${object.label} `), boxPiece(object.box)]));
  return {
    task: 'dense-detection',
    image: true,
    rounds: [
      {
        question: grounded(phrase(DENSE_DETECTION_QUESTIONS, {}, context, random), context),
        answer: phrase([DENSE_DETECTION_ANSWER], { objects: listed }, context, random),
        truth: { boxes: objects.map(object => object.box) },
      },
    ],
  };
};
