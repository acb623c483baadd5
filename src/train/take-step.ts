/** One step of a running stage: batches in, an update and a line of the log out. */
import type { StepBatches } from '../data/loader.ts';
import { tensorCount } from '../engine/memory.ts';
import { GroundError } from '../errors.ts';
import { reach } from '../fault.ts';
import type { Histogram } from '../telemetry/events.ts';
import { trainedBy } from './freeze.ts';
import { gradientHistograms, weightHistograms } from './histograms.ts';
import { NonFiniteStep } from './nonfinite.ts';
import { describeUnreached } from './reached.ts';
import type { Session } from './session.ts';
import type { StepHooks, StepResult } from './step.ts';
import type { Spike } from './watchdog.ts';

/** How many of the last steps the reported last loss averages. */
const LAST_STEPS = 20;

/** Whether something that happens every `every` steps (0: never before the end) happens after this one. */
export function isDue(every: number, step: number, steps: number): boolean {
  return step === steps || (every > 0 && step % every === 0);
}

/**
 * Takes the next step and logs it where that is due. A step that is not finite, or that the stage has gone back from, is
 * passed over: it counts, and updates nothing. Yields the spike that ends with it, if one does.
 */
export async function takeStep(session: Session): Promise<Spike | null> {
  const { loader, listener, progress, clock, guards } = session;
  const next = await clock.wait('data', () => loader.next());
  for (const message of next.skipped) listener.on({ type: 'note', message });
  reach('step');
  const step = progress.step + 1;
  if (guards.passesOver(step)) {
    loader.recycle(next.batches);
    advance(session, next);
    const message = 'part of a jump of the loss';
    listener.on({ type: 'skip', step, reason: 'spike', message, report: null, skipped: guards.skipped });
    return null;
  }
  const histograms = areHistogramsDue(session) ? [] : undefined;
  let result: StepResult;
  try {
    result = compute(session, next, histograms);
  } catch (thrown) {
    if (!(thrown instanceof NonFiniteStep)) throw thrown;
    const report = await guards.skip(thrown);
    advance(session, next);
    const { message } = thrown;
    listener.on({ type: 'skip', step, reason: 'nonfinite', message, report, skipped: guards.skipped });
    return null;
  } finally {
    loader.recycle(next.batches);
  }
  advance(session, next);
  count(session, result);
  tellUnreached(session, next);
  if (progress.step > guards.replayedTo) log(session, next, result, histograms);
  const spike = guards.updated(step, result.loss);
  if (spike) {
    const { last: _, ...figures } = spike;
    listener.on({ type: 'spike', step, ...figures });
  }
  return spike;
}

function areHistogramsDue({ options, progress }: Session): boolean {
  const { histograms: every = 0 } = options.recipe.stage.log;
  return every > 0 && (progress.step + 1) % every === 0;
}

function compute(
  { trainStep, progress, clock, profile, guards, features, listener }: Session,
  { batches }: StepBatches,
  histograms: Histogram[] | undefined,
): StepResult {
  const gradients: StepHooks['gradients'] = (parameters, gradients) => {
    if (!guards.gradients.decided) guards.gradients.see(parameters, gradients);
    if (!histograms) return;
    clock.time('logging', () => histograms.push(...gradientHistograms(parameters, gradients)));
  };
  const hooks: StepHooks = {
    time: (phase, work) => clock.time(phase, work),
    // Only where they are wanted: a step that hands out its gradients cannot be one function. A profile shows its two phases.
    ...((histograms || !guards.gradients.decided || profile?.watches) && { gradients }),
  };
  const run = (): StepResult => {
    if (!features) return trainStep.run(batches, progress.step, hooks);
    const completed = clock.time('forwardBackward', () => features.complete(batches));
    for (const message of completed.notes) listener.on({ type: 'note', message });
    const result = trainStep.run(completed.batches, progress.step, hooks);
    const { flops } = result;
    return { ...result, flops: flops === null ? null : flops + completed.flops };
  };
  return profile ? profile.run(run) : run();
}

/** The step has been taken, or passed over. */
function advance({ progress }: Session, { position }: StepBatches): void {
  progress.step += 1;
  progress.loader = position;
}

function count({ progress, pace }: Session, result: StepResult): void {
  progress.samples += result.samples;
  progress.tokens += result.tokens;
  progress.firstLoss ??= result.loss;
  progress.lastLosses = [...progress.lastLosses, result.loss].slice(-LAST_STEPS);
  pace.add(result);
}

/** Says what trains and gets no gradient, once that is certain. */
function tellUnreached({ options, progress, guards, listener }: Session, { served }: StepBatches): void {
  const { stage } = options.recipe;
  const counts = served.map(source => source.count);
  const unreached = guards.gradients.verdict(counts, progress.step === stage.steps) ?? [];
  if (unreached.length === 0) return;
  const message = describeUnreached(unreached);
  if (stage.on_no_gradient !== 'stop') {
    listener.on({ type: 'note', message: `WARNING: ${message}` });
    return;
  }
  throw new GroundError('train', `step ${progress.step}: ${message}`, {
    hint: 'take it out of `train`, or add data that exercises it; on_no_gradient: note goes on all the same',
  });
}

function log(
  { options, plan, listener, progress, clock, pace, guards, features }: Session,
  { served, padding, queued }: StepBatches,
  result: StepResult,
  histograms: Histogram[] | undefined,
): void {
  const { stage } = options.recipe;
  if (histograms) {
    clock.time('logging', () => histograms.push(...weightHistograms(trainedBy(plan))));
    listener.on({ type: 'histograms', step: progress.step, histograms });
  }
  if (progress.step > 1 && !isDue(stage.log.every, progress.step, stage.steps)) return;
  const seconds = clock.lap();
  listener.on({
    type: 'step',
    step: progress.step,
    loss: result.loss,
    losses: result.losses,
    gradNorm: result.gradNorm,
    lr: result.lr,
    samples: result.samples,
    tokens: result.tokens,
    mixture: Object.fromEntries(served.map(({ name, count: samples }) => [name, samples])),
    padding,
    queued,
    ...(features && { features: features.take() }),
    seconds,
    speed: pace.take(progress.step, seconds),
    tensors: tensorCount(),
    rssBytes: process.memoryUsage.rss(),
    ...(guards.skipped > 0 && { skipped: guards.skipped }),
  });
}
