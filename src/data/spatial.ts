/** Where objects lie to each other, as far as their boxes tell beyond doubt. */
import type { PixelBox } from './box.ts';
import type { ObjectAnnotation, Relation } from './record.ts';

const PREDICATES: readonly (readonly [predicate: string, holds: (a: PixelBox, b: PixelBox) => boolean])[] = [
  ['left of', (a, b) => a.x2 <= b.x1],
  ['right of', (a, b) => a.x1 >= b.x2],
  ['above', (a, b) => a.y2 <= b.y1],
  ['below', (a, b) => a.y1 >= b.y2],
];

/**
 * Relations of all ordered pairs of single objects whose boxes lie wholly to one side of each other; diagonal ones stand
 * in two. Boxes that share columns and rows are in no relation: what the objects in them do cannot be told from boxes.
 * A crowd has no place of its own and is in no relation either.
 */
export function spatialRelations(objects: readonly Pick<ObjectAnnotation, 'box' | 'crowd'>[]): Relation[] {
  return objects.flatMap((a, subject) =>
    objects.flatMap((b, object) =>
      a.crowd || b.crowd
        ? []
        : PREDICATES.flatMap(([predicate, holds]) =>
            holds(a.box, b.box) ? [{ subject, predicate, object }] : [],
          ),
    ),
  );
}
