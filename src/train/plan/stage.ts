import { arraysOf } from '../../data/collate.ts';
import { GroundError } from '../../errors.ts';
import type { Batch } from '../../models/batch.ts';
import type { ModuleSummary } from '../../telemetry/events.ts';
import type { Recipe } from '../recipe.ts';
import type { Product } from './cost.ts';
import { type BatchGroup, type DrawnBatches, drawBatches } from './draw.ts';
import { type PlannedMemory, planMemory } from './memory.ts';
import { type BatchSizes, sizesOf } from './sizes.ts';
import type { MachineSpeed } from './speed.ts';
import { type PlannedEngine, type TracedFunction, type TracedStep, traceStep } from './trace.ts';

/** What one step computes. */
export interface PlannedWork {
  /** Floating-point operations of matrix products, forward, backward and update. */
  readonly flopsPerStep: number;
  readonly flopsPerSample: number;
  /** Bytes that other ops read and write. */
  readonly bytesPerStep: number;
  readonly opsPerStep: number;
}

/** One stage as it would run. */
export interface StagePlan {
  readonly stage: number;
  readonly name: string;
  readonly steps: number;
  /** Samples of one step: micro-batches times their size, pairs for contrasting not counted. */
  readonly samplesPerStep: number;
  readonly modules: readonly ModuleSummary[];
  readonly parameters: number;
  readonly trainable: number;
  /** Where sizes come from: the data, or the largest that the recipe allows where the data is missing. */
  readonly source: DrawnBatches['source'];
  /** The largest micro-batch of conversations; null where the stage has none. */
  readonly largest: BatchSizes | null;
  readonly memory: PlannedMemory;
  readonly work: PlannedWork;
  /** Matrix products by shape, largest share of the operations first. */
  readonly products: readonly { readonly product: Product; readonly flops: number }[];
}

/** Sizes of batches that are traced; rarer ones count as the most frequent. */
const MOST_SIZES = 6;

/**
 * Plans one stage: traces a step for each size of batch that the data yields and adds up. Allocates no weight, and reads
 * images only where the data is there.
 *
 * @param known batches that have been drawn already
 */
export async function planStage(
  recipe: Recipe,
  engine: PlannedEngine,
  known?: DrawnBatches,
): Promise<StagePlan> {
  const { model, stage } = recipe;
  const drawn = known ?? (await drawBatches(stage, model));
  const groups = chosen(drawn.groups);
  const { accumulate, samples } = stage.batch;
  const traces: GroupTrace[] = [];
  for (const group of groups) traces.push({ group, trace: await traceStep(recipe, [group.batch]) });
  const [first] = traces;
  if (!first) throw new GroundError('config', `stage ${stage.stage} draws no batches`);
  const step = await traceStep(recipe, largestStep(groups, accumulate), engine);
  const { modules } = first.trace.training;
  const conversations = groups.some(({ batch }) => batch.kind === 'conversation');
  const samplesPerStep = conversations ? accumulate * samplesOf(groups, recipe) : samples;
  const recorded = engine === 'wasm' ? [] : traces.flatMap(({ trace }) => trace.functions);
  return {
    stage: stage.stage,
    name: stage.name,
    steps: stage.steps,
    samplesPerStep,
    modules,
    parameters: modules.reduce((sum, m) => sum + m.parameters, 0),
    trainable: modules.reduce((sum, m) => sum + m.trainable, 0),
    source: drawn.source,
    largest: largestConversation(groups),
    memory: planMemory(step, { accumulate, recorded }),
    work: workOf(traces, accumulate, samplesPerStep),
    products: first.trace.products,
  };
}

/** Samples of a batch of conversations; of packed rows, as many as there are in the mean. */
function samplesOf(groups: readonly BatchGroup[], { stage }: Recipe): number {
  if (!stage.batch.packing) return stage.batch.samples;
  const packed = groups.filter(({ batch }) => batch.kind === 'conversation');
  return packed.reduce((sum, { batch, share }) => sum + share * batch.sampleIds.length, 0);
}

/** A group of batches and a step with one of them. */
interface GroupTrace {
  readonly group: BatchGroup;
  readonly trace: TracedStep;
}

/** Seconds that a step should take, from what it computes and how fast the machine is. */
export function secondsPerStep(
  { flopsPerStep, bytesPerStep, opsPerStep }: PlannedWork,
  speed: MachineSpeed,
): number {
  return flopsPerStep / speed.flops + bytesPerStep / speed.bytes + opsPerStep * speed.perOp;
}

/** The most frequent sizes, and the largest of each kind whatever its frequency. */
function chosen(groups: readonly BatchGroup[]): BatchGroup[] {
  const kept = [...new Set([...groups.slice(0, MOST_SIZES), ...largestOfKinds(groups)])];
  return kept.map(group => {
    const same = kept.filter(({ batch }) => batch.kind === group.batch.kind);
    const share = group.share / same.reduce((sum, other) => sum + other.share, 0);
    return { batch: group.batch, share };
  });
}

function largestOfKinds(groups: readonly BatchGroup[]): BatchGroup[] {
  const kinds = new Set(groups.map(({ batch }) => batch.kind));
  return [...kinds].map(kind =>
    groups
      .filter(({ batch }) => batch.kind === kind)
      .reduce((a, b) => (bytesOf(b.batch) > bytesOf(a.batch) ? b : a)),
  );
}

/** The batches of a step that takes most memory. A second micro-batch shows what adding gradients takes; more add nothing. */
export function largestStep(groups: readonly BatchGroup[], accumulate: number): Batch[] {
  return largestOfKinds(groups).flatMap(({ batch }) =>
    batch.kind === 'conversation' && accumulate > 1 ? [batch, batch] : [batch],
  );
}

function bytesOf(batch: Batch): number {
  return arraysOf(batch).reduce((sum, array) => sum + array.byteLength, 0);
}

function largestConversation(groups: readonly BatchGroup[]): BatchSizes | null {
  const sizes = groups.flatMap(({ batch }) => (batch.kind === 'conversation' ? [sizesOf(batch)] : []));
  const [first, ...rest] = sizes;
  if (!first) return null;
  return rest.reduce(
    (a, b) => ({
      samples: a.samples,
      positions: Math.max(a.positions, b.positions),
      tiles: Math.max(a.tiles, b.tiles),
      regions: Math.max(a.regions, b.regions),
      targets: Math.max(a.targets, b.targets),
    }),
    first,
  );
}

/** An update in place reads a gradient, and reads and writes the weight and both moments, in float32. */
const IN_PLACE_BYTES = 4 * 7;

/** The mean step: each size as often as it comes, conversations `accumulate` times, one batch for contrasting. */
function workOf(traces: readonly GroupTrace[], accumulate: number, samplesPerStep: number): PlannedWork {
  let [flops, bytes, ops] = [0, 0, 0];
  for (const { group, trace } of traces) {
    const gradients = trace.functions.find(f => f.kind === 'gradients');
    const times = group.share * (group.batch.kind === 'conversation' ? accumulate : 1);
    flops += times * (gradients?.cost.flops ?? 0);
    bytes += times * (gradients?.cost.bytes ?? 0);
    ops += times * (gradients?.cost.ops ?? 0);
  }
  const updates = traces.flatMap(({ trace }) => trace.functions.filter(f => f.kind === 'update'));
  // The one over most parameters: a step with batches of both kinds updates all of them.
  const update = updates.reduce<TracedFunction | undefined>(
    (most, f) => (most && most.cost.bytes >= f.cost.bytes ? most : f),
    undefined,
  );
  const trainable = traces[0]?.trace.training.modules.reduce((sum, m) => sum + m.trainable, 0) ?? 0;
  bytes += update?.cost.bytes ?? IN_PLACE_BYTES * trainable;
  ops += update?.cost.ops ?? 1;
  return {
    flopsPerStep: flops,
    flopsPerSample: flops / samplesPerStep,
    bytesPerStep: bytes,
    opsPerStep: ops,
  };
}
