/** What trains, how fast and what is decayed, in numbers: for people before the first step, and for the run's folder. */
import type { ModuleSummary } from '../telemetry/events.ts';
import type { TrainingPlan } from './freeze.ts';
import { moduleOf } from './groups.ts';
import { type Depth, depthOf } from './rates.ts';
import type { StageRecipe } from './recipe.ts';

/** One depth of a module whose rates fall from block to block. */
export interface RateRow {
  readonly module: string;
  /** 'embeddings', the number of a block, or 'top' for what comes after the blocks. */
  readonly depth: Depth;
  readonly lr: number;
  readonly parameters: number;
}

/** The content of a stage's parameters.json. */
export interface FreezeTable {
  readonly modules: readonly (ModuleSummary & { readonly decayed: number })[];
  /** Rates by depth, where `lr_decay` makes them differ. */
  readonly rates: readonly RateRow[];
  /** What is not decayed although it trains: tensors of rank 0 and 1, and names that `no_decay` matches. */
  readonly notDecayed: { readonly byShape: number; readonly byName: readonly string[] };
  /** Every tensor that trains, with its rate at the peak and its decay. */
  readonly trained: readonly {
    readonly name: string;
    readonly shape: readonly number[];
    readonly group: string;
    readonly lr: number;
    readonly weightDecay: number;
  }[];
  readonly frozen: readonly string[];
}

/** The table of a plan. */
export function freezeTable(plan: TrainingPlan, stage: StageRecipe): FreezeTable {
  const trained = plan.banks.flatMap(bank =>
    bank.parameters.map(({ name, shape, size }) => ({
      name,
      shape,
      size,
      group: bank.group,
      lr: bank.peakLr,
      weightDecay: bank.weightDecay,
    })),
  );
  const decayedIn = (module: string): number =>
    trained.filter(p => moduleOf(p.name) === module && p.weightDecay > 0).reduce((sum, p) => sum + p.size, 0);
  const spared = trained.filter(p => p.weightDecay === 0 && stage.optimizer.weight_decay > 0);
  return {
    modules: plan.modules.map(row => ({ ...row, decayed: decayedIn(row.group) })),
    rates: stage.lr_decay === undefined ? [] : rateRows(trained),
    notDecayed: {
      byShape: spared.filter(p => p.shape.length < 2).length,
      byName: spared.filter(p => p.shape.length >= 2).map(p => p.name),
    },
    trained: trained.map(({ size: _, ...row }) => row),
    frozen: plan.frozen.map(p => p.name),
  };
}

/** The rates of modules that have several, highest first. */
function rateRows(trained: readonly { name: string; size: number; lr: number }[]): RateRow[] {
  const rows = new Map<string, RateRow>();
  for (const { name, size, lr } of trained) {
    const [module, depth] = [moduleOf(name), depthOf(name)];
    const key = `${module} ${depth} ${lr}`;
    const parameters = (rows.get(key)?.parameters ?? 0) + size;
    rows.set(key, { module, depth, lr, parameters });
  }
  const all = [...rows.values()];
  return all
    .filter(row => all.some(other => other.module === row.module && other.lr !== row.lr))
    .sort((a, b) => (a.module === b.module ? b.lr - a.lr : a.module < b.module ? -1 : 1));
}

/** What the table of modules leaves out, in lines for the log: rates by depth, and what is not decayed by name. */
export function freezeNotes({ rates, notDecayed }: FreezeTable): string[] {
  const modules = [...new Set(rates.map(({ module }) => module))];
  const depths = modules.map(module => {
    const own = rates.filter(row => row.module === module);
    return `learning rates of ${module}: ${own.map(({ depth, lr }) => `${depthName(depth)} ${short(lr)}`).join(', ')}`;
  });
  const { byShape, byName } = notDecayed;
  if (byName.length === 0) return depths;
  const shown = byName.slice(0, 4).join(', ') + (byName.length > 4 ? `, … (${byName.length} in all)` : '');
  return [...depths, `not decayed: ${byShape} tensors of rank 0 and 1, and by optimizer.no_decay ${shown}`];
}

function depthName(depth: Depth): string {
  return typeof depth === 'number' ? `block ${depth}` : depth;
}

function short(lr: number): string {
  return String(Number(lr.toPrecision(3)));
}
