/**
 * The results of `work` in the order of `items`, up to `inFlight` of them in the making at once. A failure is thrown when
 * its turn comes; work already begun beyond it is let finish, unseen.
 */
export async function* inOrder<T, R>(
  items: Iterable<T>,
  inFlight: number,
  work: (item: T) => Promise<R>,
): AsyncGenerator<R> {
  const pending: Promise<R>[] = [];
  const begin = (item: T) => {
    const result = work(item);
    // Otherwise a failure behind the one that is thrown would end the process as an unhandled rejection.
    result.catch(() => {});
    pending.push(result);
  };
  for (const item of items) {
    begin(item);
    if (pending.length < inFlight) continue;
    yield await (pending.shift() as Promise<R>);
  }
  for (const result of pending) yield await result;
}
