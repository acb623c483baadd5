import { mkdirSync, readdirSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { create, toBinary } from '@bufbuild/protobuf';
import { ioError } from '../atomic.ts';
import { openAppend } from './append.ts';
import type { RunEvent, RunListener } from './events.ts';
import {
  type Event,
  EventSchema,
  HParamsPluginDataSchema,
  SessionEndInfoSchema,
  SessionLogSchema,
  SummarySchema,
} from './proto/tensorboard_pb.ts';
import {
  experiment,
  type HParamsData,
  histogramValue,
  imageValue,
  prefixed,
  type SummaryValue,
  scalarValues,
  sessionStart,
  stepScalars,
  textValue,
} from './summaries.ts';
import { frameRecord } from './tfrecord.ts';

export interface TensorBoardOptions {
  /** Steps already completed: what earlier files of the folder have beyond it is declared void. */
  readonly step: number;
  /** Unix time, seconds; the clock unless a test stands still. */
  readonly now?: () => number;
}

/** SessionLog's status. */
const SESSION_START = 1;
/** SessionEndInfo's status. */
const SUCCESS = 1;
const FAILURE = 2;

/** Tells files of one process apart that are opened within a second. */
let opened = 0;

/**
 * Writes a new `events.out.tfevents.*` into `dir`, which is created when missing: scalars, histograms, text,
 * images, hyperparameters.
 * Each event is on its way to the disk when `on` returns. Throws GroundError('io').
 */
export function openTensorBoard(dir: string, options: TensorBoardOptions): RunListener {
  const now = options.now ?? (() => Date.now() / 1000);
  try {
    mkdirSync(dir, { recursive: true });
  } catch (thrown) {
    throw ioError(thrown, 'create', dir);
  }
  const file = openAppend(join(dir, fileName(dir, now())));
  const write = (step: number, what: Event['what']) => {
    const event = create(EventSchema, { wallTime: now(), step: BigInt(step), what });
    file.write(frameRecord(toBinary(EventSchema, event)));
  };
  const summary = (step: number, value: SummaryValue[]) =>
    write(step, { case: 'summary', value: create(SummarySchema, { value }) });
  const hparams = (tag: string, data: HParamsData) => {
    const content = toBinary(HParamsPluginDataSchema, create(HParamsPluginDataSchema, { data }));
    summary(0, [{ tag: `_hparams_/${tag}`, metadata: { pluginData: { pluginName: 'hparams', content } } }]);
  };
  const end = (status: number) =>
    hparams('session_end_info', {
      case: 'sessionEndInfo',
      value: create(SessionEndInfoSchema, { status, endTimeSecs: now() }),
    });

  write(0, { case: 'fileVersion', value: 'brain.Event:2' });
  // Readers drop what they have at this step and later ones: the points of a run that was killed after its checkpoint.
  write(options.step + 1, {
    case: 'sessionLog',
    value: create(SessionLogSchema, { status: SESSION_START }),
  });

  let start: Extract<RunEvent, { type: 'start' }> | undefined;
  let hasColumns = false;
  return {
    on(event) {
      switch (event.type) {
        case 'start':
          start = event;
          hparams('session_start_info', sessionStart(event.hparams, now()));
          return;
        case 'step':
          summary(event.step, scalarValues(stepScalars(event)));
          return;
        case 'scores': {
          const scores = prefixed('scores', event.scores);
          summary(event.step, scalarValues(scores));
          // The names of the scores are known only now; until then TensorBoard makes up its own columns.
          if (start && !hasColumns) {
            hparams(
              'experiment',
              experiment(start.run, start.hparams, ['loss', ...Object.keys(scores)], now()),
            );
            hasColumns = true;
          }
          return;
        }
        case 'text':
          summary(event.step, [textValue(event.tag, event.text)]);
          return;
        case 'probe':
          if (event.picture) summary(event.step, [imageValue(event.tag, event.picture)]);
          return;
        case 'histograms':
          summary(event.step, event.histograms.map(histogramValue));
          return;
        case 'end':
          end(SUCCESS);
          return;
        case 'stop':
          if (event.reason === 'failed') end(FAILURE);
          return;
        case 'checkpoint':
        case 'save-failed':
        case 'profile':
        case 'skip':
        case 'spike':
        case 'rollback':
        case 'note':
          return;
      }
    },
    async close() {
      file.close();
    },
  };
}

/**
 * TensorBoard reads the files of a folder in the order of their names, which begin with the time: one that goes on after
 * another, be it within the same second or after the clock was set back, must come after it.
 */
function fileName(dir: string, now: number): string {
  const earlier = readdirSync(dir).map(name =>
    Number(/^events\.out\.tfevents\.(\d+)\./.exec(name)?.[1] ?? 0),
  );
  const unix = Math.max(Math.floor(now), ...earlier.map(time => time + 1));
  return `events.out.tfevents.${String(unix).padStart(10, '0')}.${hostname()}.${process.pid}.${opened++}`;
}
