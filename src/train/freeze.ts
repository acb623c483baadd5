import { GroundError } from '../errors.ts';
import type { Parameter, ParameterTree } from '../nn/parameter.ts';
import type { ModuleSummary } from '../telemetry/events.ts';
import type { StageRecipe } from './recipe.ts';

/** Parameters that are updated alike: one learning rate, decay or none. */
export interface ParameterBank {
  /** The entry of `train` that selected them. */
  readonly group: string;
  readonly peakLr: number;
  readonly weightDecay: number;
  readonly parameters: readonly Parameter[];
}

/** What trains in a stage and what does not. */
export interface TrainingPlan {
  readonly banks: readonly ParameterBank[];
  readonly frozen: readonly Parameter[];
  /** One row a module of the model, for the table before the first step. */
  readonly modules: readonly ModuleSummary[];
}

const lies = (name: string, prefix: string): boolean => name === prefix || name.startsWith(`${prefix}.`);

/**
 * Splits a model's parameters by the stage's `train` list. A parameter belongs to the longest entry that is a prefix
 * of its name; weight decay goes to tensors of rank 2 and more. `unused` names parameters that no loss reads (kept
 * only so that published checkpoints round-trip): they count as frozen.
 * Throws when an entry matches nothing, or when nothing trains.
 */
export function planTraining(
  tree: ParameterTree,
  stage: StageRecipe,
  unused: ReadonlySet<string>,
): TrainingPlan {
  const entries = [...stage.train].sort((a, b) => b.length - a.length);
  const members = new Map<string, Parameter[]>(entries.map(entry => [entry, []]));
  const frozen: Parameter[] = [];
  for (const parameter of tree.all) {
    const entry = entries.find(e => lies(parameter.name, e));
    if (entry === undefined || unused.has(parameter.name)) frozen.push(parameter);
    else members.get(entry)?.push(parameter);
  }
  for (const [entry, parameters] of members) {
    if (parameters.length === 0) {
      throw new GroundError('config', `train: "${entry}" matches no parameter of the model`, {
        hint: `groups of this model: ${groupNames(tree).join(', ')}`,
      });
    }
  }
  if (members.size === 0) {
    throw new GroundError('config', `stage ${stage.stage} trains nothing: its \`train\` list is empty`, {
      hint: `name at least one of: ${groupNames(tree).join(', ')}`,
    });
  }
  const banks = stage.train.flatMap(entry => {
    const parameters = members.get(entry) ?? [];
    const peakLr = peakLearningRate(stage, entry);
    const matrices = parameters.filter(p => p.shape.length >= 2);
    const vectors = parameters.filter(p => p.shape.length < 2);
    return [
      ...inBanks(matrices).map(bank => ({
        group: entry,
        peakLr,
        weightDecay: stage.optimizer.weight_decay,
        parameters: bank,
      })),
      ...inBanks(vectors).map(bank => ({ group: entry, peakLr, weightDecay: 0, parameters: bank })),
    ];
  });
  return { banks, frozen, modules: summarize(tree, banks) };
}

/** Numbers in a bank, at most, where it has more than one parameter: an engine counts the length of a vector in 31 bits. */
const BANK_SIZE = 2 ** 30;

/** Parameters in order, cut where a bank would grow too large. */
function inBanks(parameters: readonly Parameter[]): Parameter[][] {
  const banks: Parameter[][] = [];
  let size = Number.POSITIVE_INFINITY;
  for (const parameter of parameters) {
    size += parameter.size;
    if (size > BANK_SIZE) {
      banks.push([]);
      size = parameter.size;
    }
    banks.at(-1)?.push(parameter);
  }
  return banks;
}

/** The peak learning rate of an entry of `train`; throws when the recipe's map has none for it. */
function peakLearningRate(stage: StageRecipe, entry: string): number {
  if (typeof stage.lr === 'number') return stage.lr;
  const lr = stage.lr[entry];
  if (lr === undefined) {
    throw new GroundError(
      'config',
      `lr: stage ${stage.stage} trains "${entry}" but gives no learning rate for it`,
      {
        hint: `add \`${entry}: 1e-4\` (or another value) under \`lr\``,
      },
    );
  }
  return lr;
}

/** Modules at the depth at which people speak of them: encoder.global, projector.local, sampler, llm. */
function moduleOf(name: string): string {
  const [first = name, second = ''] = name.split('.');
  return first === 'encoder' || first === 'projector' ? `${first}.${second}` : first;
}

function groupNames(tree: ParameterTree): string[] {
  return [...new Set(tree.all.flatMap(p => [p.name.split('.')[0] ?? p.name, moduleOf(p.name)]))];
}

function summarize(tree: ParameterTree, banks: readonly ParameterBank[]): ModuleSummary[] {
  const lrOf = new Map(banks.flatMap(bank => bank.parameters.map(p => [p.name, bank.peakLr] as const)));
  const rows = new Map<string, { parameters: number; trainable: number; lr: number }>();
  for (const p of tree.all) {
    const key = moduleOf(p.name);
    const row = rows.get(key) ?? { parameters: 0, trainable: 0, lr: 0 };
    const lr = lrOf.get(p.name);
    rows.set(key, {
      parameters: row.parameters + p.size,
      trainable: row.trainable + (lr === undefined ? 0 : p.size),
      lr: Math.max(row.lr, lr ?? 0),
    });
  }
  return [...rows].map(([group, row]) => ({ group, ...row }));
}
