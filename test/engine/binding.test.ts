import { Worker } from 'node:worker_threads';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { findInstalled, type InstalledEngine } from '../../src/engine/installed.ts';
import type { NativeAddon, OpAttribute } from '../../src/engine/native/binding.ts';
import { loadAddon } from '../../src/engine/tensorflow.ts';

const installed = findInstalled()[0];

describe.skipIf(!installed)('binding of libtensorflow', () => {
  let addon: NativeAddon;
  beforeAll(() => {
    addon = loadAddon(installed as InstalledEngine);
    addon.open({ intraOpThreads: 2, interOpThreads: 2, gpu: false });
  });
  afterAll(() => addon.close());

  const type = (dtype: number, name = 'T'): OpAttribute => ({ name, type: addon.TF_ATTR_TYPE, value: dtype });
  const floats = (shape: number[], values: number[]) =>
    addon.createTensor(shape, addon.TF_FLOAT, new Float32Array(values));

  it.each<[string, (a: NativeAddon) => number, Float32Array | Int32Array | Uint8Array]>([
    ['float32', a => a.TF_FLOAT, new Float32Array([1.5, -0, Number.NaN, Number.POSITIVE_INFINITY])],
    ['int32', a => a.TF_INT32, new Int32Array([0, -1, 2 ** 31 - 1, -(2 ** 31)])],
    ['bool', a => a.TF_BOOL, new Uint8Array([1, 0, 0, 1])],
    ['uint8', a => a.TF_UINT8, new Uint8Array([0, 255, 7, 128])],
  ])('keeps %s values', (_, dtype, values) => {
    const id = addon.createTensor([2, 2], dtype(addon), values);
    expect(addon.tensorDataSync(id)).toEqual(values);
    expect(addon.tensorDtype(id)).toBe(dtype(addon));
    addon.deleteTensor(id);
  });

  it('keeps strings, as text or bytes, of any length', () => {
    const long = 'ü'.repeat(5000);
    const values = ['', 'box', long, new Uint8Array([0, 255, 0])];
    // tfjs passes bytes; its type of values has no plain text, which the addon takes too.
    const id = addon.createTensor([2, 2], addon.TF_STRING, values as Uint8Array[]);
    const read = addon.tensorDataSync(id) as unknown as Uint8Array[];
    const bytes = values.map(value => (typeof value === 'string' ? new TextEncoder().encode(value) : value));
    expect(read).toEqual(bytes);
    addon.deleteTensor(id);
  });

  it('keeps scalars and empty tensors', () => {
    const scalar = floats([], [3]);
    const empty = floats([0, 5], []);
    expect(addon.tensorDataSync(scalar)).toEqual(new Float32Array([3]));
    expect(addon.tensorDataSync(empty)).toEqual(new Float32Array(0));
    const [product] = addon.executeOp('MatMul', [type(addon.TF_FLOAT)], [floats([2, 0], []), empty], 1);
    expect(product?.shape).toEqual([2, 5]);
    expect(addon.tensorDataSync(product?.id ?? -1)).toEqual(new Float32Array(10));
  });

  it('reads from the middle of a buffer', () => {
    const window = new Float32Array([9, 1, 2, 9]).subarray(1, 3);
    const id = addon.createTensor([2], addon.TF_FLOAT, window);
    expect(addon.tensorDataSync(id)).toEqual(new Float32Array([1, 2]));
  });

  it('copies: later writes to the array do not show', () => {
    const values = new Float32Array([1, 2]);
    const id = addon.createTensor([2], addon.TF_FLOAT, values);
    values[0] = 7;
    expect(addon.tensorDataSync(id)[0]).toBe(1);
  });

  it('describes outputs: shape, dtype, several of them', () => {
    const split = addon.executeOp(
      'Split',
      [{ name: 'num_split', type: addon.TF_ATTR_INT, value: 2 }, type(addon.TF_FLOAT)],
      [addon.createTensor([], addon.TF_INT32, new Int32Array([1])), floats([2, 4], [0, 1, 2, 3, 4, 5, 6, 7])],
      2,
    );
    expect(split.map(({ shape, dtype }) => ({ shape, dtype }))).toEqual([
      { shape: [2, 2], dtype: addon.TF_FLOAT },
      { shape: [2, 2], dtype: addon.TF_FLOAT },
    ]);
    expect(addon.tensorDataSync(split[1]?.id ?? -1)).toEqual(new Float32Array([2, 3, 6, 7]));
  });

  it('sets attributes of every kind', () => {
    const image = floats([1, 2, 2, 1], [1, 2, 3, 4]);
    const list = (name: string, value: number[]) => ({ name, type: addon.TF_ATTR_INT, value });
    const [pooled] = addon.executeOp(
      'MaxPool',
      [
        list('ksize', [1, 2, 2, 1]),
        list('strides', [1, 2, 2, 1]),
        { name: 'padding', type: addon.TF_ATTR_STRING, value: 'VALID' },
        type(addon.TF_FLOAT),
      ],
      [image],
      1,
    );
    expect(addon.tensorDataSync(pooled?.id ?? -1)).toEqual(new Float32Array([4]));
    const [leaky] = addon.executeOp(
      'LeakyRelu',
      [{ name: 'alpha', type: addon.TF_ATTR_FLOAT, value: 0.5 }, type(addon.TF_FLOAT)],
      [floats([1], [-2])],
      1,
    );
    expect(addon.tensorDataSync(leaky?.id ?? -1)).toEqual(new Float32Array([-1]));
    const shape: OpAttribute = { name: 'shape', type: addon.TF_ATTR_SHAPE, value: [2] };
    const [ensured] = addon.executeOp('EnsureShape', [shape, type(addon.TF_FLOAT)], [floats([2], [1, 2])], 1);
    expect(ensured?.shape).toEqual([2]);
  });

  it('turns errors of TensorFlow into JavaScript errors that name the op', () => {
    const a = floats([2, 3], [1, 2, 3, 4, 5, 6]);
    const before = addon.getNumOfTensors();
    expect(() => addon.executeOp('MatMul', [type(addon.TF_FLOAT)], [a, a], 1)).toThrow(/^MatMul: .*\[2,3\]/);
    expect(() => addon.executeOp('NoSuchOp', [], [], 1)).toThrow(/^NoSuchOp: .*NoSuchOp/);
    expect(() => addon.executeOp('MatMul', [{ name: 'T', type: 99, value: 1 }], [a, a], 1)).toThrow(
      /unknown type 99/,
    );
    const outside = addon.createTensor([1], addon.TF_INT32, new Int32Array([2]));
    const axis = addon.createTensor([], addon.TF_INT32, new Int32Array([0]));
    const types = [type(1, 'Tparams'), type(3, 'Tindices'), type(3, 'Taxis')];
    expect(() => addon.executeOp('GatherV2', types, [a, outside, axis], 1)).toThrow(
      /^GatherV2: .*not in \[0, 2\)/,
    );
    expect(addon.getNumOfTensors()).toBe(before + 2);
  });

  it('refuses values that do not fit, and tensors that are gone', () => {
    expect(() => addon.createTensor([3], addon.TF_FLOAT, new Float32Array(2))).toThrow(/12 bytes, got 8/);
    expect(() => addon.createTensor([-1], addon.TF_FLOAT, new Float32Array(1))).toThrow(/negative/);
    expect(() => addon.createTensor([2 ** 32, 2 ** 32], addon.TF_FLOAT, new Float32Array(0))).toThrow(
      /too many/,
    );
    expect(() => addon.createTensor([2], addon.TF_STRING, [new Uint8Array(3)])).toThrow(/2 elements/);
    const id = floats([1], [1]);
    addon.deleteTensor(id);
    expect(() => addon.deleteTensor(id)).toThrow(`tensor ${id} does not exist`);
    expect(() => addon.tensorDataSync(id)).toThrow(`tensor ${id} does not exist`);
  });

  it('leaks nothing over many tensors, strings and errors', () => {
    const before = addon.getNumOfTensors();
    const words = Array.from({ length: 64 }, (_, i) => new Uint8Array(4096).fill(i));
    const values = new Float32Array(65536);
    const round = () => {
      const a = addon.createTensor([256, 256], addon.TF_FLOAT, values);
      const s = addon.createTensor([64], addon.TF_STRING, words);
      const [sum] = addon.executeOp('AddV2', [type(addon.TF_FLOAT)], [a, a], 1);
      expect(() => addon.executeOp('MatMul', [type(addon.TF_FLOAT)], [a, s], 1)).toThrow();
      for (const id of [a, s, sum?.id ?? -1]) addon.deleteTensor(id);
    };
    for (let i = 0; i < 200; i++) round();
    const warm = process.memoryUsage().rss;
    for (let i = 0; i < 2000; i++) round();
    expect(addon.getNumOfTensors()).toBe(before);
    // A leak of only the strings would be 500 MB, of only one matrix as much.
    expect(process.memoryUsage().rss - warm).toBeLessThan(150e6);
  });

  it('can be closed and opened again, and says so when it is closed', () => {
    const id = floats([1], [1]);
    addon.close();
    expect(() => addon.getNumOfTensors()).toThrow(/open\(\) first/);
    addon.open({ intraOpThreads: 1, interOpThreads: 1, gpu: false });
    expect(addon.getNumOfTensors()).toBe(0);
    expect(() => addon.tensorDataSync(id)).toThrow('does not exist');
  });

  it('gives every worker thread a session of its own, which ends with it', async () => {
    const mine = floats([1], [5]);
    const script = `
      const { parentPort, workerData } = require('node:worker_threads');
      const addon = require(workerData);
      addon.open({ intraOpThreads: 1, interOpThreads: 1, gpu: false });
      addon.createTensor([1], addon.TF_FLOAT, new Float32Array([6]));
      parentPort.postMessage(addon.getNumOfTensors());
    `;
    const counts = await Promise.all(
      [0, 1].map(
        () =>
          new Promise((resolve, reject) => {
            const worker = new Worker(script, { eval: true, workerData: installed?.addon.path });
            let count: number;
            worker.on('message', value => {
              count = value;
            });
            worker.on('error', reject);
            worker.on('exit', () => resolve(count));
          }),
      ),
    );
    expect(counts).toEqual([1, 1]);
    expect(addon.tensorDataSync(mine)).toEqual(new Float32Array([5]));
  });
});
