import { GroundError } from '../../errors.ts';
import { lastLines, runCommand } from './command.ts';

/** What a freshly built addon says of itself. */
export interface Probe {
  /** Of libtensorflow. */
  readonly version: string;
  /** TensorFlow's name of the GPU; empty without one. */
  readonly gpu: string;
}

/** Loads the addon, multiplies two matrices and checks the result. Plain CommonJS: it runs in `node -e`. */
const SCRIPT = `
const addon = require(process.argv[1]);
addon.open({ intraOpThreads: 1, interOpThreads: 1, gpu: process.argv[2] === 'gpu' });
const a = addon.createTensor([2, 2], addon.TF_FLOAT, new Float32Array([1, 2, 3, 4]));
const T = { name: 'T', type: addon.TF_ATTR_TYPE, value: addon.TF_FLOAT };
const [product] = addon.executeOp('MatMul', [T], [a, a], 1);
const values = Array.from(addon.tensorDataSync(product.id)).join();
if (values !== '7,10,15,22') throw new Error('a product of two matrices came out as ' + values);
console.log(JSON.stringify({ version: addon.TF_Version, gpu: addon.gpuName() }));
`;

/**
 * Tries an addon in a process of its own: a library for another CPU kills the process that loads it.
 *
 * @throws GroundError('engine') when it does not load or does not compute
 */
export async function probeAddon(
  addon: string,
  device: 'cpu' | 'gpu',
  env: NodeJS.ProcessEnv,
): Promise<Probe> {
  const quiet = { TF_CPP_MIN_LOG_LEVEL: '2', ...env };
  const done = await runCommand(process.execPath, ['-e', SCRIPT, addon, device], { env: quiet });
  if (done.status === 0) return JSON.parse(lastLines(done.stdout, 1)) as Probe;
  if (done.status === 128 + 4) {
    throw new GroundError('engine', 'this CPU lacks instructions that libtensorflow was built for (AVX)', {
      hint: 'use `--engine wasm`, or build TensorFlow for this CPU: `ground setup --libtensorflow DIR`',
    });
  }
  const why =
    done.status > 128 ? `killed by signal ${done.status - 128}` : lastLines(errorLine(done.stderr), 3);
  throw new GroundError('engine', `the built engine does not work: ${why}`, {
    hint: 'the library may be damaged or too old: `ground setup --force` fetches it again',
  });
}

/** Of a stack that Node prints, the line that says what happened. */
function errorLine(stderr: string): string {
  return /^\w*Error: .*$/m.exec(stderr)?.[0] ?? stderr;
}
