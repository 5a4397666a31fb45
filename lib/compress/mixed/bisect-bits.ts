import type { CallOptions } from "../../binding/index.js";
import { ArgumentError, NumericalError, abortError, expected } from "../../errors.js";
import { checkNumber } from "../../ops/check.js";

/** How good the model is with these bits, layer by layer; more is better. The same subset and seed every time. */
export type EvaluateBits = (bits: readonly number[]) => number | Promise<number>;

export interface BisectOptions extends CallOptions {
  /** Bits to go down by, the first where every layer begins. Default `[16, 8, 4]`. */
  readonly ladder?: readonly number[] | undefined;
  /** Layers from the least sensitive: indices into the bits. */
  readonly order: readonly number[];
  /** Least result that is allowed, on the scale of `evaluate`, such as 0.999 of what the first rung gives. */
  readonly target: number;
  /** Try each layer that was left out alone, in order, and keep what stays at the target. Default false. */
  readonly repair?: boolean | undefined;
}

/** One evaluation: the first `count` layers of the order, of those that are on the rung before, at `bits`. */
export interface BisectProbe {
  readonly bits: number;
  readonly count: number;
  readonly result: number;
  /** "search": bisection; "confirm": again what it found, a step down when it fails; "repair": with one more layer. */
  readonly kind: "search" | "confirm" | "repair";
}

export interface BisectResult {
  /** Of each layer. */
  readonly bits: readonly number[];
  /** With these bits; at or above the target. */
  readonly result: number;
  /** With every layer at the first rung. */
  readonly baseline: number;
  readonly probes: readonly BisectProbe[];
}

/**
 * Lowers the bits of as many layers as a target of accuracy allows: for each rung of the ladder bisects how many layers, from the
 * least sensitive, can go down to it. Assumes that results fall along the order; what is found is evaluated a second time, and
 * with a noisy `evaluate` a step down is taken until it holds.
 *
 * @throws ArgumentError when the first rung is below the target already; NumericalError `NON_FINITE` when `evaluate` returns no
 *   number; `ABORTED`; what `evaluate` throws.
 * Cost: `log2(layers + 1) + 1` evaluations a rung, and one a layer with `repair`.
 * Source: mixed precision with inter-layer dependencies and bisection (its order: `interLayerSensitivity`).
 */
export async function bisectBits(
  evaluate: EvaluateBits,
  options: BisectOptions,
): Promise<BisectResult> {
  const fn = "bisectBits";
  const { order, target, ladder = [16, 8, 4], repair = false, signal, onProgress } = options;
  checkOrder(fn, order);
  checkNumber(fn, "target", target, "that is finite", () => true);
  const [top, ...rungs] = ladder;
  if (
    top === undefined ||
    ladder.some((bits, i) => !(bits > 0 && bits < (ladder[i - 1] ?? Infinity)))
  )
    throw new ArgumentError(expected(fn, "falling bits above 0", "ladder", ladder));

  const probes: BisectProbe[] = [];
  const measure = async (bits: readonly number[]): Promise<number> => {
    if (signal?.aborted) throw abortError(fn, signal);
    const result = await evaluate(bits);
    if (!Number.isFinite(result))
      throw new NumericalError(
        "NON_FINITE",
        expected(fn, "a finite number", "the result of evaluate", result),
        { details: { bits: [...bits] } },
      );
    return result;
  };
  let bits: readonly number[] = order.map(() => top);
  const baseline = await measure(bits);
  if (baseline < target)
    throw new ArgumentError(
      expected(fn, `at most ${baseline}, what ${top} bits give,`, "target", target),
    );
  let result = baseline;
  for (const [done, rung] of rungs.entries()) {
    const above = ladder[done] ?? top;
    const open = order.filter((layer) => bits[layer] === above);
    const before = bits;
    const lowered = (layers: readonly number[]) =>
      before.map((b, layer) => (layers.includes(layer) ? rung : b));
    const probe = async (layers: readonly number[], kind: BisectProbe["kind"]) => {
      const found = await measure(lowered(layers));
      probes.push({ bits: rung, count: layers.length, result: found, kind });
      return found;
    };
    let count = 0;
    for (let high = open.length; count < high;) {
      const middle = Math.floor((count + high + 1) / 2);
      if ((await probe(open.slice(0, middle), "search")) >= target) count = middle;
      else high = middle - 1;
    }
    let confirmed = result;
    while (count > 0 && (confirmed = await probe(open.slice(0, count), "confirm")) < target) {
      count -= 1;
      confirmed = result;
    }
    const chosen = open.slice(0, count);
    for (const layer of repair ? open.slice(count) : []) {
      const found = await probe([...chosen, layer], "repair");
      if (found < target) continue;
      chosen.push(layer);
      confirmed = found;
    }
    bits = lowered(chosen);
    result = confirmed;
    onProgress?.({ done: done + 1, total: rungs.length });
  }
  return { bits, result, baseline, probes };
}

function checkOrder(fn: string, order: readonly number[]): void {
  const sorted = [...order].sort((a, b) => a - b);
  if (order.length === 0 || sorted.some((layer, i) => layer !== i))
    throw new ArgumentError(expected(fn, "every layer once", "order", order));
}

export interface InterLayerOptions {
  /** Weight of the pair terms. Default 1. */
  readonly mu?: number | undefined;
  /** Scale both terms to sum 1 over the layers first, where they do not sum to 0. Default true. */
  readonly normalize?: boolean | undefined;
}

/** A term of two layers, by their indices. */
export interface PairTerm {
  readonly layers: readonly [number, number];
  readonly value: number;
}

/**
 * Sensitivities with what layers lose together: `own[i] + mu * (sum of the pair terms that i is in)`.
 *
 * @param own of each layer, >= 0, such as the costs of `layerSensitivities` at the fewest bits.
 * @returns them, and the layers in their rising order, equal ones as they come, for `bisectBits`.
 */
export function interLayerSensitivity(
  own: readonly number[],
  pairs: readonly PairTerm[],
  options: InterLayerOptions = {},
): { readonly sensitivities: readonly number[]; readonly order: readonly number[] } {
  const fn = "interLayerSensitivity";
  const { mu = 1, normalize = true } = options;
  checkNumber(fn, "mu", mu, ">= 0", (value) => value >= 0);
  const together = own.map(() => 0);
  for (const { layers, value } of pairs) {
    checkTerm(fn, `the term of layers ${layers.join(" and ")}`, value);
    for (const layer of layers) {
      if (!(layer in own))
        throw new ArgumentError(expected(fn, `0 to ${own.length - 1}`, "a layer of a pair", layer));
      together[layer] = (together[layer] ?? 0) + value;
    }
  }
  own.forEach((value, i) => {
    checkTerm(fn, `own[${i}]`, value);
  });
  const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);
  const scaleOf = (values: readonly number[]) => (normalize && sum(values) > 0 ? sum(values) : 1);
  const [ownScale, pairScale] = [scaleOf(own), scaleOf(together)];
  const sensitivities = own.map(
    (value, i) => value / ownScale + (mu * (together[i] ?? 0)) / pairScale,
  );
  const order = own
    .map((_, i) => i)
    .sort((a, b) => (sensitivities[a] ?? 0) - (sensitivities[b] ?? 0) || a - b);
  return { sensitivities, order };
}

function checkTerm(fn: string, name: string, value: number): void {
  if (value >= 0 && value < Infinity) return;
  throw new NumericalError("NON_FINITE", expected(fn, "a finite number >= 0", name, value), {
    details: { name },
  });
}

/**
 * What pairs of layers lose together beyond what each loses alone: `max(0, l(i, j) - l(i) - l(j) + l(none))`.
 *
 * @param count of layers.
 * @param lossWith the loss with only these layers at few bits.
 * @param options `distance`: pairs so far apart at most; default all.
 * Cost: one loss for none, for each layer and for each pair.
 */
export async function pairTerms(
  count: number,
  lossWith: (layers: readonly number[]) => number | Promise<number>,
  options: CallOptions & { readonly distance?: number | undefined } = {},
): Promise<PairTerm[]> {
  const fn = "pairTerms";
  const { distance = count, signal, onProgress } = options;
  const pairs: [number, number][] = [];
  for (let i = 0; i < count; ++i)
    for (let j = i + 1; j < count && j - i <= distance; ++j) pairs.push([i, j]);
  const total = 1 + count + pairs.length;
  let done = 0;
  const measure = async (layers: readonly number[]): Promise<number> => {
    if (signal?.aborted) throw abortError(fn, signal);
    const loss = await lossWith(layers);
    if (!Number.isFinite(loss))
      throw new NumericalError(
        "NON_FINITE",
        expected(fn, "a finite number", `the loss with layers [${layers.join(", ")}]`, loss),
        { details: { layers } },
      );
    onProgress?.({ done: (done += 1), total });
    return loss;
  };
  const none = await measure([]);
  const alone: number[] = [];
  for (let i = 0; i < count; ++i) alone.push(await measure([i]));
  const terms: PairTerm[] = [];
  for (const layers of pairs) {
    const [i, j] = layers;
    const value = (await measure(layers)) - (alone[i] ?? 0) - (alone[j] ?? 0) + none;
    terms.push({ layers, value: Math.max(0, value) });
  }
  return terms;
}
