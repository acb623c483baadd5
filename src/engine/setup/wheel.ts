import { mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { GroundError } from '../../errors.ts';
import { lastLines, runCommand } from './command.ts';
import { hasOpHeaders, inspectLibrary, type Library } from './library.ts';
import { pythonName } from './tools.ts';

/** The version that `ground` is developed and tested with. */
export const TENSORFLOW_VERSION = '2.21.0';

/** A Python that this version has wheels for. */
const ANY_PYTHON = '3.11';

/** Unpacks from a wheel, a zip archive, the files whose names match an expression; other files are not written. */
const UNPACK = `
import re, sys, zipfile
wheel, wanted, out = sys.argv[1:4]
with zipfile.ZipFile(wheel) as archive:
    for entry in archive.infolist():
        if re.search(wanted, entry.filename):
            archive.extract(entry, out)
`;

/** The two libraries and the headers that the addon's fused ops include: 0.9 GB of the wheel's 1.9 GB. */
const WANTED_OF_TENSORFLOW =
  '^tensorflow/(libtensorflow_(cc|framework)[.](so[.]2|2[.]dylib)$|include/(absl|Eigen|unsupported|google|cctz|ml_dtypes|third_party|tsl|xla/tsl|tensorflow|[^/]*[.]h)(/|$))';
const WANTED_OF_CUDA = '^nvidia/.*/(lib|bin|nvvm)/';

/**
 * Downloads the official TensorFlow wheel with pip and keeps its libtensorflow under `cache`, where a later setup
 * finds it again. For GPUs also the CUDA libraries that the wheel names.
 *
 * @param temp a folder that is deleted afterwards whatever happens
 * @throws GroundError('engine') with pip's last words when the download fails
 */
export async function fetchWheel(
  device: 'cpu' | 'gpu',
  cache: string,
  temp: string,
  env: NodeJS.ProcessEnv,
  note: (text: string) => void,
): Promise<Library> {
  const kept = join(cache, `libtensorflow-${TENSORFLOW_VERSION}-${device}`);
  const source = `the TensorFlow wheel ${TENSORFLOW_VERSION}`;
  const before = inspectLibrary(join(kept, 'tensorflow'));
  // What an earlier version of ground kept has no headers for fused ops.
  if (before && hasOpHeaders(before.includeDir)) return { ...before, device, source };

  const wheels = join(temp, 'wheels');
  const unpacked = join(temp, 'unpacked');
  mkdirSync(wheels, { recursive: true });
  mkdirSync(unpacked);
  const name = device === 'gpu' ? 'tensorflow' : 'tensorflow-cpu';
  note(`downloading ${name} ${TENSORFLOW_VERSION} with pip (${device === 'gpu' ? '0.6' : '0.3'} GB)`);
  await download([`${name}==${TENSORFLOW_VERSION}`], wheels, env);
  if (device === 'gpu') {
    const cuda = await cudaRequirements(join(wheels, onlyWheel(wheels)), env);
    note(`downloading ${cuda.length} CUDA packages with pip (2.5 GB)`);
    await download(cuda, wheels, env);
  }
  note('unpacking');
  for (const wheel of readdirSync(wheels)) {
    const wanted = wheel.startsWith('tensorflow') ? WANTED_OF_TENSORFLOW : WANTED_OF_CUDA;
    await python(['-c', UNPACK, join(wheels, wheel), wanted, unpacked], env, `cannot unpack ${wheel}`);
    rmSync(join(wheels, wheel));
  }
  if (!inspectLibrary(join(unpacked, 'tensorflow'))) {
    throw new GroundError('engine', `the ${name} wheel for this machine holds no libtensorflow`, {
      hint: 'give a folder that has one: `ground setup --libtensorflow DIR`',
    });
  }
  rmSync(kept, { recursive: true, force: true });
  renameSync(unpacked, kept);
  const files = inspectLibrary(join(kept, 'tensorflow'));
  if (!files) throw new GroundError('io', `${kept} changed while it was being set up`);
  return { ...files, device, source };
}

async function download(requirements: readonly string[], to: string, env: NodeJS.ProcessEnv): Promise<void> {
  const args = [
    '-m',
    'pip',
    'download',
    '--no-deps',
    '--only-binary=:all:',
    '--disable-pip-version-check',
    '-q',
  ];
  const command = [...args, '-d', to, ...requirements];
  const first = await runCommand(pythonName(env), command, { env });
  if (first.status === 0) return;
  // TensorFlow may have no wheel for this Python. The library inside is the same for all of them.
  await python(
    [...command, '--python-version', ANY_PYTHON],
    env,
    `pip cannot download ${requirements.join(', ')}`,
  );
}

async function python(args: readonly string[], env: NodeJS.ProcessEnv, failure: string): Promise<string> {
  const done = await runCommand(pythonName(env), args, { env });
  if (done.status !== 0) {
    throw new GroundError('engine', `${failure}:\n${errorLines(done.stderr)}`, {
      hint: 'check the network and the disk, then run `ground setup` again; or give a folder: --libtensorflow DIR',
    });
  }
  return done.stdout;
}

/** What pip reports as errors; where it names none, its last lines. */
function errorLines(stderr: string): string {
  const errors = stderr.split('\n').filter(line => line.startsWith('ERROR:'));
  return errors.length > 0 ? errors.join('\n') : lastLines(stderr, 5);
}

function onlyWheel(dir: string): string {
  const [wheel] = readdirSync(dir);
  if (wheel === undefined) throw new GroundError('engine', 'pip reported success but downloaded nothing');
  return wheel;
}

/** What the wheel's metadata requires for its extra "and-cuda", as requirements that pip takes. */
async function cudaRequirements(wheel: string, env: NodeJS.ProcessEnv): Promise<string[]> {
  const script = `
import sys, zipfile
with zipfile.ZipFile(sys.argv[1]) as archive:
    name = next(n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
    print(archive.read(name).decode())
`;
  return parseCudaRequirements(await python(['-c', script, wheel], env, `cannot read ${wheel}`));
}

/** The requirements of a wheel's METADATA that its extra "and-cuda" adds, without the condition. */
export function parseCudaRequirements(metadata: string): string[] {
  return [...metadata.matchAll(/^Requires-Dist: ([^;\n]+?);[^\n]*extra == ['"]and-cuda['"]/gm)].map(match =>
    (match[1] ?? '').replace(/[ ()]/g, ''),
  );
}
