import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';

/**
 * The parts of TensorFlow's GraphDef that a recorded step needs, as data, and their encoding. Field numbers are those
 * of graph.proto, node_def.proto, attr_value.proto, tensor.proto and tensor_shape.proto.
 */

export type GraphAttribute =
  | { readonly kind: 'string'; readonly value: string }
  | { readonly kind: 'int'; readonly value: number }
  | { readonly kind: 'float'; readonly value: number }
  | { readonly kind: 'bool'; readonly value: boolean }
  | { readonly kind: 'type'; readonly value: number }
  | { readonly kind: 'shape'; readonly value: readonly number[] }
  | { readonly kind: 'ints'; readonly value: readonly number[] }
  | { readonly kind: 'strings'; readonly value: readonly string[] }
  | { readonly kind: 'floats'; readonly value: readonly number[] }
  | { readonly kind: 'tensor'; readonly value: GraphTensor };

/** A constant: TensorFlow's dtype number, its shape and raw little-endian values. */
export interface GraphTensor {
  readonly dtype: number;
  readonly shape: readonly number[];
  readonly bytes: Uint8Array;
}

export interface GraphNode {
  readonly name: string;
  readonly op: string;
  /** "node" or "node:output". */
  readonly inputs: readonly string[];
  readonly attributes: Readonly<Record<string, GraphAttribute>>;
  /** What it yields; not part of the encoding. */
  readonly outputs: readonly NodeOutput[];
}

/** Shape and TensorFlow's dtype number of a tensor. */
export interface NodeOutput {
  readonly shape: readonly number[];
  readonly dtype: number;
}

/** Version under which TensorFlow reads the graph; anything recent, it only has to be above its minimum. */
const PRODUCER_VERSION = 1395;

/** The serialized GraphDef of nodes in topological order. */
export function encodeGraph(nodes: readonly GraphNode[]): Uint8Array {
  const writer = new BinaryWriter();
  for (const node of nodes) {
    writer.tag(1, WireType.LengthDelimited).fork();
    writeNode(writer, node);
    writer.join();
  }
  writer.tag(4, WireType.LengthDelimited).fork();
  writer.tag(1, WireType.Varint).int32(PRODUCER_VERSION);
  writer.join();
  return writer.finish();
}

function writeNode(writer: BinaryWriter, node: GraphNode): void {
  writer.tag(1, WireType.LengthDelimited).string(node.name);
  writer.tag(2, WireType.LengthDelimited).string(node.op);
  for (const input of node.inputs) writer.tag(3, WireType.LengthDelimited).string(input);
  for (const [name, attribute] of Object.entries(node.attributes)) {
    writer.tag(5, WireType.LengthDelimited).fork();
    writer.tag(1, WireType.LengthDelimited).string(name);
    writer.tag(2, WireType.LengthDelimited).fork();
    writeAttribute(writer, attribute);
    writer.join().join();
  }
}

function writeAttribute(writer: BinaryWriter, attribute: GraphAttribute): void {
  switch (attribute.kind) {
    case 'string':
      writer.tag(2, WireType.LengthDelimited).string(attribute.value);
      return;
    case 'int':
      writer.tag(3, WireType.Varint).int64(attribute.value);
      return;
    case 'float':
      writer.tag(4, WireType.Bit32).float(attribute.value);
      return;
    case 'bool':
      writer.tag(5, WireType.Varint).bool(attribute.value);
      return;
    case 'type':
      writer.tag(6, WireType.Varint).int32(attribute.value);
      return;
    case 'shape':
      writer.tag(7, WireType.LengthDelimited).fork();
      writeShape(writer, attribute.value);
      writer.join();
      return;
    case 'tensor':
      writer.tag(8, WireType.LengthDelimited).fork();
      writer.tag(1, WireType.Varint).int32(attribute.value.dtype);
      writer.tag(2, WireType.LengthDelimited).fork();
      writeShape(writer, attribute.value.shape);
      writer.join();
      writer.tag(4, WireType.LengthDelimited).bytes(attribute.value.bytes);
      writer.join();
      return;
    default:
      writer.tag(1, WireType.LengthDelimited).fork();
      for (const item of attribute.value) writeListItem(writer, attribute.kind, item);
      writer.join();
  }
}

function writeListItem(
  writer: BinaryWriter,
  kind: 'ints' | 'strings' | 'floats',
  item: number | string,
): void {
  if (kind === 'strings') writer.tag(2, WireType.LengthDelimited).string(String(item));
  else if (kind === 'ints') writer.tag(3, WireType.Varint).int64(Number(item));
  else writer.tag(4, WireType.Bit32).float(Number(item));
}

function writeShape(writer: BinaryWriter, shape: readonly number[]): void {
  for (const size of shape) {
    writer.tag(2, WireType.LengthDelimited).fork();
    writer.tag(1, WireType.Varint).int64(size);
    writer.join();
  }
}
