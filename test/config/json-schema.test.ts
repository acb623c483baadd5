import { readdirSync, readFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { jsonSchemaText, RECIPE_FILES, recipeJsonSchema } from '../../src/config/json-schema.ts';
import { loadRecipe, stagesOf } from '../../src/config/load.ts';
import { MODEL, STAGE } from './sample.ts';

const root = join(import.meta.dirname, '../..');
const ajv = new Ajv2020({ allErrors: true });
const accepts = {
  stage: ajv.compile(recipeJsonSchema('stage')),
  model: ajv.compile(recipeJsonSchema('model')),
};

const files = (folder: string, ending: string): string[] =>
  readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter(name => name.endsWith(ending))
    .map(name => join(folder, name))
    .sort();
const read = (file: string) => readFileSync(join(root, file), 'utf8');
const yamls = files('configs', '.yaml');

describe('JSON Schema for editors', () => {
  test.each(RECIPE_FILES)(
    'configs/%s.schema.json is as the schema is (npx tsx scripts/config-reference.ts rewrites it)',
    file => {
      expect(read(`configs/${file}.schema.json`)).toBe(jsonSchemaText(file));
    },
  );

  test('recipes are shipped', () => {
    expect(yamls.length).toBeGreaterThan(7);
  });

  test.each(yamls)('accepts %s, which names it', file => {
    const kind = basename(file) === 'model.yaml' ? 'model' : 'stage';
    const check = accepts[kind];
    expect(check(parse(read(file))), JSON.stringify(check.errors)).toBe(true);
    expect(read(file)).toMatch(
      new RegExp(`^# yaml-language-server: \\$schema=\\.\\./${kind}\\.schema\\.json\n`),
    );
  });

  test('refuses what the program refuses', () => {
    const refused = (kind: 'stage' | 'model', text: string) =>
      expect(accepts[kind](parse(text)), text).toBe(false);
    expect(accepts.stage(parse(STAGE))).toBe(true);
    expect(accepts.model(parse(MODEL))).toBe(true);
    refused('stage', STAGE.replace('steps:', 'stpes:'));
    refused('stage', STAGE.replace('steps: 400', 'steps: 0'));
    refused('stage', STAGE.replace('dense-referring', 'dense-refering'));
    refused('stage', STAGE.replace('samples: 16', 'sample: 16'));
    refused('stage', `${STAGE}model: {llm: {hidden_size: wide}}\n`);
    refused('model', MODEL.replace('patch_size: 8', 'patchsize: 8'));
    refused('model', MODEL.replace('side: 32', 'side: big'));
  });
});

describe('every YAML that is shipped or shown', () => {
  test.each([...new Set(yamls.map(file => dirname(file)))])('%s resolves at each of its stages', dir => {
    const recipeDir = join(root, dir);
    const stages = stagesOf(recipeDir);
    expect(stages.length).toBeGreaterThan(0);
    for (const stage of stages) {
      expect(loadRecipe({ recipeDir, stage, files: 'ignore', cwd: root }).stage.stage).toBe(stage);
    }
  });

  const blocks = ['README.md', ...files('docs', '.md')].flatMap(file =>
    [...read(file).matchAll(/^```ya?ml\n(.*?)^```/gms)].map((match, i) => ({
      name: `${file}, YAML block ${i + 1}`,
      text: match[1] ?? '',
    })),
  );
  test.each(blocks)('$name holds keys of a recipe with values they can have', ({ text }) => {
    const value: unknown = parse(text);
    const check = [accepts.stage, accepts.model].find(one => one(value));
    expect(check !== undefined, `${text}\n${JSON.stringify(accepts.stage.errors)}`).toBe(true);
  });
});
