/**
 * Makes items one after the other and uses each while the next is being made; never more than two exist.
 * `make` answers undefined at the end. The first error of either side ends it; an item that is under way
 * then is not waited for.
 */
export async function prefetched<T>(
  make: (index: number) => Promise<T | undefined>,
  use: (item: T, index: number) => Promise<void>,
): Promise<number> {
  const start = (index: number): Promise<T | undefined> => {
    const item = make(index);
    item.catch(() => undefined); // seen when its turn comes, if it comes
    return item;
  };
  let next = start(0);
  for (let index = 0; ; index++) {
    const item = await next;
    if (item === undefined) return index;
    next = start(index + 1);
    await use(item, index);
  }
}
