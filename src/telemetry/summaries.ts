/** What of a run's events TensorBoard shows, as pure data. */
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { type Value, ValueSchema } from '@bufbuild/protobuf/wkt';
import type { RunEvent } from './events.ts';
import {
  ExperimentSchema,
  type HParamsPluginData,
  SessionStartInfoSchema,
  type Summary_ValueSchema,
} from './proto/tensorboard_pb.ts';

export type SummaryValue = MessageInitShape<typeof Summary_ValueSchema>;
export type HParamsData = HParamsPluginData['data'];
export type HParams = Readonly<Record<string, string | number | boolean>>;

type StepEvent = Extract<RunEvent, { type: 'step' }>;
type ImageEvent = Extract<RunEvent, { type: 'image' }>;

/** TensorProto's DataType. */
const DT_STRING = 7;
/** SummaryMetadata's DataClass. */
const DATA_CLASS_TENSOR = 2;
/** TensorBoard's colorspace number for RGBA. */
const RGBA = 4;
/** HParamInfo's types. */
const HPARAM_TYPE = { string: 1, boolean: 2, number: 3 } as const;

/** The numbers of one step by tag. A slash makes a group of charts. */
export function stepScalars(event: StepEvent): Record<string, number> {
  const { total } = event.seconds;
  return {
    loss: event.loss,
    ...prefixed('losses', event.losses),
    grad_norm: event.gradNorm,
    ...prefixed('lr', event.lr),
    ...prefixed('seconds', event.seconds),
    ...(total > 0
      ? {
          'throughput/samples_per_second': event.samples / total,
          'throughput/tokens_per_second': event.tokens / total,
        }
      : {}),
    ...prefixed('data/served', event.mixture ?? {}),
    ...(event.padding === undefined ? {} : { 'data/padding': event.padding }),
    ...(event.queued === undefined ? {} : { 'data/queued': event.queued }),
    'memory/rss_bytes': event.rssBytes,
    'memory/tensors': event.tensors,
  };
}

/** `{a: 1}` to `{prefix/a: 1}`. */
export function prefixed(prefix: string, values: Readonly<Record<string, number>>): Record<string, number> {
  return Object.fromEntries(Object.entries(values).map(([key, value]) => [`${prefix}/${key}`, value]));
}

export function scalarValues(scalars: Readonly<Record<string, number>>): SummaryValue[] {
  return Object.entries(scalars).map(([tag, number]) => ({
    tag,
    value: { case: 'simpleValue', value: number },
  }));
}

/** Markdown, shown by TensorBoard's text page. */
export function textValue(tag: string, text: string): SummaryValue {
  return {
    tag,
    metadata: { pluginData: { pluginName: 'text' }, dataClass: DATA_CLASS_TENSOR },
    value: {
      case: 'tensor',
      value: {
        dtype: DT_STRING,
        tensorShape: { dim: [{ size: 1n }] },
        stringVal: [new TextEncoder().encode(text)],
      },
    },
  };
}

export function imageValue({ tag, png, width, height }: ImageEvent): SummaryValue {
  return {
    tag,
    value: { case: 'image', value: { width, height, colorspace: RGBA, encodedImageString: png } },
  };
}

/** The hyperparameters of a session, for TensorBoard's table of runs. */
export function sessionStart(hparams: HParams, seconds: number): HParamsData {
  const values = Object.entries(hparams).map(([key, value]) => [
    key,
    create(ValueSchema, { kind: kindOf(value) }),
  ]);
  return {
    case: 'sessionStartInfo',
    value: create(SessionStartInfoSchema, { hparams: Object.fromEntries(values), startTimeSecs: seconds }),
  };
}

function kindOf(value: string | number | boolean): Value['kind'] {
  switch (typeof value) {
    case 'string':
      return { case: 'stringValue', value };
    case 'boolean':
      return { case: 'boolValue', value };
    default:
      return { case: 'numberValue', value };
  }
}

/** Which columns the table of runs has. */
export function experiment(
  name: string,
  hparams: HParams,
  metrics: readonly string[],
  seconds: number,
): HParamsData {
  return {
    case: 'experiment',
    value: create(ExperimentSchema, {
      name,
      timeCreatedSecs: seconds,
      hparamInfos: Object.entries(hparams).map(([key, value]) => ({
        name: key,
        type: HPARAM_TYPE[typeof value as keyof typeof HPARAM_TYPE],
      })),
      metricInfos: metrics.map(tag => ({ name: { tag } })),
    }),
  };
}
