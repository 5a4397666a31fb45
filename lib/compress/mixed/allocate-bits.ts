import { ArgumentError, NumericalError, expected } from "../../errors.js";
import { checkInteger, checkNumber } from "../../ops/check.js";
import { type Choice, chooseLeast, type Selection } from "./choices.js";
import { frontierOf } from "./frontier.js";

/** What a layer is at so many bits. */
export interface BitChoice {
  readonly bits: number;
  /** How much worse the model gets, in any unit; of several layers it adds up. */
  readonly cost: number;
  /** Bytes stored. Default: `weights * bits / 8`. */
  readonly bytes?: number | undefined;
  /** Anything else that is limited, such as multiplications times bits or measured milliseconds, by name. */
  readonly uses?: Readonly<Record<string, number>> | undefined;
}

/** A layer, or several that must have the same bits (their sums). A layer that stays as it is has one choice. */
export interface BitLayer {
  readonly name: string;
  /** Number of weights. */
  readonly weights: number;
  readonly choices: readonly BitChoice[];
}

/** At least one limit. All hold at once. */
export interface BitBudget {
  /** Mean bits of a weight, over all layers; scales and zero points not counted. */
  readonly averageBits?: number | undefined;
  /** Sum of bytes. */
  readonly bytes?: number | undefined;
  /** Sums of `uses`, by name. */
  readonly uses?: Readonly<Record<string, number>> | undefined;
}

export interface AllocateOptions {
  /** Partial selections kept by the dynamic programming, of which the frontier is made. Default 16384. */
  readonly maxStates?: number | undefined;
  /** Nodes of branch and bound, which is asked when dynamic programming does not decide. Default 200000. */
  readonly maxNodes?: number | undefined;
}

/** Bits for each layer, with what they come to. */
export interface BitPoint {
  readonly bits: readonly number[];
  readonly cost: number;
  readonly averageBits: number;
  readonly bytes: number;
}

export interface BitAllocation extends BitPoint {
  /** By layer name. */
  readonly byName: ReadonlyMap<string, number>;
  /** No allocation within the budget costs less than this. */
  readonly lowerBound: number;
  /** `cost - lowerBound`: 0 when the allocation is proved best. */
  readonly gap: number;
  /**
   * Every allocation worth having under any limit of this kind (the first one given), by rising use and falling cost; the other
   * limits are not asked.
   */
  readonly frontier: readonly BitPoint[];
  /** Whether the frontier is complete; false when there were more than `maxStates`. */
  readonly frontierExact: boolean;
}

/**
 * Chooses the bits of each layer so that the sum of costs is least within a budget: the integer program of HAWQ-V3, solved
 * exactly. One limit by dynamic programming; several, or more partial selections than `maxStates`, by branch and bound. Float
 * sums: costs that agree to some 1e-15 are the same.
 *
 * @returns the allocation, how far from the best it may be (`gap`, 0 unless `maxNodes` ended the search), and the frontier.
 * @throws ArgumentError for a budget that cannot be met, naming the nearest that can (details.nearest); NumericalError
 *   `NON_FINITE` for a cost that is NaN or infinite.
 * Source: Yao et al., "HAWQ-V3", 2021.
 *
 * @example
 * const { byName, gap } = allocateBits(sensitivities.layers, { averageBits: 3.5 });
 */
export function allocateBits(
  layers: readonly BitLayer[],
  budget: BitBudget,
  options: AllocateOptions = {},
): BitAllocation {
  const fn = "allocateBits";
  const { maxStates = 16384, maxNodes = 200_000 } = options;
  checkInteger(fn, "maxStates", maxStates, 2, 2 ** 24);
  checkInteger(fn, "maxNodes", maxNodes, 1, Number.MAX_SAFE_INTEGER);
  checkLayers(fn, layers);
  const weights = layers.reduce((sum, layer) => sum + layer.weights, 0);
  const limits = limitsOf(fn, budget, weights);
  const items = layers.map((layer) =>
    layer.choices.map((choice) => ({
      cost: choice.cost,
      uses: limits.map((limit) => limit.use(layer, choice)),
    })),
  );
  checkEach(fn, layers, items, limits);

  const { points, exact } = frontierOf(items, maxStates);
  const [first] = limits;
  const within = points.findLast(({ use }) => use <= (first?.limit ?? 0));
  const decided = exact && limits.length === 1 && within !== undefined;
  const found = decided
    ? { best: within as Selection, lowerBound: within.cost }
    : chooseLeast(
        items,
        limits.map(({ limit }) => limit),
        maxNodes,
        limits.length === 1 ? within : undefined,
      );
  if (found.best === undefined) throw cannotMeetAll(fn, items, limits, maxNodes);
  const point = ({ picks, cost }: Selection): BitPoint =>
    describePoint(layers, picks, cost, weights);
  const best = point(found.best);
  return {
    ...best,
    byName: new Map(layers.map(({ name }, i) => [name, best.bits[i] ?? 0])),
    lowerBound: found.lowerBound,
    gap: Math.max(0, best.cost - found.lowerBound),
    frontier: points.map(point),
    frontierExact: exact,
  };
}

/** A limit of the budget, in the unit that sums are compared in. */
interface Limit {
  readonly name: string;
  readonly given: number;
  readonly limit: number;
  readonly use: (layer: BitLayer, choice: BitChoice) => number;
  /** From a sum to what the user speaks of. */
  readonly shown: (sum: number) => number;
}

const bytesOf = (layer: BitLayer, { bits, bytes }: BitChoice): number =>
  bytes ?? (layer.weights * bits) / 8;

function limitsOf(fn: string, budget: BitBudget, weights: number): Limit[] {
  const same = (sum: number) => sum;
  const limits: Limit[] = [];
  const { averageBits, bytes, uses = {} } = budget;
  if (averageBits !== undefined)
    limits.push({
      name: "averageBits",
      given: averageBits,
      // 3.3 * 10 is 32.999...: a sum of whole bits that is the budget must be within it.
      limit: averageBits * weights * (1 + 4 * Number.EPSILON),
      use: (layer, { bits }) => layer.weights * bits,
      shown: (sum) => sum / weights,
    });
  if (bytes !== undefined)
    limits.push({ name: "bytes", given: bytes, limit: bytes, use: bytesOf, shown: same });
  for (const [name, limit] of Object.entries(uses))
    limits.push({
      name: `uses.${name}`,
      given: limit,
      limit,
      use: (_, choice) => choice.uses?.[name] ?? Number.NaN,
      shown: same,
    });
  if (limits.length === 0)
    throw new ArgumentError(
      expected(fn, "averageBits, bytes or uses", "budget", Object.keys(budget)),
    );
  for (const { name, given } of limits)
    checkNumber(fn, `budget.${name}`, given, ">= 0", (value) => value >= 0);
  return limits;
}

function checkLayers(fn: string, layers: readonly BitLayer[]): void {
  if (layers.length === 0)
    throw new ArgumentError(expected(fn, "at least one layer", "layers", layers));
  const names = new Set<string>();
  for (const { name, weights, choices } of layers) {
    if (names.has(name))
      throw new ArgumentError(expected(fn, "different names", "layers", `${name} twice`));
    names.add(name);
    checkNumber(fn, `weights of ${name}`, weights, "> 0", (value) => value > 0);
    if (choices.length < 1 || choices.length > 256)
      throw new ArgumentError(
        expected(fn, "1 to 256 choices", `choices of ${name}`, choices.length),
      );
    for (const { bits, cost } of choices) {
      checkNumber(fn, `bits of ${name}`, bits, "> 0", (value) => value > 0);
      if (!Number.isFinite(cost))
        throw new NumericalError(
          "NON_FINITE",
          expected(fn, "a finite number", `the cost of ${name} at ${bits} bits`, cost),
          { details: { name, bits } },
        );
    }
  }
}

/** Checks what choices use, and that each limit alone can be met. */
function checkEach(
  fn: string,
  layers: readonly BitLayer[],
  items: readonly (readonly Choice[])[],
  limits: readonly Limit[],
): void {
  limits.forEach(({ name, given, limit, shown }, k) => {
    let least = 0;
    items.forEach((choices, i) => {
      const uses = choices.map((choice) => choice.uses[k]);
      for (const use of uses)
        checkNumber(fn, `${name} of ${layers[i]?.name ?? ""}`, use, ">= 0", (value) => value >= 0);
      least += Math.min(...(uses as number[]));
    });
    if (least > limit) throw cannotMeet(fn, name, given, shown(least), "");
  });
}

function cannotMeet(fn: string, name: string, given: number, nearest: number, where: string) {
  return new ArgumentError(
    expected(fn, `at least ${nearest}${where}`, `budget.${name}`, given) +
      `: the budget cannot be met, the nearest that can is ${nearest}`,
    { details: { limit: name, given, nearest } },
  );
}

/** Each limit could be met alone: how far the first must be raised with the others as they are, by the same search. */
function cannotMeetAll(
  fn: string,
  items: readonly (readonly Choice[])[],
  limits: readonly Limit[],
  maxNodes: number,
): Error {
  for (const [k, { name, given, limit, shown }] of limits.entries()) {
    const others = limits.filter((_, other) => other !== k);
    const uses = items.map((choices) =>
      choices.map((choice) => ({
        cost: choice.uses[k] ?? 0,
        uses: choice.uses.filter((_, other) => other !== k),
      })),
    );
    const all = others.map((other) => other.limit);
    const { best, complete } = chooseLeast(uses, all, maxNodes);
    if (best === undefined || !complete || best.cost <= limit) continue;
    const held = ` with ${others.map((other) => `${other.name} ${other.given}`).join(", ")}`;
    return cannotMeet(fn, name, given, shown(best.cost), held);
  }
  return new ArgumentError(
    `${fn}: found no allocation within the budget in ${maxNodes} nodes; raise a limit or maxNodes`,
  );
}

function describePoint(
  layers: readonly BitLayer[],
  picks: readonly number[],
  cost: number,
  weights: number,
): BitPoint {
  const chosen = layers.map((layer, i) => layer.choices[picks[i] ?? 0] ?? { bits: 0, cost: 0 });
  const sum = (of: (layer: BitLayer, choice: BitChoice) => number) =>
    layers.reduce((total, layer, i) => total + of(layer, chosen[i] ?? { bits: 0, cost: 0 }), 0);
  return {
    bits: chosen.map(({ bits }) => bits),
    cost,
    averageBits: sum((layer, { bits }) => layer.weights * bits) / weights,
    bytes: sum(bytesOf),
  };
}
