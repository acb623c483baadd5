import { fromBinary } from '@bufbuild/protobuf';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { bytesOf, type OnnxInitializer } from '../../src/export/onnx/builder.ts';
import { INLINE_BYTES, planExternalData } from '../../src/export/onnx/external.ts';
import { bytesOfInitializer, encodeModel } from '../../src/export/onnx/model.ts';
import { ModelProtoSchema } from '../../src/export/onnx/proto/onnx_pb.ts';
import { writeTensors } from '../../src/export/onnx/write.ts';

describe('external data', () => {
  test('places are aligned, in order, and do not overlap', () => {
    fc.assert(
      fc.property(fc.array(fc.bigInt({ min: 0n, max: 2n ** 40n }), { maxLength: 30 }), sizes => {
        const { places, size } = planExternalData(sizes.map((bytes, i) => ({ name: `t${i}`, bytes })));
        let end = 0n;
        for (const [i, bytes] of sizes.entries()) {
          const place = places.get(`t${i}`);
          expect(place === undefined).toBe(bytes <= BigInt(INLINE_BYTES));
          if (!place) continue;
          expect(place.length).toBe(bytes);
          expect(place.offset).toBeGreaterThanOrEqual(end);
          expect(place.offset % (bytes >= 4096n ? 4096n : 64n)).toBe(0n);
          end = place.offset + place.length;
        }
        expect(size).toBe(end);
      }),
    );
  });

  test('a model of 60 GB has a small model file with 64-bit offsets', () => {
    const unread = (): Uint8Array => {
      throw new Error('weights must not be read for the model file');
    };
    const initializers = Array.from(
      { length: 10 },
      (_, i): OnnxInitializer => ({ name: `w${i}`, type: 'float32', shape: [40_000, 37_500], read: unread }),
    );
    const plan = planExternalData(initializers.map(i => ({ name: i.name, bytes: bytesOfInitializer(i) })));
    const graph = { nodes: [], initializers, inputs: [], outputs: [] };
    const producer = { name: 'test', version: '0' };
    const bytes = encodeModel(graph, plan, 'model.onnx_data', { name: 'big', producer, metadata: {} });
    expect(bytes.length).toBeLessThan(5000);
    const stored = fromBinary(ModelProtoSchema, bytes).graph?.initializer ?? [];
    const offsets = stored.map(t => BigInt(t.externalData.find(e => e.key === 'offset')?.value ?? -1));
    const lengths = stored.map(t => BigInt(t.externalData.find(e => e.key === 'length')?.value ?? -1));
    expect(lengths.every(n => n === 6_000_000_000n)).toBe(true);
    expect(
      offsets.every((offset, i) => i === 0 || offset >= (offsets[i - 1] as bigint) + 6_000_000_000n),
    ).toBe(true);
    expect(plan.size).toBeGreaterThan(2n ** 35n);
  });

  test('tensors lie where the plan says, gaps are zeros', async () => {
    const tensors = [1000, 300, 2, 5000].map((n, i): OnnxInitializer => {
      const bytes = bytesOf(
        Array.from({ length: n }, (_, j) => 1 + i + j),
        'float32',
      );
      return { name: `t${i}`, type: 'float32', shape: [n], read: () => bytes };
    });
    const plan = planExternalData(tensors.map(t => ({ name: t.name, bytes: bytesOfInitializer(t) })));
    const chunks: Uint8Array[] = [];
    await writeTensors(async chunk => void chunks.push(chunk.slice()), tensors, plan);
    const file = Buffer.concat(chunks);
    expect(BigInt(file.length)).toBe(plan.size);
    const covered = new Uint8Array(file.length);
    for (const tensor of tensors) {
      const place = plan.places.get(tensor.name);
      if (!place) continue;
      const [from, to] = [Number(place.offset), Number(place.offset + place.length)];
      expect(file.subarray(from, to).equals(tensor.read())).toBe(true);
      covered.fill(1, from, to);
    }
    expect(file.some((byte, i) => covered[i] === 0 && byte !== 0)).toBe(false);
    expect(plan.places.has('t2')).toBe(false);
  });

  test('a tensor of another size than declared is refused', async () => {
    const tensor: OnnxInitializer = {
      name: 'w',
      type: 'float32',
      shape: [500],
      read: () => new Uint8Array(1999),
    };
    const plan = planExternalData([{ name: 'w', bytes: 2000n }]);
    await expect(writeTensors(async () => {}, [tensor], plan)).rejects.toThrow(
      'w [500] holds 1999 bytes, expected 2000',
    );
  });
});
