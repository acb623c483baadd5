import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { spatialRelations } from '../../src/data/spatial.ts';
import { box } from './loader-records.ts';

const side = fc.integer({ min: 1, max: 30 });
const boxes = fc.array(
  fc.tuple(side, side, side, side).map(([x, y, w, h]) => ({ box: box(x, y, x + w, y + h) })),
  { maxLength: 6 },
);
const OPPOSITE: Readonly<Record<string, string>> = {
  'left of': 'right of',
  'right of': 'left of',
  above: 'below',
  below: 'above',
};

describe('relations told from boxes', () => {
  it('name the side on which all of one lies of all of the other, two for a diagonal', () => {
    const objects = [box(0, 0, 10, 10), box(10, 4, 20, 14), box(30, 40, 40, 50)].map(b => ({ box: b }));
    expect(spatialRelations(objects).filter(r => r.subject === 0)).toEqual([
      { subject: 0, predicate: 'left of', object: 1 },
      { subject: 0, predicate: 'left of', object: 2 },
      { subject: 0, predicate: 'above', object: 2 },
    ]);
  });

  it('say nothing of boxes that overlap, and nothing of crowds', () => {
    expect(spatialRelations([{ box: box(0, 0, 10, 10) }, { box: box(9, 9, 20, 20) }])).toEqual([]);
    expect(spatialRelations([{ box: box(0, 0, 10, 10) }, { box: box(50, 0, 60, 10), crowd: true }])).toEqual(
      [],
    );
  });

  it('are said from both sides, of two different objects, each once', () => {
    fc.assert(
      fc.property(boxes, objects => {
        const relations = spatialRelations(objects);
        const said = relations.map(r => `${r.subject} ${r.predicate} ${r.object}`);
        expect(new Set(said).size).toBe(said.length);
        for (const { subject, predicate, object } of relations) {
          expect(subject).not.toBe(object);
          expect(said).toContain(`${object} ${OPPOSITE[predicate]} ${subject}`);
        }
      }),
    );
  });
});
