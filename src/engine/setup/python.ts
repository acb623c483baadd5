import { runCommand } from './command.ts';
import { inspectLibrary, type Library } from './library.ts';
import { pythonName } from './tools.ts';

/** Finds the package's folder without importing it (that takes seconds) and tells whether it was built for CUDA. */
const FIND_TENSORFLOW = `
import importlib.util, json, os, re
spec = importlib.util.find_spec("tensorflow")
if spec and spec.submodule_search_locations:
    folder = list(spec.submodule_search_locations)[0]
    info = os.path.join(folder, "python", "platform", "build_info.py")
    text = open(info).read() if os.path.exists(info) else ""
    print(json.dumps({"folder": folder, "cuda": bool(re.search(r"is_cuda_build.{0,4}True", text))}))
`;

/** The libtensorflow inside a TensorFlow that the Python on the PATH can import, if it serves `device`. */
export async function findInPython(
  device: 'cpu' | 'gpu',
  env: NodeJS.ProcessEnv,
): Promise<Library | undefined> {
  const python = pythonName(env);
  const found = await runCommand(python, ['-c', FIND_TENSORFLOW], { env });
  if (found.status !== 0 || found.stdout.trim() === '') return undefined;
  const { folder, cuda } = JSON.parse(found.stdout) as { folder: string; cuda: boolean };
  if (device === 'gpu' && !cuda) return undefined;
  const files = inspectLibrary(folder);
  return files && { ...files, device: cuda ? 'gpu' : 'cpu', source: `TensorFlow of ${python} (${folder})` };
}
