/** Stages of the shipped tiny recipe, trained in this process on a few scenes. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { diffRecipes } from '../../src/config/diff.ts';
import { readResolvedRecipe, recipeToYaml } from '../../src/config/resolved.ts';
import { writeShards } from '../../src/data/shards.ts';
import { renderScenes } from '../../src/data/sources/scenes.ts';
import type { RunEvent } from '../../src/telemetry/events.ts';
import { Requests } from '../../src/train/interrupt.ts';
import { type Evaluate, type StageResult, trainStage } from '../../src/train/loop.ts';
import type { Recipe } from '../../src/train/recipe.ts';
import { tinyStage } from './plan/tiny-stage.ts';

/** Renders scenes into a dataset, as many as asked for. */
export async function writeScenes(dataset: string, count: number): Promise<void> {
  await writeShards(renderScenes(1, count), dataset, { builder: 'test', source: {} });
}

/** A stage whose sources all read one dataset, and that scores nothing. */
export function stageOn(dataset: string, stage: number, overrides: readonly string[] = []): Recipe {
  const recipe = tinyStage(stage, ['eval.data=[]', ...overrides]);
  const data = recipe.stage.data.map(source => ({ ...source, dataset }));
  return { ...recipe, stage: { ...recipe.stage, data } };
}

/** What happened in a stage. */
export interface Trace {
  readonly events: RunEvent[];
  /** Null where it failed, and `failure` says with what. */
  readonly result: StageResult | null;
  readonly failure: unknown;
}

/** Trains a stage into `runDir`; its own failures are part of what is returned. */
export async function trainHere(
  recipe: Recipe,
  runDir: string,
  options: { readonly evaluate?: Evaluate; readonly requests?: Requests; readonly resume?: boolean } = {},
): Promise<Trace> {
  const events: RunEvent[] = [];
  const listener = { on: (event: RunEvent) => void events.push(event), close: async () => undefined };
  try {
    const result = await trainStage({
      recipe,
      codec: { write: recipeToYaml, read: readResolvedRecipe, diff: diffRecipes },
      runDir,
      run: 'test',
      engine: 'test',
      fresh: false,
      resume: options.resume ?? false,
      workers: 0,
      listeners: async () => listener,
      evaluate: options.evaluate ?? (async () => ({})),
      requests: options.requests ?? new Requests(),
    });
    return { events, result, failure: undefined };
  } catch (failure) {
    return { events, result: null, failure };
  }
}

/** Events of one type. */
export function eventsOf<T extends RunEvent['type']>(
  { events }: Trace,
  type: T,
): Extract<RunEvent, { type: T }>[] {
  return events.filter((event): event is Extract<RunEvent, { type: T }> => event.type === type);
}

/** The state of a checkpoint. */
export function stateOf(checkpoint: string) {
  return JSON.parse(readFileSync(join(checkpoint, 'state.json'), 'utf8'));
}
