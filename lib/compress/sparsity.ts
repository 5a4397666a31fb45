import { ArgumentError, expected } from "../errors.js";
import type { RowZeros } from "../ops/prune.js";

/** How much of a layer is pruned: one of the two. */
export interface SparsityOptions {
  /** Fraction of the weights that become zero, 0 to 1. */
  readonly sparsity?: number | undefined;
  /** "n:m": n zeros in every m consecutive columns of a row, as in SparseGPT and Wanda ("2:4", "4:8"). */
  readonly pattern?: string | undefined;
}

/** The options, checked. */
export type Sparsity =
  | { readonly kind: "fraction"; readonly fraction: number }
  | { readonly kind: "pattern"; readonly n: number; readonly m: number };

export function resolveSparsity(fn: string, options: SparsityOptions): Sparsity {
  const { sparsity, pattern } = options;
  if ((sparsity === undefined) === (pattern === undefined)) {
    throw new ArgumentError(
      `${fn}: expected either sparsity or pattern but received ${sparsity === undefined ? "neither" : "both"}`,
    );
  }
  if (pattern === undefined) return resolveFraction(fn, sparsity);
  const match = /^(\d{1,6}):(\d{1,6})$/.exec(typeof pattern === "string" ? pattern : "");
  const [n, m] = [Number(match?.[1]), Number(match?.[2])];
  if (!(n <= m && m >= 1)) {
    throw new ArgumentError(
      expected(fn, '"n:m" with n zeros in m columns, n <= m, e.g. "2:4"', "pattern", pattern),
    );
  }
  return { kind: "pattern", n, m };
}

export function resolveFraction(
  fn: string,
  sparsity: unknown,
): Extract<Sparsity, { kind: "fraction" }> {
  if (!(typeof sparsity === "number" && sparsity >= 0 && sparsity <= 1))
    throw new ArgumentError(expected(fn, "a number from 0 to 1", "sparsity", sparsity));
  return { kind: "fraction", fraction: sparsity };
}

/** "50 %" or "2:4". */
export function sparsityText(sparsity: Sparsity): string {
  return sparsity.kind === "pattern"
    ? `${sparsity.n}:${sparsity.m}`
    : `${Number((100 * sparsity.fraction).toFixed(4))} %`;
}

/** What the row kernel is told. */
export function rowZeros(sparsity: Sparsity, columns: number): RowZeros {
  return sparsity.kind === "pattern" ? sparsity : { zeros: zerosOfRow(sparsity, columns) };
}

/**
 * Zeros among `count` weights that are compared with each other: floor(count * fraction), where a product that is a whole
 * number but for its last bits (2800 * 0.7) counts as that.
 */
export function zerosOf(count: number, fraction: number): number {
  return Math.min(count, Math.floor(count * fraction * (1 + 4 * Number.EPSILON)));
}

/** Zeros of a row of so many columns: floor(columns * fraction), or n of every m and floor(n l / m) of a last group of l. */
export function zerosOfRow(sparsity: Sparsity, columns: number): number {
  if (sparsity.kind === "fraction") return zerosOf(columns, sparsity.fraction);
  const { n, m } = sparsity;
  return Math.floor(columns / m) * n + Math.floor((n * (columns % m)) / m);
}

/** What a user should know about a target on a layer of so many columns. */
export function sparsityWarnings(sparsity: Sparsity, columns: number): string[] {
  if (sparsity.kind === "fraction" || columns % sparsity.m === 0) return [];
  const rest = columns % sparsity.m;
  return [
    `${columns} columns are no multiple of ${sparsity.m}: the last ${rest} of a row have ${Math.floor((sparsity.n * rest) / sparsity.m)} zeros, and kernels for ${sparsityText(sparsity)} cannot run this layer`,
  ];
}
