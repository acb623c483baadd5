import type { RecordedGraph } from '../../engine/compile.ts';
import { tensorBytes } from '../../engine/dry/dtypes.ts';
import { dryRun } from '../../engine/dry/run.ts';
import type { Batch } from '../../models/batch.ts';
import { buildModel } from '../adapters.ts';
import { planTraining, type TrainingPlan, unreadBy } from '../freeze.ts';
import type { Recipe } from '../recipe.ts';
import { TrainStep } from '../step.ts';
import { type GraphCost, graphCost, type Product, productsOf } from './cost.ts';
import { type PeakMemory, peakMemory } from './liveness.ts';

/** One function of a step: the gradients of a micro-batch, their sum with those before, or the update. */
export interface TracedFunction {
  readonly kind: 'gradients' | 'add' | 'update';
  readonly cost: GraphCost;
  readonly peak: PeakMemory;
  /** Tensors alive around it when it is called: weights, moments, batch, gradients so far. Bytes. */
  readonly around: number;
  /** Ops of the graph, those that only rename included. */
  readonly nodes: number;
}

/** What one step does, found without computing anything. */
export interface TracedStep {
  readonly training: TrainingPlan;
  readonly functions: readonly TracedFunction[];
  /** Matrix products of all functions by shape, largest share of the operations first. */
  readonly products: readonly { readonly product: Product; readonly flops: number }[];
  /**
   * Most bytes alive outside of functions: where gradients of micro-batches are added. On WebAssembly, which records
   * none, the peak of the whole step.
   */
  readonly between: number;
  /** Bytes of one micro-batch's tensors. */
  readonly batchBytes: number;
  /** Bytes of running averages. */
  readonly averageBytes: number;
  /** Bytes of gradients that reach the update. */
  readonly gradientBytes: number;
}

/** Which engine's memory is planned: only libtensorflow records its steps. */
export type PlannedEngine = 'tensorflow' | 'wasm';

/**
 * Runs one training step of `batches` on the shape-only engine: the very code that trains, so that its figures follow
 * every change of the model. No weight is allocated.
 */
export async function traceStep(
  recipe: Recipe,
  batches: readonly Batch[],
  engine: PlannedEngine = 'tensorflow',
): Promise<TracedStep> {
  return dryRun(
    ({ binding, tensor }) => {
      const { stage } = recipe;
      const model = buildModel(recipe);
      for (const parameter of model.parameters.all) parameter.assign(tensor(parameter.shape));
      const training = planTraining(model.parameters, stage, unreadBy(model, stage));
      const step = new TrainStep(model, training, stage);
      const standing = binding.liveBytes;
      // Somebody who wants to see gradients keeps the update a function of its own: what each takes is told apart.
      step.run(batches, 0, { gradients: () => undefined });
      const functions = binding.calls.map(({ graph, liveBytes }): TracedFunction => {
        return {
          kind: kindOf(graph),
          cost: graphCost(graph),
          peak: peakMemory(graph),
          around: liveBytes,
          nodes: graph.nodes.length,
        };
      });
      const result = {
        training,
        functions,
        products: mergedProducts(binding.calls.map(call => call.graph)),
        between: binding.peakBytes,
        averageBytes: stage.ema ? trainedBytes(training) : 0,
        batchBytes: (binding.calls[0]?.liveBytes ?? standing) - standing,
        gradientBytes: gradientBytes(binding.calls.find(call => kindOf(call.graph) === 'gradients')?.graph),
      };
      step.dispose();
      model.parameters.dispose();
      return result;
    },
    { eagerOnly: engine === 'wasm' },
  );
}

function kindOf({ key }: RecordedGraph): TracedFunction['kind'] {
  if (key === 'add') return 'add';
  return key.startsWith('update') ? 'update' : 'gradients';
}

function trainedBytes({ banks }: TrainingPlan): number {
  return banks.flatMap(bank => bank.parameters).reduce((sum, p) => sum + 4 * p.size, 0);
}

function gradientBytes(graph: RecordedGraph | undefined): number {
  const results = new Set(graph?.outputNodes);
  return (graph?.nodes ?? [])
    .filter(node => results.has(node.name))
    .reduce((sum, node) => sum + node.outputs.reduce((bytes, output) => bytes + tensorBytes(output), 0), 0);
}

function mergedProducts(graphs: readonly RecordedGraph[]): TracedStep['products'] {
  const sums = new Map<string, { product: Product; flops: number }>();
  for (const { product, flops } of graphs.flatMap(productsOf)) {
    const key = JSON.stringify(product);
    sums.set(key, { product, flops: (sums.get(key)?.flops ?? 0) + flops });
  }
  return [...sums.values()].sort((a, b) => b.flops - a.flops);
}
