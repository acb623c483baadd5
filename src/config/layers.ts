import { type ConfigFile, isRecord, placeOf, valuesOf } from './file.ts';
import { valueAt } from './issues.ts';
import type { Override } from './overrides.ts';
import type { KeyPath, Place } from './problems.ts';

/** What was written in one place: a tree in the shape of a recipe, and where each part of it stands. */
export interface Layer {
  readonly tree: Record<string, unknown>;
  place(key: KeyPath, part: 'key' | 'value'): Place | undefined;
}

/** A model.yaml: its keys are the recipe's `model`. */
export function modelLayer(file: ConfigFile): Layer {
  return {
    tree: { model: valuesOf(file) },
    place: (key, part) => (key[0] === 'model' ? placeOf(file, key.slice(1), part) : undefined),
  };
}

/** A stageN.yaml: the recipe's own keys. */
export function stageLayer(file: ConfigFile): Layer {
  const { extends: _, ...tree } = valuesOf(file);
  return { tree, place: (key, part) => (key.length === 0 ? undefined : placeOf(file, key, part)) };
}

/** Maps are merged key by key; anything else is replaced as a whole. */
export function mergeTrees(below: Record<string, unknown>, above: Record<string, unknown>) {
  const merged = { ...below };
  for (const [key, value] of Object.entries(above)) {
    const old = merged[key];
    merged[key] = isRecord(old) && isRecord(value) ? mergeTrees(old, value) : value;
  }
  return merged;
}

/** Where the value at `key` of the merged recipe came from; undefined for a default. */
export function originOf(
  key: KeyPath,
  layers: readonly Layer[],
  overrides: readonly Override[],
  part: 'key' | 'value' = 'value',
): Place | undefined {
  const override = overrides.findLast(
    ({ key: set, value }) => startsWith(key, set) && hasValue(value, key.slice(set.length)),
  );
  if (override) return { kind: 'flag', flag: override.flag };
  for (const layer of [...layers].reverse()) {
    const place = layer.place(key, part);
    if (place) return place;
    // A list or a plain value higher up replaces what lies below it, so lower layers no longer count.
    const covered = key.some((_, depth) => {
      const value = valueAt(layer.tree, key.slice(0, depth));
      return depth > 0 && value !== undefined && !isRecord(value);
    });
    if (covered) return undefined;
  }
  return undefined;
}

function startsWith(key: KeyPath, prefix: KeyPath): boolean {
  return prefix.length <= key.length && prefix.every((part, i) => String(part) === String(key[i]));
}

function hasValue(value: unknown, rest: KeyPath): boolean {
  return rest.length === 0 || valueAt(value, rest) !== undefined;
}

/** The place nearest to a key that may not have been written: its own, or that of the closest part above it. */
export function nearestPlace(
  key: KeyPath,
  layers: readonly Layer[],
  overrides: readonly Override[],
  aboutKey: boolean,
): Place | undefined {
  for (let length = key.length; length > 0; length--) {
    const shorter = length < key.length;
    const place = originOf(key.slice(0, length), layers, overrides, aboutKey || shorter ? 'key' : 'value');
    if (place) return place;
  }
  return undefined;
}
