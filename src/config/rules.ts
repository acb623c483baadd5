import type { Recipe } from '../train/recipe.ts';
import type { Complaint, Rule } from './issues.ts';
import {
  featureLayerExists,
  gridsDiffer,
  headsDivideWidth,
  imageFitsSequence,
  keyValueHeadsDivideHeads,
  llmHeadIsEven,
  mapsCanBeSummed,
  positionsFitWidth,
  samplerNarrows,
  sharedSpaceFits,
  sideIsMultipleOfPatches,
} from './model-rules.ts';
import {
  adaptersAreAlone,
  copiesFit,
  everyStepHasData,
  groupsAreKnown,
  groupsDiffer,
  heldOutDataAsksQuestions,
  modulesHaveBlocks,
  pretrainingIsDescribed,
  ratesMatchGroups,
  rowsArePackedOrSorted,
  somethingTrains,
  sourcesAreDrawn,
  startsFromEarlierStage,
  trainedModulesGetGradient,
  trainedViewsAreUsed,
} from './stage-rules.ts';

const RULES: readonly Rule[] = [
  sideIsMultipleOfPatches,
  headsDivideWidth,
  llmHeadIsEven,
  keyValueHeadsDivideHeads,
  featureLayerExists,
  samplerNarrows,
  positionsFitWidth,
  mapsCanBeSummed,
  sharedSpaceFits,
  gridsDiffer,
  imageFitsSequence,
  groupsAreKnown,
  groupsDiffer,
  ratesMatchGroups,
  copiesFit,
  trainedViewsAreUsed,
  pretrainingIsDescribed,
  trainedModulesGetGradient,
  startsFromEarlierStage,
  heldOutDataAsksQuestions,
  sourcesAreDrawn,
  everyStepHasData,
  rowsArePackedOrSorted,
  somethingTrains,
  adaptersAreAlone,
  modulesHaveBlocks,
];

/** What every rule has to say about a recipe. */
export function checkRules(recipe: Recipe): Complaint[] {
  return RULES.flatMap(rule => rule(recipe));
}
