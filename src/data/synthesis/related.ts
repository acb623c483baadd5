/** Relations of an image that can be asked for and told without doubt. */
import { type Annotations, isNamedAlone } from '../record.ts';
import type { ChosenObject } from './objects.ts';
import { mightBe, positionOf } from './relations.ts';

/** `subject` is `predicate` `object`; both of the chosen objects. */
export interface Related {
  readonly subject: ChosenObject;
  readonly predicate: string;
  readonly object: ChosenObject;
  /** Whether the subject is the only object of the image that is. */
  readonly only: boolean;
  /** Whether no other relation of the two is annotated. */
  readonly sole: boolean;
}

/** What is annotated between chosen objects, or, where nothing is annotated, what their boxes tell. */
export function relationsAmong(record: Annotations, chosen: readonly ChosenObject[]): Related[] {
  return record.relations.length > 0 ? annotated(record, chosen) : derived(record, chosen);
}

function annotated({ objects, relations }: Annotations, chosen: readonly ChosenObject[]): Related[] {
  const byIndex = new Map(chosen.map(one => [one.index, one]));
  return relations.flatMap(({ subject, predicate, object }) => {
    const [s, o] = [byIndex.get(subject), byIndex.get(object)];
    if (!s || !o || s === o) return [];
    const only =
      isNamedAlone(objects, s.index) &&
      relations.every(r => r.subject === subject || r.object !== object || r.predicate !== predicate);
    const sole = relations.every(
      r => r.predicate === predicate || r.subject !== subject || r.object !== object,
    );
    return [{ subject: s, predicate, object: o, only, sole }];
  });
}

function derived(record: Annotations, chosen: readonly ChosenObject[]): Related[] {
  return chosen.flatMap(subject =>
    chosen.flatMap(object => {
      const predicate = subject === object ? null : positionOf(subject.object.box, object.object.box, record);
      if (!predicate) return [];
      const only = record.objects.every(
        (other, i) =>
          i === subject.index || i === object.index || !mightBe(predicate, other.box, object.object.box),
      );
      return [{ subject, predicate, object, only, sole: true }];
    }),
  );
}
