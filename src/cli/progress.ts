import type { Streams } from './output.ts';

/** Follows one long piece of work. */
export interface Progress {
  /** `done` of `total`, and a few words of detail. */
  update(done: number, detail?: string): void;
  /** Ends the bar; nothing may be updated after it. */
  stop(): void;
}

export interface ProgressOptions {
  readonly label: string;
  readonly total: number;
  /** What is counted: "images", "MB". */
  readonly unit: string;
  readonly streams?: Streams;
}

/** A share of the work after which a plain line is worth printing, where there is no terminal to redraw. */
const LINE_EVERY = 0.1;

/** A bar on a terminal, a line at every tenth elsewhere; both on stderr. */
export async function openProgress(options: ProgressOptions): Promise<Progress> {
  const streams = options.streams ?? process;
  return streams.stderr.isTTY === true ? openBar(options) : openLines(options, streams);
}

/** Runs `work` with a progress that opens at its first sign, which tells how much there is to do. */
export async function withProgress<T>(
  label: string,
  unit: string,
  work: (onProgress: (done: number, total: number) => void) => Promise<T>,
): Promise<T> {
  let opening: Promise<Progress> | undefined;
  try {
    return await work((done, total) => {
      opening ??= openProgress({ label, unit, total });
      opening.then(progress => progress.update(done));
    });
  } finally {
    (await opening)?.stop();
  }
}

async function openBar(options: ProgressOptions): Promise<Progress> {
  const { default: cliProgress } = await import('cli-progress');
  const bar = new cliProgress.SingleBar({
    format: `${options.label} {bar} {value}/{total} ${options.unit}, {eta_formatted} left {detail}`,
    barsize: 24,
    hideCursor: true,
    stream: process.stderr,
  });
  bar.start(options.total, 0, { detail: '' });
  return {
    update: (done, detail = '') => bar.update(done, { detail }),
    stop: () => bar.stop(),
  };
}

function openLines(options: ProgressOptions, streams: Streams): Progress {
  let next = LINE_EVERY;
  return {
    update(done, detail = '') {
      const share = options.total === 0 ? 1 : done / options.total;
      if (share < next) return;
      while (next <= share) next += LINE_EVERY;
      const words = `${options.label} ${done}/${options.total} ${options.unit} ${detail}`;
      streams.stderr.write(`${words.trimEnd()}\n`);
    },
    stop() {},
  };
}
