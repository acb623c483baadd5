import { GroundError } from '../errors.ts';
import type { Ferret } from '../models/ferret.ts';
import type { Parameter, ParameterTree } from '../nn/parameter.ts';
import type { ModuleSummary } from '../telemetry/events.ts';
import { adaptedLayer } from './adapters.ts';
import { groupOf, moduleOf, trainedGroups } from './groups.ts';
import { lies, listOf, matcher } from './patterns.ts';
import { rateFactors } from './rates.ts';
import type { StageRecipe, TrainGroup } from './recipe.ts';

/** Parameters that are updated alike: one learning rate, decay or none. */
export interface ParameterBank {
  /** The entry of `train`, or the module of `lora`, that selected them. */
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

/** Parameters that no loss of the stage reads: a stage without contrastive data leaves more of them out. */
export function unreadBy(model: Ferret, stage: StageRecipe): ReadonlySet<string> {
  const contrastive = stage.data.some(({ task }) => task === 'contrastive');
  return contrastive ? model.unused : model.unusedBy('conversation');
}

/** Everything that trains, bank after bank. */
export function trainedBy({ banks }: TrainingPlan): Parameter[] {
  return banks.flatMap(bank => bank.parameters);
}

/**
 * Splits a model's parameters by the stage's `train` list. A parameter belongs to the longest entry that is a prefix
 * of its name, and trains unless that entry's patterns leave it out; parameters of adapters belong to the entry of
 * `lora`. Weight decay goes to tensors of rank 2 and more but those of `no_decay`. `unused` names parameters that no loss
 * reads (kept only so that published checkpoints round-trip): they count as frozen.
 * Throws when an entry or a pattern matches nothing, when a layer has an adapter and trains as well, or nothing trains.
 */
export function planTraining(
  tree: ParameterTree,
  stage: StageRecipe,
  unused: ReadonlySet<string>,
): TrainingPlan {
  const members = selectMembers(tree, stage, unused);
  const trained = [...members.values()].flat();
  if (trained.length === 0) {
    throw new GroundError('config', `stage ${stage.stage} trains nothing: its \`train\` list is empty`, {
      hint: `name at least one of: ${groupNames(tree).join(', ')}`,
    });
  }
  const names = trained.map(p => p.name);
  const factor = rateFactors(stage.lr_decay ?? {}, names);
  const exempt = matcher('optimizer.no_decay', listOf(stage.optimizer.no_decay), names);
  const isDecayed = (p: Parameter): boolean => p.shape.length >= 2 && !exempt(p.name);
  const banks = trainedGroups(stage).flatMap(group => {
    const parameters = members.get(group) ?? [];
    const peakLr = peakLearningRate(stage, group);
    const factors = [...new Set(parameters.map(p => factor(p.name)))].sort((a, b) => b - a);
    return factors.flatMap(share => {
      const alike = parameters.filter(p => factor(p.name) === share);
      const bank = { group, peakLr: peakLr * share };
      const { weight_decay: weightDecay } = stage.optimizer;
      return [
        ...inBanks(alike.filter(isDecayed)).map(part => ({ ...bank, weightDecay, parameters: part })),
        ...inBanks(alike.filter(p => !isDecayed(p))).map(part => ({
          ...bank,
          weightDecay: 0,
          parameters: part,
        })),
      ];
    });
  });
  const selected = new Set(trained);
  const frozen = tree.all.filter(p => !selected.has(p));
  requirePartition(tree, banks, frozen);
  return { banks, frozen, modules: summarize(tree, banks) };
}

/** The parameters that train, by group. */
function selectMembers(
  tree: ParameterTree,
  { train, lora = [] }: StageRecipe,
  unused: ReadonlySet<string>,
): ReadonlyMap<string, readonly Parameter[]> {
  const entries = [...train].sort((a, b) => groupOf(b).length - groupOf(a).length);
  const adapted = lora.map(({ module }) => module).sort((a, b) => b.length - a.length);
  const owned = new Map<TrainGroup, Parameter[]>(entries.map(entry => [entry, []]));
  const adapters = new Map<string, Parameter[]>(adapted.map(module => [module, []]));
  for (const parameter of tree.all) {
    const { name } = parameter;
    if (adaptedLayer(name) !== undefined) {
      const module = adapted.find(prefix => lies(name, prefix));
      if (module !== undefined) adapters.get(module)?.push(parameter);
      continue;
    }
    const entry = entries.find(e => lies(name, groupOf(e)));
    if (entry !== undefined && !unused.has(name)) owned.get(entry)?.push(parameter);
  }
  const members = new Map<string, Parameter[]>();
  for (const [entry, parameters] of owned) {
    if (parameters.length === 0) {
      throw new GroundError('config', `train: "${groupOf(entry)}" matches no parameter of the model`, {
        hint: `groups of this model: ${groupNames(tree).join(', ')}`,
      });
    }
    members.set(groupOf(entry), picked(entry, parameters));
  }
  const trained = new Set([...members.values()].flat().map(p => p.name));
  for (const [module, parameters] of adapters) {
    const both = parameters.find(({ name }) => trained.has(`${adaptedLayer(name)}.weight`));
    if (both) {
      throw new GroundError('config', `lora: ${adaptedLayer(both.name)} has an adapter and trains itself`, {
        hint: `leave it out of \`train\` (except:), or "${module}" out of \`lora\``,
      });
    }
    members.set(module, [...(members.get(module) ?? []), ...parameters]);
  }
  return members;
}

/** What an entry's patterns leave of its parameters. Throws where that is nothing. */
function picked(entry: TrainGroup, parameters: readonly Parameter[]): Parameter[] {
  if (typeof entry === 'string') return [...parameters];
  const names = parameters.map(p => p.name);
  const key = `train: ${entry.group}`;
  const only = matcher(`${key}, only`, listOf(entry.only), names);
  const except = matcher(`${key}, except`, listOf(entry.except), names);
  const left = parameters.filter(p => (entry.only === undefined || only(p.name)) && !except(p.name));
  if (left.length > 0) return left;
  throw new GroundError('config', `${key}: only and except together leave none of ${names.length} names`, {
    hint: 'a name must match `only` and must not match `except`',
  });
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

/** Every parameter is updated once or not at all: in one bank, or frozen. Anything else is a mistake of ours. */
function requirePartition(
  tree: ParameterTree,
  banks: readonly ParameterBank[],
  frozen: readonly Parameter[],
): void {
  const times = new Map<Parameter, number>(tree.all.map(p => [p, 0]));
  for (const p of [...banks.flatMap(bank => bank.parameters), ...frozen]) {
    times.set(p, (times.get(p) ?? 0) + 1);
  }
  for (const [p, count] of times) {
    if (count !== 1) throw new Error(`parameter ${p.name} is in ${count} banks`);
  }
}

/** The peak learning rate of a group; throws when the recipe's map has none for it. */
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

function groupNames(tree: ParameterTree): string[] {
  return [...new Set(tree.all.flatMap(p => [p.name.split('.')[0] ?? p.name, moduleOf(p.name)]))];
}

function summarize(tree: ParameterTree, banks: readonly ParameterBank[]): ModuleSummary[] {
  const bankOf = new Map(banks.flatMap(bank => bank.parameters.map(p => [p.name, bank] as const)));
  const rows = new Map<string, { parameters: number; trainable: number; banks: Set<ParameterBank> }>();
  for (const p of tree.all) {
    const key = moduleOf(p.name);
    const row = rows.get(key) ?? { parameters: 0, trainable: 0, banks: new Set() };
    const bank = bankOf.get(p.name);
    rows.set(key, row);
    row.parameters += p.size;
    if (bank === undefined) continue;
    row.trainable += p.size;
    row.banks.add(bank);
  }
  return [...rows].map(([group, { parameters, trainable, banks: own }]) => {
    const rates = [...own].map(bank => bank.peakLr);
    const lr = Math.max(0, ...rates);
    const weightDecay = Math.max(0, ...[...own].map(bank => bank.weightDecay));
    return {
      group,
      parameters,
      trainable,
      lr,
      ...(Math.min(lr, ...rates) < lr ? { lowestLr: Math.min(...rates) } : {}),
      ...(weightDecay > 0 ? { weightDecay } : {}),
    };
  });
}
