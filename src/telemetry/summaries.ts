/** What of a run's events TensorBoard shows, as pure data. */
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { type Value, ValueSchema } from '@bufbuild/protobuf/wkt';
import { type Histogram, PHASES, type Picture, type RunEvent } from './events.ts';
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

/** TensorProto's DataTypes. */
const DT_FLOAT = 1;
const DT_STRING = 7;
/** SummaryMetadata's DataClass. */
const DATA_CLASS_TENSOR = 2;
/** TensorBoard's colorspace number for RGBA. */
const RGBA = 4;
/** HParamInfo's types. */
const HPARAM_TYPE = { string: 1, boolean: 2, number: 3 } as const;

/** The numbers of one step by tag. A slash makes a group of charts. Times are those of one step in the mean. */
export function stepScalars(event: StepEvent): Record<string, number> {
  const { seconds, speed } = event;
  const each = [...PHASES, 'total' as const].map(phase => [
    snakeCase(phase),
    seconds[phase] / Math.max(1, speed.steps),
  ]);
  return {
    loss: event.loss,
    ...prefixed('losses', event.losses),
    grad_norm: event.gradNorm,
    ...prefixed('lr', event.lr),
    ...prefixed('seconds', Object.fromEntries(each)),
    'throughput/samples_per_second': speed.samples,
    'throughput/tokens_per_second': speed.tokens,
    ...(speed.flops === null ? {} : { 'throughput/flops_per_second': speed.flops }),
    ...(speed.mfu === null ? {} : { 'throughput/mfu': speed.mfu }),
    ...(speed.left === null ? {} : { 'progress/seconds_left': speed.left }),
    ...prefixed('data/served', event.mixture ?? {}),
    ...(event.features
      ? { 'features/read': event.features.read, 'features/encoded': event.features.encoded }
      : {}),
    ...(event.padding === undefined ? {} : { 'data/padding': event.padding }),
    ...(event.queued === undefined ? {} : { 'data/queued': event.queued }),
    'memory/rss_bytes': event.rssBytes,
    ...(event.skipped !== undefined && { 'steps/skipped': event.skipped }),
    'memory/tensors': event.tensors,
  };
}

/** `forwardBackward` to `forward_backward`. */
function snakeCase(name: string): string {
  return name.replace(/[A-Z]/g, letter => `_${letter.toLowerCase()}`);
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

export function imageValue(tag: string, { png, width, height }: Picture): SummaryValue {
  return {
    tag,
    value: { case: 'image', value: { width, height, colorspace: RGBA, encodedImageString: png } },
  };
}

/** Bins as TensorBoard's second format of histograms has them: a tensor [bins, 3] of left edge, right edge and count. */
export function histogramValue({ tag, bins }: Histogram): SummaryValue {
  return {
    tag,
    metadata: { pluginData: { pluginName: 'histograms' }, dataClass: DATA_CLASS_TENSOR },
    value: {
      case: 'tensor',
      value: {
        dtype: DT_FLOAT,
        tensorShape: { dim: [{ size: BigInt(bins.length) }, { size: 3n }] },
        floatVal: bins.flat(),
      },
    },
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
