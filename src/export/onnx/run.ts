import { existsSync } from 'node:fs';
import path from 'node:path';
import { GroundError, messageOf } from '../../errors.ts';
import { MODEL_FILE } from './write.ts';

/** Row-major numbers that go into or come out of an ONNX model. */
export interface OnnxTensor {
  readonly data: Float32Array | Int32Array | Uint8Array;
  readonly shape: readonly number[];
  readonly type: 'float32' | 'int32' | 'bool';
}

/** What an input may be: also the wide integers that other runtimes write token ids in. */
export type OnnxInput =
  | OnnxTensor
  | { readonly data: BigInt64Array; readonly shape: readonly number[]; readonly type: 'int64' };

/** A model loaded into onnxruntime. */
export interface OnnxSession {
  readonly inputNames: readonly string[];
  readonly outputNames: readonly string[];
  /** Runs the model once; inputs that it does not have are ignored. */
  run(inputs: Readonly<Record<string, OnnxInput>>): Promise<Record<string, OnnxTensor>>;
  close(): Promise<void>;
}

/**
 * Loads a model of `folder` into onnxruntime-node on the CPU.
 *
 * @throws GroundError('export') when the optional package is not installed or refuses the model
 */
export async function openOnnx(folder: string, name: string = MODEL_FILE): Promise<OnnxSession> {
  const ort = await importRuntime();
  const file = path.join(folder, name);
  const hint = `${name} or the ${name}_data beside it is missing or damaged: copy the whole folder anew, or export again`;
  if (!existsSync(file)) throw new GroundError('export', `${file} is missing`, { hint });
  // Only what is fatal is logged: what is wrong with a file is in the error.
  const session = await ort.InferenceSession.create(file, { logSeverityLevel: 4 }).catch(
    (thrown: unknown) => {
      throw new GroundError('export', `onnxruntime refuses ${file}: ${reasonOf(thrown)}`, {
        hint,
        cause: thrown,
      });
    },
  );
  return {
    inputNames: session.inputNames,
    outputNames: session.outputNames,
    async run(inputs) {
      const feeds: Record<string, InstanceType<typeof ort.Tensor>> = {};
      for (const name of session.inputNames) {
        const input = inputs[name];
        if (!input) throw new GroundError('export', `the model in ${file} needs an input ${name}`);
        feeds[name] = new ort.Tensor(input.type, input.data, input.shape);
      }
      const results = await session.run(feeds);
      return Object.fromEntries(
        Object.entries(results).map(([name, tensor]) => [name, plainTensor(name, tensor)]),
      );
    },
    close: () => session.release(),
  };
}

async function importRuntime(): Promise<typeof import('onnxruntime-node')> {
  try {
    return await import('onnxruntime-node');
  } catch (thrown) {
    throw new GroundError('export', `cannot load onnxruntime-node: ${messageOf(thrown)}`, {
      hint: 'it is optional: install it with "npm install onnxruntime-node", or export with --no-check',
      cause: thrown,
    });
  }
}

/** What onnxruntime says, without the places in its own sources that it says first. */
function reasonOf(thrown: unknown): string {
  return (
    messageOf(thrown)
      .trim()
      .split(/\.cc:\d+ (?:\w+ )?/)
      .at(-1) ?? ''
  );
}

function plainTensor(name: string, tensor: import('onnxruntime-node').Tensor): OnnxTensor {
  const { data, type, dims: shape } = tensor;
  if (type === 'float32' && data instanceof Float32Array) return { data, shape, type };
  if (type === 'int32' && data instanceof Int32Array) return { data, shape, type };
  if (type === 'bool' && data instanceof Uint8Array) return { data, shape, type };
  throw new GroundError('export', `output ${name} has type ${type}, which is not expected here`);
}
