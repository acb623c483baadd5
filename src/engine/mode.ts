/** How functions over tensors run: op by op, as graphs, or compiled. */
import { GroundError, messageOf } from '../errors.ts';
import { tensorflowBackend } from './backend.ts';

/** What may be asked for; `auto` is `graph` on libtensorflow, and `off` on WebAssembly, which records nothing. */
export type CompileSetting = 'auto' | 'off' | 'graph' | 'xla';

/**
 * `off`: op by op. `graph`: recorded once, then run by TensorFlow's executor. `xla`: recorded from composed layers, the
 * fused ops being unknown to XLA, and compiled by XLA.
 */
export type CompileMode = Exclude<CompileSetting, 'auto'>;

/** What a setting means on the running engine. Throws GroundError('engine') where that engine has no such mode. */
export function compileMode(setting: CompileSetting = 'auto'): CompileMode {
  const recording = tensorflowBackend() !== undefined;
  if (setting === 'auto') return recording ? 'graph' : 'off';
  if (setting !== 'off' && !recording) {
    throw new GroundError(
      'engine',
      `engine.compile: ${setting} needs libtensorflow; WebAssembly runs op by op`,
      {
        hint: 'run `ground setup`, or ask for `--set engine.compile=auto`',
      },
    );
  }
  return setting;
}

/** XLA's complaint about a recorded function as one that names the ops and the way out. */
export function explainXla(key: string, cause: unknown): GroundError {
  const message = messageOf(cause);
  const ops = unsupportedOps(message);
  const what =
    ops.length > 0
      ? `XLA has no ${ops.join(', ')}, which "${key}" needs`
      : `XLA does not compile "${key}": ${message.split('\n')[0]}`;
  return new GroundError('engine', what, {
    hint: 'use `--set engine.compile=graph`, which runs every op that TensorFlow has',
    cause,
  });
}

/** Ops named in XLA's message: "…unsupported operations…: Foo (No registered 'Foo' OpKernel for XLA_CPU_JIT devices…". */
function unsupportedOps(message: string): string[] {
  const found = [...message.matchAll(/No registered '(\w+)' OpKernel for XLA/g)].map(match => match[1] ?? '');
  return [...new Set(found)];
}
