import { z } from 'zod';
import { describe as describeValue } from './issues.ts';
import { modelSchema } from './model-schema.ts';
import { stageSchema } from './schema.ts';
import { bareSchema, walkKeys } from './schema-walk.ts';

/** Markdown tables of every key that a recipe can have, made from the schema itself. */
export function configReference(): string {
  return [
    '## stageN.yaml',
    '',
    '| key | value | default | meaning |',
    '|---|---|---|---|',
    '| `extends` | text | | Model file below this one, relative to it. |',
    ...rows(stageSchema),
    '| `model` | a map | | Keys of model.yaml that this stage changes. |',
    '',
    '## model.yaml',
    '',
    '| key | value | default | meaning |',
    '|---|---|---|---|',
    ...rows(modelSchema),
    '',
  ].join('\n');
}

function rows(schema: z.core.$ZodType): string[] {
  // A map without words of its own is explained by the keys inside it.
  const explained = [...walkKeys(schema)].filter(
    ({ schema: child }) => descriptionOf(child) !== '' || !(bareSchema(child) instanceof z.ZodObject),
  );
  return explained.map(({ key, schema: child }) => {
    const name = key.join('.').replaceAll('.[]', '[]');
    const cells = [`\`${name}\``, expectationOf(child), defaultOf(child), descriptionOf(child)];
    return `| ${cells.map(cell => cell.replaceAll('|', '\\|')).join(' | ')} |`;
  });
}

/** What a key expects, in the words of its own error. */
function expectationOf(schema: z.core.$ZodType): string {
  // A symbol is nothing that any key accepts, so it draws the sentence that a wrong value would.
  const result = z.safeParse(bareSchema(schema), Symbol('refused'));
  const expected = result.success ? '' : (result.error.issues[0]?.message ?? '');
  return z.safeParse(schema, null).success ? `${expected}, or null` : expected;
}

function defaultOf(schema: z.core.$ZodType): string {
  if (schema instanceof z.ZodDefault) {
    const value: unknown = schema.def.defaultValue;
    return `\`${typeof value === 'object' ? JSON.stringify(value) : describeValue(value)}\``;
  }
  return schema instanceof z.ZodExactOptional ? 'none' : 'required';
}

function descriptionOf(schema: z.core.$ZodType): string {
  return z.globalRegistry.get(schema)?.description ?? '';
}
