import type { Choice, Selection } from "./choices.js";

/** A selection of which none is both as small and cheaper. */
export interface FrontierPoint extends Selection {
  readonly use: number;
}

export interface Frontier {
  /** By rising use and falling cost. */
  readonly points: readonly FrontierPoint[];
  /** False when there were too many partial selections, and the cheapest of each range of use was kept. */
  readonly exact: boolean;
}

/** Partial selections by rising use and falling cost; `from` is their place in the stage before. */
interface Stage {
  readonly use: Float64Array;
  readonly cost: Float64Array;
  readonly pick: Uint8Array;
  readonly from: Int32Array;
}

/**
 * All selections worth having under any limit on the first of their uses, by dynamic programming over the items: the partial
 * selections of which none is both as small and cheaper, extended by each choice in turn.
 *
 * Source: Nemhauser, Ullmann, 1969. Cost: items x choices x partial selections, 5 bytes for each; at most `maxStates` are kept.
 */
export function frontierOf(items: readonly (readonly Choice[])[], maxStates: number): Frontier {
  let exact = true;
  let last: Stage = {
    use: Float64Array.of(0),
    cost: Float64Array.of(0),
    pick: new Uint8Array(1),
    from: new Int32Array(1),
  };
  const trail: Pick<Stage, "pick" | "from">[] = [];
  for (const choices of items) {
    const all = extend(last, choices);
    last = all.use.length > maxStates ? thin(all, maxStates) : all;
    exact &&= last === all;
    trail.push({ pick: last.pick, from: last.from });
  }
  const points = Array.from(last.use, (use, state): FrontierPoint => {
    const picks = new Array<number>(items.length);
    for (let item = items.length - 1, at = state; item >= 0; --item) {
      picks[item] = trail[item]?.pick[at] ?? 0;
      at = trail[item]?.from[at] ?? 0;
    }
    return { picks, use, cost: last.cost[state] ?? 0 };
  });
  return { points, exact };
}

/** Each state with each choice, merged by use; what is not cheaper than all that use less goes. */
function extend(before: Stage, choices: readonly Choice[]): Stage {
  const count = before.use.length;
  const next = new Int32Array(choices.length);
  const stage = emptyStage(count * choices.length);
  let kept = 0;
  let cheapest = Infinity;
  for (;;) {
    let best = -1;
    let bestUse = Infinity;
    let bestCost = Infinity;
    choices.forEach((choice, pick) => {
      const at = next[pick] ?? 0;
      if (at >= count) return;
      const use = (before.use[at] ?? 0) + (choice.uses[0] ?? 0);
      const cost = (before.cost[at] ?? 0) + choice.cost;
      if (best < 0 || use < bestUse || (use === bestUse && cost < bestCost))
        [best, bestUse, bestCost] = [pick, use, cost];
    });
    if (best < 0) return sliced(stage, kept);
    const from = next[best] ?? 0;
    next[best] = from + 1;
    if (bestCost >= cheapest) continue;
    cheapest = bestCost;
    stage.use[kept] = bestUse;
    stage.cost[kept] = bestCost;
    stage.pick[kept] = best;
    stage.from[kept] = from;
    kept += 1;
  }
}

/** The first state, and the cheapest of each of `count - 1` equal ranges of use. */
function thin(all: Stage, count: number): Stage {
  const size = all.use.length;
  const least = all.use[0] ?? 0;
  const width = ((all.use[size - 1] ?? 0) - least) / Math.max(1, count - 1);
  const range = (state: number) =>
    Math.min(count - 2, Math.floor(((all.use[state] ?? 0) - least) / width));
  const stage = emptyStage(count);
  let kept = 0;
  for (let state = 0; state < size; ++state) {
    const lastOfRange = state + 1 === size || range(state + 1) !== range(state);
    if (state !== 0 && !lastOfRange) continue;
    stage.use[kept] = all.use[state] ?? 0;
    stage.cost[kept] = all.cost[state] ?? 0;
    stage.pick[kept] = all.pick[state] ?? 0;
    stage.from[kept] = all.from[state] ?? 0;
    kept += 1;
  }
  return sliced(stage, kept);
}

function emptyStage(count: number): Stage {
  return {
    use: new Float64Array(count),
    cost: new Float64Array(count),
    pick: new Uint8Array(count),
    from: new Int32Array(count),
  };
}

function sliced({ use, cost, pick, from }: Stage, count: number): Stage {
  return {
    use: use.slice(0, count),
    cost: cost.slice(0, count),
    pick: pick.slice(0, count),
    from: from.slice(0, count),
  };
}
