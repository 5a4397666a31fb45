/** One thing to choose for an item: what it costs, and how much it uses of each thing that is limited. */
export interface Choice {
  readonly cost: number;
  readonly uses: readonly number[];
}

/** One choice for each item. */
export interface Selection {
  /** The choice of each item. */
  readonly picks: readonly number[];
  readonly cost: number;
}

export interface ChoiceResult {
  /** Undefined when no selection is within the limits (or none was found in time). */
  readonly best: Selection | undefined;
  /** No selection within the limits costs less. Equal to the best cost when the search was complete. */
  readonly lowerBound: number;
  readonly complete: boolean;
  readonly nodes: number;
}

/** A step along an item's lower convex hull: `cost` saved (negative) for `use` more. */
interface Step {
  readonly item: number;
  readonly use: number;
  readonly cost: number;
}

/** The relaxation to fractions of choices, for one limit: each item's cheapest way to spend more, best ways first. */
interface Relaxation {
  /** Least use of the items from i on, and the cost of that; one longer than the items. */
  readonly leastUse: Float64Array;
  readonly leastUseCost: Float64Array;
  readonly steps: readonly Step[];
}

/**
 * Chooses for each item so that the sum of costs is least and the sums of uses are within their limits: the multiple-choice
 * knapsack problem, by depth-first branch and bound. The bound is the relaxation to fractions, the greatest over the limits.
 *
 * Source: Sinha, Zoltners, 1979 (the bound). Worst case exponential; ends after `maxNodes` with what it has.
 */
export function chooseLeast(
  items: readonly (readonly Choice[])[],
  limits: readonly number[],
  maxNodes: number,
  start?: Selection,
): ChoiceResult {
  const relaxations = limits.map((_, limit) => relax(items, limit));
  const least = suffixSums(items.map((choices) => Math.min(...choices.map(({ cost }) => cost))));
  const picks = new Int32Array(items.length);
  const search = { best: start, nodes: 0, complete: true };

  const boundFrom = (item: number, used: readonly number[]): number => {
    let bound = least[item] ?? 0;
    relaxations.forEach((relaxation, limit) => {
      const left = (limits[limit] ?? 0) - (used[limit] ?? 0);
      bound = Math.max(bound, relaxedCost(relaxation, item, left));
    });
    return bound;
  };
  const visit = (item: number, cost: number, used: readonly number[]): void => {
    if (item === items.length) {
      if (search.best === undefined || cost < search.best.cost)
        search.best = { picks: [...picks], cost };
      return;
    }
    const children = (items[item] ?? [])
      .map((choice, pick) => {
        const sums = used.map((sum, limit) => sum + (choice.uses[limit] ?? 0));
        const sofar = cost + choice.cost;
        return { pick, sofar, sums, bound: sofar + boundFrom(item + 1, sums) };
      })
      .sort((a, b) => a.bound - b.bound);
    for (const { pick, sofar, sums, bound } of children) {
      if (bound >= (search.best?.cost ?? Infinity)) break;
      if (search.nodes >= maxNodes) {
        search.complete = false;
        return;
      }
      search.nodes += 1;
      picks[item] = pick;
      visit(item + 1, sofar, sums);
    }
  };
  const none = limits.map(() => 0);
  const root = boundFrom(0, none);
  if (root < Infinity) visit(0, 0, none);
  const { best, complete } = search;
  return { ...search, lowerBound: complete ? (best?.cost ?? Infinity) : root };
}

function relax(items: readonly (readonly Choice[])[], limit: number): Relaxation {
  const hulls = items.map((choices) => lowerHull(choices, limit));
  const steps = hulls.flatMap((hull, item) =>
    hull.slice(1).map(({ use, cost }, i) => {
      const before = hull[i] ?? { use: 0, cost: 0 };
      return { item, use: use - before.use, cost: cost - before.cost };
    }),
  );
  steps.sort((a, b) => a.cost / a.use - b.cost / b.use);
  return {
    leastUse: suffixSums(hulls.map((hull) => hull[0]?.use ?? 0)),
    leastUseCost: suffixSums(hulls.map((hull) => hull[0]?.cost ?? 0)),
    steps,
  };
}

/** The choices on the lower convex hull of (use, cost), by rising use and falling cost. */
function lowerHull(choices: readonly Choice[], limit: number): { use: number; cost: number }[] {
  const points = choices
    .map(({ cost, uses }) => ({ use: uses[limit] ?? 0, cost }))
    .sort((a, b) => a.use - b.use || a.cost - b.cost);
  const hull: { use: number; cost: number }[] = [];
  for (const point of points) {
    const last = hull.at(-1);
    if (last !== undefined && point.cost >= last.cost) continue;
    while (isAbove(hull, point)) hull.pop();
    hull.push(point);
  }
  return hull;
}

/** Whether the last point of the hull is not below the line from the one before it to `next`. */
function isAbove(
  hull: readonly { use: number; cost: number }[],
  next: { use: number; cost: number },
): boolean {
  const [a, b] = hull.slice(-2);
  if (a === undefined || b === undefined) return false;
  return (b.cost - a.cost) * (next.use - a.use) >= (next.cost - a.cost) * (b.use - a.use);
}

/** Least cost of the items from `first` on when fractions may be chosen and `left` may be used; Infinity: it cannot be. */
function relaxedCost({ leastUse, leastUseCost, steps }: Relaxation, first: number, left: number) {
  let room = left - (leastUse[first] ?? 0);
  let cost = leastUseCost[first] ?? 0;
  if (room < 0) return Infinity;
  for (const step of steps) {
    if (step.item < first) continue;
    if (step.use > room) return cost + (step.cost * room) / step.use;
    room -= step.use;
    cost += step.cost;
  }
  return cost;
}

/** `sums[i]`: of the values from i on. */
function suffixSums(values: readonly number[]): Float64Array {
  const sums = new Float64Array(values.length + 1);
  for (let i = values.length - 1; i >= 0; --i) sums[i] = (sums[i + 1] ?? 0) + (values[i] ?? 0);
  return sums;
}
