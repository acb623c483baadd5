/** Files of predictions: one question with its answer a line. */
import { createReadStream } from 'node:fs';
import { createInterface } from 'node:readline';
import { z } from 'zod';
import { ioError } from '../atomic.ts';
import { TASK_NAMES } from '../data/tasks/names.ts';
import { GroundError } from '../errors.ts';
import type { Prediction } from './run.ts';
import { type Asked, type Judged, judgeBoxes } from './score.ts';

const box = z.object({
  space: z.literal('pixels'),
  x1: z.number(),
  y1: z.number(),
  x2: z.number(),
  y2: z.number(),
});
const predictionLine = z.object({
  data: z.string(),
  id: z.string(),
  row: z.number(),
  task: z.enum(TASK_NAMES),
  answer: z.string().nullable(),
  truth: z.object({
    answer: z.string(),
    boxes: z.array(box).optional(),
    label: z.string().optional(),
    accepted: z.array(z.string()).optional(),
    distractor: z.string().optional(),
    absent: z.string().optional(),
    region: z.enum(['point', 'box', 'free-form']).optional(),
  }),
  boxes: z.array(box.nullable()),
  image: z.object({ width: z.number(), height: z.number() }),
  object: box.nullable(),
  captions: z.array(z.string()).optional(),
  objects: z.array(z.object({ label: z.string(), box, crowd: z.boolean() })).optional(),
});

/** A line as far as scoring needs it. */
export type PredictionLine = z.infer<typeof predictionLine>;

/** A prediction as its line says it. `data` is the dataset. */
export function lineOfPrediction(prediction: Prediction, data: string): string {
  return `${JSON.stringify({ data, ...prediction })}\n`;
}

/**
 * The predictions of a file in its order. Throws GroundError 'data' that names file and line where one is no prediction, and 'io'
 * where the file cannot be read.
 */
export async function readPredictions(file: string): Promise<PredictionLine[]> {
  const lines: PredictionLine[] = [];
  let number = 0;
  try {
    for await (const text of createInterface({ input: createReadStream(file), crlfDelay: Infinity })) {
      number++;
      if (text.trim() !== '') lines.push(parseLine(text, `${file}:${number}`));
    }
  } catch (thrown) {
    throw ioError(thrown, 'read', file);
  }
  return lines;
}

/** The answer of a line, judged as when it was written; null where there is none. */
export function judgeLine(line: PredictionLine): Judged | null {
  if (line.answer === null) return null;
  // Keys that a line lacks are absent, never undefined: it comes from JSON.
  return judgeBoxes(line as Asked, line.answer, line.boxes);
}

function parseLine(text: string, place: string): PredictionLine {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw noPrediction(place, 'it is no JSON');
  }
  const result = predictionLine.safeParse(value);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  throw noPrediction(place, `${issue?.path.join('.') || 'line'}: ${issue?.message ?? 'unreadable'}`);
}

function noPrediction(place: string, why: string): GroundError {
  return new GroundError('data', `${place} is no prediction: ${why}`, {
    hint: 'give a file that `ground eval` wrote, or evaluate the run again',
  });
}
