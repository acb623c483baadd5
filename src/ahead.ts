/**
 * Runs tasks, `depth` of them at a time, and yields their results in the tasks' order. Tasks are fetched only when they
 * may start. Throws what a task throws, in its turn; those under way then are left to themselves.
 */
export async function* ahead<T>(tasks: Iterable<() => Promise<T>>, depth: number): AsyncGenerator<T, void> {
  const running: Promise<T>[] = [];
  for (const task of tasks) {
    const result = task();
    // Awaited in its turn, if there is one: until then nobody else hears of its failure.
    result.catch(() => undefined);
    running.push(result);
    if (running.length >= depth) yield await (running.shift() as Promise<T>);
  }
  for (const result of running) yield await result;
}
