/** A disk that fills up: the `count`-th write of any file fails with `code`, and all later ones too. */
import { promises as fs } from "node:fs";

type Anything = (...args: unknown[]) => Promise<unknown>;

/** Undone by `jest.restoreAllMocks()`. Returns how many writes were asked for so far. */
export function failWrites(code: string, count: number): () => number {
  const open = fs.open.bind(fs);
  let writes = 0;
  jest.spyOn(fs, "open").mockImplementation(async (...args) => {
    const handle = await open(...args);
    for (const method of ["write", "appendFile"] as const) {
      const real = handle[method].bind(handle) as Anything;
      const failing: Anything = (...rest) => {
        writes += 1;
        if (writes < count) return real(...rest);
        return Promise.reject(Object.assign(new Error(`${code}: write`), { code }));
      };
      Object.assign(handle, { [method]: failing });
    }
    return handle;
  });
  return () => writes;
}
