/** What takes most memory in a stage, by name. */
import type { RecordedGraph } from '../engine/compile.ts';
import { tensorBytes } from '../engine/dry/dtypes.ts';
import type { Ferret } from '../models/ferret.ts';
import type { TrainingPlan } from './freeze.ts';
import type { TrainStep } from './step.ts';

/** One thing that takes memory. */
export interface LargeTensor {
  /** "llm.lm_head.weight [32000,4096]", "Softmax [8,32,512,512]". */
  readonly name: string;
  readonly bytes: number;
}

/** How many are told. */
const SHOWN = 4;

/** The largest ones, the largest first, each name once. */
export function largestOf(tensors: readonly LargeTensor[]): LargeTensor[] {
  const byName = new Map(tensors.map(tensor => [tensor.name, tensor]));
  return [...byName.values()].sort((a, b) => b.bytes - a.bytes).slice(0, SHOWN);
}

/** The largest results of ops in a recorded function. */
export function largestOutputs({ nodes }: RecordedGraph): LargeTensor[] {
  return largestOf(
    nodes
      .filter(({ op }) => op !== 'Placeholder' && op !== 'Identity')
      .flatMap(({ op, outputs }) =>
        outputs.map(output => ({ name: `${op} [${output.shape}]`, bytes: tensorBytes(output) })),
      ),
  );
}

/** The largest weights and moments, which are there all the time, and the largest results while a step is computed. */
export function largestTensors(
  { parameters }: Ferret,
  { banks }: TrainingPlan,
  step: Pick<TrainStep, 'largest'>,
): LargeTensor[] {
  const weights = parameters.all.map(p => ({ name: `${p.name} [${p.shape}]`, bytes: 4 * p.size }));
  const moments = banks.map(({ group, parameters: members }) => ({
    name: `AdamW's moments of ${group}`,
    bytes: 8 * members.reduce((sum, p) => sum + p.size, 0),
  }));
  return [...largestOf([...weights, ...moments]), ...step.largest];
}
