import { parseDocument } from 'yaml';
import { z } from 'zod';
import { messageOf } from '../errors.ts';
import { isRecord } from './file.ts';
import type { KeyPath, Problem } from './problems.ts';
import { recipeSchema } from './schema.ts';
import { bareSchema, schemaAt } from './schema-walk.ts';

/** One value from the command line, typed by the schema. */
export interface Override {
  readonly flag: string;
  readonly key: KeyPath;
  readonly value: unknown;
}

/**
 * Reads the texts given to `--set`. Where the schema wants text the value is taken as it stands, else it is YAML;
 * a list of words may be written with commas alone (`train=projector,sampler`).
 */
export function readOverrides(texts: readonly string[]): { overrides: Override[]; problems: Problem[] } {
  const overrides: Override[] = [];
  const problems: Problem[] = [];
  for (const text of texts) {
    const flag = `--set ${text}`;
    const complain = (message: string, hint?: string) =>
      problems.push({
        place: { kind: 'flag', flag },
        key: [],
        message,
        ...(hint === undefined ? {} : { hint }),
      });
    const equals = text.indexOf('=');
    const dotted = text.slice(0, equals);
    // `part in {}`: names such as constructor, which every object inherits, are keys of no recipe.
    if (equals < 1 || dotted.split('.').some(part => part === '' || part in {})) {
      complain('expected key=value', 'for example --set lr=1e-4 or --set data.0.weight=2');
      continue;
    }
    const key = keyOf(dotted);
    try {
      overrides.push({ flag, key, value: readValue(schemaAt(recipeSchema, key), text.slice(equals + 1)) });
    } catch (thrown) {
      complain(messageOf(thrown));
    }
  }
  return { overrides, problems };
}

/** What `--data` and `--eval-data` stand for: the dataset of every source in the tree's lists. */
export function datasetOverrides(
  tree: Record<string, unknown>,
  flags: { readonly data?: string; readonly evalData?: string },
): Override[] {
  const evalFlag = flags.evalData === undefined ? '--data' : '--eval-data';
  const lists = [
    { parent: [], list: tree.data, flag: '--data', dir: flags.data },
    {
      parent: ['eval'],
      list: isRecord(tree.eval) ? tree.eval.data : undefined,
      flag: evalFlag,
      dir: flags.evalData ?? flags.data,
    },
  ];
  return lists.flatMap(({ parent, list, flag, dir }) =>
    // A list that is none, or an entry that is no map, is complained about where the schema is checked.
    dir === undefined || !Array.isArray(list)
      ? []
      : list.flatMap((source, i) =>
          isRecord(source)
            ? [{ flag: `${flag} ${dir}`, key: [...parent, 'data', i, 'dataset'], value: dir }]
            : [],
        ),
  );
}

/** Splits a dotted key; what follows a map with free keys (`lr.encoder.local`) is one key with dots in it. */
function keyOf(dotted: string): KeyPath {
  const parts = dotted.split('.');
  for (let i = 1; i < parts.length; i++) {
    const parent = schemaAt(recipeSchema, parts.slice(0, i));
    if (parent && hasFreeKeys(parent)) return [...parts.slice(0, i), parts.slice(i).join('.')];
  }
  return parts;
}

function hasFreeKeys(schema: z.core.$ZodType): boolean {
  const bare = bareSchema(schema);
  if (bare instanceof z.ZodUnion)
    return bare.options.some(option => bareSchema(option) instanceof z.ZodRecord);
  return bare instanceof z.ZodRecord;
}

function readValue(schema: z.core.$ZodType | undefined, text: string): unknown {
  const bare = schema && bareSchema(schema);
  if (bare instanceof z.ZodString || bare instanceof z.ZodEnum) {
    return text === 'null' && schema && z.safeParse(schema, null).success ? null : text;
  }
  const words = bare instanceof z.ZodArray && !text.startsWith('[') && !text.startsWith('{');
  const document = parseDocument(words ? `[${text}]` : text, { prettyErrors: false });
  const error = document.errors[0];
  if (error) throw error;
  return document.toJS();
}

/**
 * Puts an override's value into a copy of the tree. Maps on the way are made where they are missing; a list can be
 * changed or grown by one. Returns a problem where the key leads through something that has no parts.
 */
export function applyOverride(
  tree: Record<string, unknown>,
  override: Override,
): { tree: Record<string, unknown> } | { problem: Problem } {
  const copy = structuredClone(tree);
  const fail = (at: number, why: string): { problem: Problem } => ({
    problem: { place: { kind: 'flag', flag: override.flag }, key: override.key.slice(0, at), message: why },
  });
  let container: Record<string, unknown> | unknown[] = copy;
  for (const [depth, part] of override.key.entries()) {
    const last = depth === override.key.length - 1;
    if (Array.isArray(container)) {
      const index = Number(part);
      if (!Number.isInteger(index) || index < 0 || index > container.length) {
        return fail(depth, `expected a position from 0 to ${container.length}, found ${part}`);
      }
      if (last) container[index] = override.value;
      else container[index] ??= {};
    } else if (last) container[part] = override.value;
    else container[part] ??= {};
    if (last) break;
    const next: unknown = Array.isArray(container) ? container[Number(part)] : container[part];
    if (!Array.isArray(next) && !isRecord(next)) {
      return fail(depth + 1, `has no parts to set: it is ${JSON.stringify(next)}`);
    }
    container = next;
  }
  return { tree: copy };
}
