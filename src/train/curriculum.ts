import { GroundError } from '../errors.ts';
import { parseFrom } from './from.ts';
import type { Recipe } from './recipe.ts';
import { isFinished } from './start.ts';

/**
 * The stages to run so that each requested one finds what it starts from: a stage that begins `from: stageN` of the same
 * run is preceded by stage N where that has not been trained to its end yet. In order, each once.
 */
export async function expandStages(
  requested: readonly number[],
  recipeOf: (stage: number) => Recipe,
  runDir: string,
): Promise<number[]> {
  const order: number[] = [];
  const visit = async (stage: number, wantedBy: number | null): Promise<void> => {
    if (order.includes(stage)) return;
    if (wantedBy !== null && (await isFinished(runDir, stage))) return;
    const previous = parseFrom(recipeOf(stage).stage.from ?? '').stage;
    if (previous !== null) {
      if (previous >= stage) {
        throw new GroundError('config', `from: stage ${stage} cannot start from stage ${previous}`, {
          hint: 'a stage starts from an earlier one, a checkpoint folder, or null',
        });
      }
      await visit(previous, stage);
    }
    order.push(stage);
  };
  for (const stage of requested) await visit(stage, null);
  return order;
}
