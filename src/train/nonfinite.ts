/** A step whose loss or gradient is not a finite number: what it was, for the person who has to find out why. */
import { GroundError } from '../errors.ts';
import type { Batch } from '../models/batch.ts';
import type { Parameter } from '../nn/parameter.ts';
import { moduleOf } from './groups.ts';
import type { Gradients } from './step.ts';

/** A number, or what JSON has no number for: "NaN", "Infinity", "-Infinity". */
type Written = number | string;

/** Values of a module's parameters, or of their gradients. */
export interface ModuleNorm {
  readonly module: string;
  /** Of the finite values. */
  readonly norm: number;
  /** How many values are not finite. */
  readonly nonFinite: number;
  /** The first parameters that have such values. */
  readonly parameters: readonly string[];
}

/** What is written down about such a step. */
export interface NonFiniteReport {
  /** Counted from 1. */
  readonly step: number;
  /** What is not finite: the loss, or only its gradient. */
  readonly what: 'loss' | 'gradient';
  readonly losses: Readonly<Record<string, Written>>;
  readonly batches: readonly {
    readonly kind: Batch['kind'];
    readonly loss: Written;
    /** "shard:row#task" of each sample. */
    readonly samples: readonly string[];
  }[];
  /** Gradients of each module that trains; a module that no loss reached has none. */
  readonly gradients: readonly ModuleNorm[];
  /** Weights of each module, those that do not train too. */
  readonly weights: readonly ModuleNorm[];
}

/** Thrown before anything of the step is applied. */
export class NonFiniteStep extends GroundError {
  readonly report: NonFiniteReport;

  constructor(report: NonFiniteReport) {
    super('train', describeNonFinite(report), {
      hint: 'lower the learning rate (--set lr=…), lengthen the warmup, or look at these samples with `ground data inspect`; the last checkpoint is untouched',
    });
    this.report = report;
  }
}

/** What a step has come to when it turns out not to be finite. */
export interface FailedStep {
  /** Counted from 0. */
  readonly step: number;
  readonly what: NonFiniteReport['what'];
  readonly losses: Readonly<Record<string, number>>;
  /** Each micro-batch with its part of the loss. */
  readonly batches: readonly { readonly batch: Batch; readonly loss: number }[];
  /** What trains, and its gradients in the same order; none of them where there is none. */
  readonly trained: readonly Parameter[];
  readonly gradients: Gradients;
  /** Every parameter of the model. */
  readonly all: readonly Parameter[];
}

/** Looks at every gradient and every weight, one after the other; they stay as they are. */
export function reportNonFinite(failed: FailedStep): NonFiniteReport {
  const { step, what, losses, batches, trained, gradients, all } = failed;
  return {
    step: step + 1,
    what,
    losses: Object.fromEntries(Object.entries(losses).map(([name, value]) => [name, written(value)])),
    batches: batches.map(({ batch, loss }) => ({
      kind: batch.kind,
      loss: written(loss),
      samples: batch.sampleIds,
    })),
    gradients: normsOf(
      trained.flatMap((parameter, i) => {
        const gradient = gradients[i];
        return gradient ? [{ name: parameter.name, values: () => gradient.dataSync() }] : [];
      }),
    ),
    weights: normsOf(all.map(({ name, value }) => ({ name, values: () => value.dataSync() }))),
  };
}

/** Names shown of a module's parameters. */
const SHOWN = 8;

function normsOf(tensors: readonly { name: string; values: () => ArrayLike<number> }[]): ModuleNorm[] {
  const modules = new Map<string, { squares: number; nonFinite: number; parameters: string[] }>();
  for (const { name, values } of tensors) {
    const module = moduleOf(name);
    const sum = modules.get(module) ?? { squares: 0, nonFinite: 0, parameters: [] };
    modules.set(module, sum);
    const before = sum.nonFinite;
    const numbers = values();
    for (let i = 0; i < numbers.length; i++) {
      const value = numbers[i] ?? Number.NaN;
      if (Number.isFinite(value)) sum.squares += value * value;
      else sum.nonFinite++;
    }
    if (sum.nonFinite > before && sum.parameters.length < SHOWN) sum.parameters.push(name);
  }
  return [...modules].map(([module, { squares, ...rest }]) => ({
    module,
    norm: Math.sqrt(squares),
    ...rest,
  }));
}

function written(value: number): Written {
  return Number.isFinite(value) ? value : String(value);
}

/** What was not finite, where, and for which samples, in one sentence. */
function describeNonFinite({ step, what, losses, batches, gradients, weights }: NonFiniteReport): string {
  const ids = batches.flatMap(({ samples }) => samples);
  const parts = Object.entries(losses).filter(([, value]) => typeof value === 'string');
  const bad = (norms: readonly ModuleNorm[]): string =>
    norms
      .filter(({ nonFinite }) => nonFinite > 0)
      .map(({ module, parameters }) => `${module} (${parameters[0]})`)
      .join(', ');
  const spoilt = bad(weights);
  return [
    what === 'loss'
      ? `step ${step}: the loss is ${parts.map(([name, value]) => `${value} (${name})`).join(', ')}`
      : `step ${step}: the gradient norm is not finite`,
    // Where weights are spoilt everything that follows from them is.
    ...(spoilt ? [`weights that are not finite in ${spoilt}`] : []),
    ...(spoilt || bad(gradients) === '' ? [] : [`gradients that are not finite in ${bad(gradients)}`]),
    'nothing was updated',
    `samples: ${ids.slice(0, 8).join(', ')}${ids.length > 8 ? `, … (${ids.length} samples)` : ''}`,
  ].join('; ');
}
