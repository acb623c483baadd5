/**
 * The same prompts answered greedily by three things that should be one: the model op by op, the model with its steps
 * recorded as graphs, and an exported folder in onnxruntime. Compared token for token.
 */
import { collate } from '../data/collate.ts';
import type { Dataset } from '../data/dataset.ts';
import { prepareSample, type Sample, type SampleContext } from '../data/sample.ts';
import type { ConversationTask } from '../data/tasks/index.ts';
import * as tf from '../engine/tf.ts';
import { GroundError } from '../errors.ts';
import { stopTokens } from '../eval/answer.ts';
import { type Generated, generateFrom, type Scored, type ScoringModel, scoringOf } from '../eval/generate.ts';
import { questionsOf } from '../eval/questions.ts';
import type { ConversationBatch } from '../models/batch.ts';
import type { Ferret } from '../models/ferret.ts';
import { disposeTensors, toTensors } from '../models/tensors.ts';
import type { OnnxModel } from './onnx-model.ts';

/** What is asked: short and long answers, with boxes and without, about the whole image, points, boxes and scribbles. */
export const AGREEMENT_TASKS: readonly ConversationTask[] = [
  'rec',
  'roc',
  'reg',
  'caption',
  'count',
  'dense-detection',
  'relation',
];

/** One prompt to which two ways gave other tokens. */
export interface Disagreement {
  readonly sample: string;
  readonly way: 'recorded' | 'onnx';
  /** Number of the first token that differs, and what both said there; null where one had ended. */
  readonly at: number;
  readonly here: number | null;
  readonly there: number | null;
  /** By how much the best score was ahead of the second there, op by op: near 0 it is a tie that rounding decides. */
  readonly lead: number;
}

export interface Agreement {
  readonly prompts: number;
  /** Tokens of all answers, op by op. */
  readonly tokens: number;
  /** Answers that are the same to the last token. */
  readonly equal: { readonly recorded: number; readonly onnx: number };
  /** The smallest lead of a best score over the second, op by op. */
  readonly smallestLead: number;
  /** The largest difference of a best score from that of op by op, while tokens were the same. */
  readonly largestDifference: { readonly recorded: number; readonly onnx: number };
  readonly disagreements: readonly Disagreement[];
}

/**
 * `count` prompts about a dataset, of all tasks in turn, so that a batch mixes long and short ones with any number of tiles and
 * regions. Questions that the model has no room for are left out. Throws GroundError 'data' where there are not so many.
 */
export async function agreementPrompts(
  dataset: Dataset,
  context: SampleContext,
  groundingPrompt: string,
  count: number,
): Promise<Sample[]> {
  const each = Math.ceil(count / AGREEMENT_TASKS.length);
  const byTask = await Promise.all(
    AGREEMENT_TASKS.map(async task => {
      const own: Sample[] = [];
      for await (const question of questionsOf(dataset, {
        task,
        limit: 2 * each,
        seed: 0,
        groundingPrompt,
      })) {
        const { record, conversation, id } = question;
        const sample = await promptOrNull(prepareSample(record, conversation, context, { prompt: true }));
        if (sample) own.push({ ...sample, id });
      }
      return own;
    }),
  );
  const prompts: Sample[] = [];
  for (let turn = 0; prompts.length < count; turn++) {
    const more = byTask.flatMap(own => own[turn] ?? []);
    if (more.length === 0) {
      throw new GroundError('data', `${dataset.dir} yields ${prompts.length} prompts, not ${count}`, {
        hint: 'name a larger dataset, or ask for fewer',
      });
    }
    prompts.push(...more.slice(0, count - prompts.length));
  }
  return prompts;
}

async function promptOrNull(sample: Promise<Sample>): Promise<Sample | null> {
  try {
    return await sample;
  } catch (thrown) {
    if (thrown instanceof GroundError && thrown.code === 'data') return null;
    throw thrown;
  }
}

/** Answers prompts in all three ways, `batch` at a time, and compares. */
export async function compareAnswers(
  model: Ferret,
  onnx: Pick<OnnxModel, 'config' | 'tokenizer' | 'scoring'>,
  prompts: readonly Sample[],
  { batch: size, maxNewTokens }: { readonly batch: number; readonly maxNewTokens: number },
): Promise<Agreement> {
  const stop = stopTokens(onnx.tokenizer, model.config.template);
  const found = {
    tokens: 0,
    equal: { recorded: 0, onnx: 0 },
    smallestLead: Number.POSITIVE_INFINITY,
    largestDifference: { recorded: 0, onnx: 0 },
    disagreements: [] as Disagreement[],
  };
  for (let start = 0; start < prompts.length; start += size) {
    const some = prompts.slice(start, start + size);
    const batch = collate(some, model.config, { buckets: false });
    const options = {
      stop,
      maxNewTokens: Math.min(maxNewTokens, Math.max(0, onnx.config.max_length - batch.length)),
    };
    const answered = async (scoring: ScoringModel): Promise<Watched> => {
      const steps: Best[][] = [];
      return { answers: await generateFrom(watched(scoring, steps), options), steps };
    };
    const here = await inEngine(model, batch, false, answered);
    const others = {
      recorded: await inEngine(model, batch, true, answered),
      onnx: await answered(onnx.scoring(batch)),
    };
    for (const [row, { id }] of some.entries()) {
      const own = here.answers[row]?.tokens ?? [];
      const leads = own.map((_, t) => here.steps[t]?.[row]?.lead ?? 0);
      found.tokens += own.length;
      found.smallestLead = Math.min(found.smallestLead, ...leads);
      for (const way of ['recorded', 'onnx'] as const) {
        const theirs = others[way].answers[row]?.tokens ?? [];
        const at = firstDifference(own, theirs);
        const same = at ?? own.length;
        for (let t = 0; t < same; t++) {
          const [a, b] = [here, others[way]].map(({ steps }) => steps[t]?.[row]?.score ?? Number.NaN);
          found.largestDifference[way] = Math.max(
            found.largestDifference[way],
            Math.abs((a ?? 0) - (b ?? 0)),
          );
        }
        if (at === null) found.equal[way]++;
        else {
          const lead = here.steps[at]?.[row]?.lead ?? 0;
          found.disagreements.push({
            ...{ sample: id, way, at, lead },
            ...{ here: own[at] ?? null, there: theirs[at] ?? null },
          });
        }
      }
    }
  }
  return { prompts: prompts.length, ...found };
}

/** The best score of a row and by how much it leads. */
interface Best {
  readonly score: number;
  readonly lead: number;
}

interface Watched {
  readonly answers: readonly Generated[];
  /** Of each step, of each row. */
  readonly steps: readonly (readonly Best[])[];
}

/** Runs the model on a batch: its decode steps recorded, or each op on its own. */
async function inEngine(
  model: Ferret,
  batch: ConversationBatch,
  isRecorded: boolean,
  work: (scoring: ScoringModel) => Promise<Watched>,
): Promise<Watched> {
  const tensors = toTensors(batch);
  const visual = model.visual(tensors);
  const scoring = scoringOf({
    // Without room for the tokens that follow, shapes grow with each and nothing is recorded.
    prefill: room => model.prefill(tensors, visual, isRecorded ? room : 0),
    decode: (tokens, cache) => model.decode(tokens, cache),
    release: cache => model.release(cache),
  });
  try {
    return await work(scoring);
  } finally {
    scoring.release();
    disposeTensors(tensors);
    tf.dispose([visual.global, visual.local].filter(kept => kept !== null));
  }
}

/** The same model; what it scores best is noted. */
function watched(scoring: ScoringModel, steps: Best[][]): ScoringModel {
  const note = (scored: Scored): Scored => {
    const { rows, words, scores } = scored;
    steps.push(
      Array.from({ length: rows }, (_, row) => bestOf(scores.subarray(row * words, (row + 1) * words))),
    );
    return scored;
  };
  return {
    start: async room => note(await scoring.start(room)),
    next: async tokens => note(await scoring.next(tokens)),
  };
}

function bestOf(scores: ArrayLike<number>): Best {
  let [best, second] = [Number.NEGATIVE_INFINITY, Number.NEGATIVE_INFINITY];
  for (let i = 0; i < scores.length; i++) {
    const score = scores[i] ?? Number.NEGATIVE_INFINITY;
    if (score > best) [best, second] = [score, best];
    else if (score > second) second = score;
  }
  return { score: best, lead: best - second };
}

/** Where two lists first differ; null where they are the same. */
function firstDifference(a: readonly number[], b: readonly number[]): number | null {
  for (let i = 0; i < Math.max(a.length, b.length); i++) if (a[i] !== b[i]) return i;
  return null;
}
