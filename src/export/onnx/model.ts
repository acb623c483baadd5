import { create, toBinary } from '@bufbuild/protobuf';
import { GroundError } from '../../errors.ts';
import { describeExtent, type Extent } from '../symbolic.ts';
import {
  ONNX_TYPES,
  type OnnxAttribute,
  type OnnxGraph,
  type OnnxInitializer,
  type OnnxNode,
  type OnnxValue,
} from './builder.ts';
import type { ExternalPlan } from './external.ts';
import {
  type AttributeProto,
  AttributeProtoSchema,
  GraphProtoSchema,
  ModelProtoSchema,
  NodeProtoSchema,
  OperatorSetIdProtoSchema,
  StringStringEntryProtoSchema,
  type TensorProto,
  TensorProtoSchema,
  TensorShapeProto_DimensionSchema,
  TensorShapeProtoSchema,
  TypeProto_TensorSchema,
  TypeProtoSchema,
  type ValueInfoProto,
  ValueInfoProtoSchema,
} from './proto/onnx_pb.ts';

/** Operator set 18 is the first in which all reductions take their axes the same way; IR 8 is its file format. */
export const OPSET = 18n;
const IR_VERSION = 8n;
const ATTRIBUTE = { float: 1, int: 2, string: 3, ints: 7 } as const;
const EXTERNAL = 1;
/** Protobuf's own limit on a message. */
const LARGEST_MESSAGE = 2 ** 31 - 1;

export interface ModelDescription {
  readonly name: string;
  readonly producer: { readonly name: string; readonly version: string };
  readonly metadata: Readonly<Record<string, string>>;
}

export function bytesOfInitializer({ type, shape }: OnnxInitializer): bigint {
  const width = { float32: 4n, uint8: 1n, int8: 1n, int32: 4n, int64: 8n, bool: 1n, float16: 2n }[type];
  return shape.reduce((product, n) => product * BigInt(n), width);
}

/**
 * The model file's bytes. Tensors that `plan` places elsewhere are referred to as `dataFile`, the rest are inside.
 *
 * @throws GroundError('export') when the graph itself, without its weights, exceeds what protobuf can hold
 */
export function encodeModel(
  graph: OnnxGraph,
  plan: ExternalPlan,
  dataFile: string,
  description: ModelDescription,
): Uint8Array {
  const model = create(ModelProtoSchema, {
    irVersion: IR_VERSION,
    producerName: description.producer.name,
    producerVersion: description.producer.version,
    opsetImport: [
      create(OperatorSetIdProtoSchema, { domain: '', version: OPSET }),
      ...foreignDomains(graph).map(domain => create(OperatorSetIdProtoSchema, { domain, version: 1n })),
    ],
    metadataProps: Object.entries(description.metadata).map(([key, value]) => entry(key, value)),
    graph: create(GraphProtoSchema, {
      name: description.name,
      node: graph.nodes.map(encodeNode),
      initializer: graph.initializers.map(i => encodeInitializer(i, plan, dataFile)),
      input: graph.inputs.map(encodeValue),
      output: graph.outputs.map(encodeValue),
    }),
  });
  const bytes = toBinary(ModelProtoSchema, model);
  if (bytes.length > LARGEST_MESSAGE) {
    throw new GroundError(
      'export',
      `the graph alone takes ${bytes.length} bytes, beyond protobuf's limit of 2 GB`,
    );
  }
  return bytes;
}

function foreignDomains(graph: OnnxGraph): string[] {
  return [...new Set(graph.nodes.flatMap(node => node.domain ?? []))];
}

function encodeNode(node: OnnxNode, index: number) {
  return create(NodeProtoSchema, {
    opType: node.op,
    domain: node.domain ?? '',
    name: `${node.op}_${index}`,
    input: [...node.inputs],
    output: [...node.outputs],
    attribute: Object.entries(node.attributes).map(([name, value]) => encodeAttribute(name, value)),
  });
}

function encodeAttribute(name: string, value: OnnxAttribute): AttributeProto {
  if (typeof value === 'bigint') return create(AttributeProtoSchema, { name, type: ATTRIBUTE.int, i: value });
  if (typeof value === 'number')
    return create(AttributeProtoSchema, { name, type: ATTRIBUTE.float, f: value });
  if (typeof value === 'string') {
    return create(AttributeProtoSchema, { name, type: ATTRIBUTE.string, s: new TextEncoder().encode(value) });
  }
  return create(AttributeProtoSchema, { name, type: ATTRIBUTE.ints, ints: [...value] });
}

function encodeInitializer(tensor: OnnxInitializer, plan: ExternalPlan, dataFile: string): TensorProto {
  const head = {
    name: tensor.name,
    dims: tensor.shape.map(BigInt),
    dataType: ONNX_TYPES[tensor.type],
  };
  const place = plan.places.get(tensor.name);
  if (!place) return create(TensorProtoSchema, { ...head, rawData: Uint8Array.from(tensor.read()) });
  return create(TensorProtoSchema, {
    ...head,
    dataLocation: EXTERNAL,
    externalData: [
      entry('location', dataFile),
      entry('offset', `${place.offset}`),
      entry('length', `${place.length}`),
    ],
  });
}

function encodeValue({ name, type, shape }: OnnxValue): ValueInfoProto {
  return create(ValueInfoProtoSchema, {
    name,
    type: create(TypeProtoSchema, {
      value: {
        case: 'tensorType',
        value: create(TypeProto_TensorSchema, {
          elemType: ONNX_TYPES[type],
          shape: create(TensorShapeProtoSchema, { dim: shape.map(encodeDimension) }),
        }),
      },
    }),
  });
}

function encodeDimension(extent: Extent) {
  return create(TensorShapeProto_DimensionSchema, {
    value:
      typeof extent === 'number'
        ? { case: 'dimValue', value: BigInt(extent) }
        : { case: 'dimParam', value: describeExtent(extent) },
  });
}

function entry(key: string, value: string) {
  return create(StringStringEntryProtoSchema, { key, value });
}
