/** A file of Flickr30k Entities' Annotations: XML that ties chains of phrases to boxes. */
import { XMLParser, XMLValidator } from 'fast-xml-parser';
import type { PixelBox } from '../box.ts';

export interface EntityBoxes {
  /** Null where the file does not tell. */
  readonly width: number | null;
  readonly height: number | null;
  readonly boxes: readonly {
    readonly chains: readonly string[];
    /** Null where the box is not four numbers. */
    readonly corners: PixelBox | null;
  }[];
  /** Every chain the file names, boxed or not. */
  readonly chains: ReadonlySet<string>;
}

type Json = Readonly<Record<string, unknown>>;

const parser = new XMLParser({
  // All values as text: a chain is a name, and one object may have several.
  parseTagValue: false,
  ignoreAttributes: true,
  // Entities could be defined to grow without end.
  processEntities: false,
  isArray: name => name === 'object' || name === 'name' || name === 'bndbox',
});

/**
 * The boxes of a file; null where it is no such XML. The file counts pixels from 1; as in the dataset's own tools
 * (`get_annotations`) 1 is taken from every corner.
 */
export function parseEntityBoxes(xml: string): EntityBoxes | null {
  if (XMLValidator.validate(xml) !== true) return null;
  const root: unknown = parser.parse(xml);
  if (!isObject(root) || !('annotation' in root)) return null;
  // An element without children is parsed to ''.
  const annotation = isObject(root.annotation) ? root.annotation : {};
  const chains = new Set<string>();
  const boxes: { chains: readonly string[]; corners: PixelBox | null }[] = [];
  for (const object of listOf(annotation.object)) {
    const names = listOf(childOf(object, 'name')).flatMap(name =>
      typeof name === 'string' ? [name.trim()] : [],
    );
    for (const name of names) chains.add(name);
    for (const box of listOf(childOf(object, 'bndbox')))
      boxes.push({ chains: names, corners: cornersOf(box) });
  }
  const size = childOf(annotation, 'size');
  return { width: sideOf(size, 'width'), height: sideOf(size, 'height'), boxes, chains };
}

function cornersOf(box: unknown): PixelBox | null {
  const [x1, y1, x2, y2] = ['xmin', 'ymin', 'xmax', 'ymax'].map(name => numberOf(childOf(box, name)) - 1);
  const corners = { space: 'pixels', x1: x1 ?? NaN, y1: y1 ?? NaN, x2: x2 ?? NaN, y2: y2 ?? NaN } as const;
  return [corners.x1, corners.y1, corners.x2, corners.y2].every(Number.isFinite) ? corners : null;
}

function sideOf(size: unknown, name: string): number | null {
  const side = numberOf(childOf(size, name));
  return side > 0 ? side : null;
}

function numberOf(text: unknown): number {
  return typeof text === 'string' && text.trim() !== '' ? Number(text) : Number.NaN;
}

function childOf(value: unknown, name: string): unknown {
  return isObject(value) ? value[name] : undefined;
}

function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
