/**
 * Minus the log-probability of a target by its definition: the sum over all `classes^steps` paths of those that become the target
 * when repeats are merged and blanks taken out.
 */
export function ctcOfPaths(
  logProb: (step: number, symbol: number) => number,
  steps: number,
  classes: number,
  target: readonly number[],
  blank: number,
): number {
  let total = 0;
  const path = new Array<number>(steps).fill(0);
  for (let code = 0; code < classes ** steps; ++code) {
    let rest = code;
    for (let t = 0; t < steps; ++t) {
      path[t] = rest % classes;
      rest = Math.floor(rest / classes);
    }
    const merged = path.filter((c, t) => c !== blank && (t === 0 || c !== path[t - 1]));
    if (merged.length !== target.length || merged.some((c, i) => c !== target[i])) continue;
    total += Math.exp(path.reduce((sum, c, t) => sum + logProb(t, c), 0));
  }
  return -Math.log(total);
}
