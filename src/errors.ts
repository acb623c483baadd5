/** What kind of thing went wrong; decides the exit code and lets scripts tell failures apart (`--json`). */
export type ErrorCode =
  | 'usage' // a flag or argument that makes no sense
  | 'config' // YAML or --set
  | 'engine' // libtensorflow, device, kernels
  | 'data' // annotations, images, shards
  | 'tokenizer'
  | 'model' // shapes, names, a checkpoint of another model
  | 'checkpoint' // damaged or missing checkpoint
  | 'train' // the run itself: non-finite loss, nothing trainable
  | 'export'
  | 'io' // disk full, permission
  | 'interrupted'; // a signal asked the run to end

/** A failure that a person can act on: `message` says what was wrong and where, `hint` what to do about it. */
export class GroundError extends Error {
  override readonly name = 'GroundError';
  readonly code: ErrorCode;
  readonly hint: string | undefined;
  readonly #exitCode: number | undefined;

  constructor(
    code: ErrorCode,
    message: string,
    options: { hint?: string; cause?: unknown; exitCode?: number } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.hint = options.hint;
    this.#exitCode = options.exitCode;
  }

  /** 2 for bad usage or configuration, 1 when the work itself failed, unless it has a code of its own. */
  get exitCode(): number {
    if (this.#exitCode !== undefined) return this.#exitCode;
    return this.code === 'usage' || this.code === 'config' ? 2 : 1;
  }
}

/** The message of anything that was thrown. */
export function messageOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}
