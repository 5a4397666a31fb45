/**
 * Slow, obvious float64 references for GPTQ, by another route than the kernels: no factorization; after each column the free
 * weights are set to the conditional least-squares optimum w_F = w0_F + (w0_S - q_S) H_SF H_FF^-1, by Gaussian elimination.
 */
import type { Device } from "../../lib/binding/index.js";
import { type DType, Tensor } from "../../lib/tensor/index.js";

type Matrix = number[][];

export function matrix<D extends DType>(rows: Matrix, dtype: D, device: Device): Tensor<D> {
  return Tensor.from(rows.flat(), [rows.length, rows[0]?.length ?? 0], { dtype, device });
}

/** Uniform numbers in [0, 1), the same on every machine. */
export function random(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

export function normal(seed: number): () => number {
  const uniform = random(seed);
  return () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());
}

/** Gaussian weights (exact in float32) and the Gram of AR(1) inputs along the columns. */
export function ar1Layer(
  out: number,
  columns: number,
  rho: number,
  seed: number,
): { W: Matrix; H: Matrix } {
  const draw = normal(seed);
  const W = Array.from({ length: out }, () =>
    Array.from({ length: columns }, () => Math.fround(draw())),
  );
  const tokens = 3 * columns + 8;
  const H = Array.from({ length: columns }, () => new Array<number>(columns).fill(0));
  for (let t = 0; t < tokens; ++t) {
    let last = 0;
    const x = Array.from(
      { length: columns },
      () => (last = rho * last + Math.sqrt(1 - rho * rho) * draw()),
    );
    for (let i = 0; i < columns; ++i)
      for (let j = 0; j < columns; ++j) H[i]![j]! += (2 / tokens) * x[i]! * x[j]!;
  }
  return { W, H };
}

/** X with X A = B for a symmetric positive definite A (rows of B are right-hand sides), by elimination with pivoting. */
export function solve(A: Matrix, b: number[]): number[] {
  const n = A.length;
  const rows = A.map((row, i) => [...row, b[i]!]);
  for (let c = 0; c < n; ++c) {
    let pivot = c;
    for (let r = c + 1; r < n; ++r)
      if (Math.abs(rows[r]![c]!) > Math.abs(rows[pivot]![c]!)) pivot = r;
    [rows[c], rows[pivot]] = [rows[pivot]!, rows[c]!];
    for (let r = c + 1; r < n; ++r) {
      const f = rows[r]![c]! / rows[c]![c]!;
      if (f !== 0) for (let k = c; k <= n; ++k) rows[r]![k]! -= f * rows[c]![k]!;
    }
  }
  const x = new Array<number>(n).fill(0);
  for (let r = n - 1; r >= 0; --r) {
    let sum = rows[r]![n]!;
    for (let k = r + 1; k < n; ++k) sum -= rows[r]![k]! * x[k]!;
    x[r] = sum / rows[r]![r]!;
  }
  return x;
}

export function roundEven(x: number): number {
  const floor = Math.floor(x);
  const rest = x - floor;
  return rest > 0.5 || (rest === 0.5 && floor % 2 !== 0) ? floor + 1 : floor;
}

/**
 * By how much the weights not yet done change when the first ones became q: (w_S - q_S) H_SF H_FF^-1, F the columns of `order`
 * after the first q.length.
 */
export function conditionalOptimum(
  H: Matrix,
  w: readonly number[],
  q: readonly number[],
  order: Int32Array,
): number[] {
  const free = Array.from(order.slice(q.length));
  const pull = free.map((f) =>
    q.reduce((sum, value, s) => sum + (w[s]! - value) * H[order[s]!]![f]!, 0),
  );
  return solve(
    free.map((i) => free.map((j) => H[i]![j]!)),
    pull,
  );
}

export interface OracleOptions {
  bits: number;
  sym: boolean;
  groupSize: number;
  staticGroups: boolean;
  mse: boolean;
  dampPercent: number;
  /** A grid given beforehand instead of one from the weights; then one group a row. */
  grid?: { scale: number; zero: number };
}

/** Scale and zero of a set of weights; scale rounded to float32 as the kernel stores it. */
export function oracleGrid(
  values: number[],
  { bits, sym, mse }: Pick<OracleOptions, "bits" | "sym" | "mse">,
): { scale: number; zero: number } {
  const maxq = 2 ** bits - 1;
  const make = (p: number) => {
    let low = p * Math.min(0, ...values);
    let high = p * Math.max(0, ...values);
    if (sym) {
      high = Math.max(-low, high);
      low = -high;
    }
    if (low === 0 && high === 0) [low, high] = [-1, 1];
    const scale = (high - low) / maxq;
    const zero = sym ? 2 ** (bits - 1) : Math.min(maxq, roundEven(Math.abs(low) / scale));
    return { scale: Math.fround(scale), zero };
  };
  let best = make(1);
  if (!mse) return best;
  let smallest = Infinity;
  for (let i = 0; i < 80; ++i) {
    const grid = make(1 - i / 100);
    const error = values.reduce((sum, w) => {
      const code = Math.min(maxq, Math.max(0, roundEven(w / grid.scale) + grid.zero));
      return sum + Math.abs(w - grid.scale * (code - grid.zero)) ** 2.4;
    }, 0);
    if (error < smallest) [smallest, best] = [error, grid];
  }
  return best;
}

export function conditionalLeastSquares(
  W: Matrix,
  H: Matrix,
  order: Int32Array,
  options: OracleOptions,
) {
  const n = H.length;
  const size = options.groupSize < 0 || options.groupSize > n ? n : options.groupSize;
  const dynamic = size < n && !options.staticGroups;
  const mean = H.reduce((sum, row, i) => sum + row[i]!, 0) / n;
  const Hd = H.map((row, i) =>
    row.map((value, j) => value + (i === j ? options.dampPercent * mean : 0)),
  );
  const P = (i: number, j: number) => Hd[order[i]!]![order[j]!]!;
  const maxq = 2 ** options.bits - 1;
  const codes = W.map((row) => row.map(() => 0));
  const margins = W.map((row) => row.map(() => 1));
  let loss = 0;
  W.forEach((row, r) => {
    const w0 = Array.from(order, (column) => row[column]!);
    let w = [...w0];
    const grids: { scale: number; zero: number }[] = [];
    if (options.grid) grids.push(options.grid);
    else if (!dynamic) {
      for (let g = 0; g * size < n; ++g)
        grids.push(oracleGrid(row.slice(g * size, (g + 1) * size), options));
    }
    const q: number[] = [];
    for (let t = 0; t < n; ++t) {
      if (dynamic && t % size === 0) grids.push(oracleGrid(w.slice(t, t + size), options));
      const grid = grids[Math.floor((dynamic ? t : order[t]!) / size)]!;
      const exact = w[t]! / grid.scale;
      const code = Math.min(maxq, Math.max(0, roundEven(exact) + grid.zero));
      codes[r]![order[t]!] = code;
      margins[r]![order[t]!] = Math.abs(exact - Math.floor(exact) - 0.5);
      q.push(grid.scale * (code - grid.zero));
      const shift = conditionalOptimum(Hd, w0, q, order);
      w = [...q, ...shift.map((change, i) => w0[t + 1 + i]! + change)];
    }
    const d = w0.map((value, t) => value - q[t]!);
    for (let i = 0; i < n; ++i) for (let j = 0; j < n; ++j) loss += 0.5 * d[i]! * P(i, j) * d[j]!;
  });
  return { codes, margins, loss };
}
