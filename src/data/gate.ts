/** Lets at most `slots` tasks run at once; the others wait for their turn, in the order they came. */
export class Gate {
  #free: number;
  readonly #waiting: (() => void)[] = [];

  constructor(slots: number) {
    this.#free = slots;
  }

  /** What `task` gives or throws. */
  async run<T>(task: () => Promise<T>): Promise<T> {
    if (this.#free > 0) this.#free--;
    else await new Promise<void>(resolve => this.#waiting.push(resolve));
    try {
      return await task();
    } finally {
      // A place goes straight to who waits longest: nobody can come in between.
      const next = this.#waiting.shift();
      if (next) next();
      else this.#free++;
    }
  }
}
