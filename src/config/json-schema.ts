import { z } from 'zod';
import { modelSchema } from './model-schema.ts';
import { stageSchema } from './schema.ts';

/** The files that a recipe folder holds. */
export const RECIPE_FILES = ['stage', 'model'] as const;
export type RecipeFile = (typeof RECIPE_FILES)[number];

/** A JSON Schema document. */
export type JsonSchema = Readonly<Record<string, unknown>>;

/**
 * JSON Schema (draft 2020-12) of a stageN.yaml or a model.yaml, for editors that complete and check YAML. Nothing is
 * required of a stage: what it leaves out may stand in the file that it extends or on the command line.
 */
export function recipeJsonSchema(file: RecipeFile): JsonSchema {
  const model = partial(z.toJSONSchema(modelSchema, { io: 'input' }));
  if (file === 'model') return { ...model, title: 'model.yaml of a recipe of ground' };
  const stage = partial(z.toJSONSchema(stageSchema, { io: 'input' }));
  const { $schema: _, ...embedded } = model;
  return {
    ...stage,
    title: 'stageN.yaml of a recipe of ground',
    properties: {
      extends: { type: 'string', description: 'Model file below this one, relative to it.' },
      ...stage.properties,
      model: { ...embedded, description: 'Keys of model.yaml that this stage changes.' },
    },
  };
}

/** As a file: two blanks of indentation and a line end. */
export function jsonSchemaText(file: RecipeFile): string {
  return `${JSON.stringify(recipeJsonSchema(file), null, 2)}\n`;
}

/** Without required keys, at the top and in the maps below it: each may come from the other file. */
function partial({ required: _, ...schema }: z.core.JSONSchema.BaseSchema): z.core.JSONSchema.BaseSchema {
  const { properties } = schema;
  if (!properties) return schema;
  return {
    ...schema,
    properties: Object.fromEntries(
      Object.entries(properties).map(([name, child]) => [
        name,
        typeof child === 'object' ? partial(child) : child,
      ]),
    ),
  };
}
