/** What of an event metrics.jsonl keeps. */
import type { PixelBox } from '../data/box.ts';
import type { RunEvent } from './events.ts';
import { picturePath } from './pictures.ts';

/** The event as it is, but for pixels and the bins of histograms, which have files of their own. */
export function lineOf(event: RunEvent): object {
  switch (event.type) {
    case 'probe': {
      const { picture, boxes, trueBoxes, ...rest } = event;
      return {
        ...rest,
        boxes: boxes.map(box => box && edges(box)),
        trueBoxes: trueBoxes.map(edges),
        picture: picture && { path: picturePath(event), width: picture.width, height: picture.height },
      };
    }
    case 'histograms':
      return { ...event, histograms: event.histograms.map(({ bins: _, ...rest }) => rest) };
    default:
      return event;
  }
}

/** [left, top, right, bottom], pixels. */
function edges({ x1, y1, x2, y2 }: PixelBox): [number, number, number, number] {
  return [x1, y1, x2, y2];
}
