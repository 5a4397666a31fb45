import { dot, norm, scaled } from "./vector.js";

/** The minimizer of a cubic model in the coordinates of its eigenvectors. */
export interface CubicStep {
  readonly d: Float64Array;
  /** ||d||. */
  readonly r: number;
}

const MAX_ITERATIONS = 100;

/**
 * The global minimum of `<c, d> + 1/2 sum_i w_i d_i^2 + M/6 ||d||^3` (Nesterov, Polyak, 2006, section 5): d = -c / (w + M r / 2)
 * where r = ||d|| is the root of ||c / (w + M r / 2)|| = r with all w + M r / 2 >= 0.
 *
 * In the hard case (c has nothing along the smallest w, and the root would lie where w + M r / 2 < 0) the missing length goes
 * along the first coordinate, either sign being as good.
 *
 * @param w ascending, at least one.
 * @param m M > 0.
 */
export function cubicStep(w: Float64Array, c: Float64Array, m: number): CubicStep {
  // In units of a bound on r nothing below can overflow or underflow.
  const unit = radiusAlong(w[0] ?? 0, m, norm(c));
  if (!(unit > 0)) return { d: new Float64Array(c.length), r: 0 };
  const { d, r } = unitStep(w, scaled(1 / unit, c), m * unit);
  return { d: scaled(unit, d), r: unit * r };
}

/** ||d|| if all of c were along this w: for the smallest never below, for the largest never above that of c as it is. */
function radiusAlong(w: number, m: number, size: number): number {
  const root = Math.hypot(w, Math.sqrt(2 * m) * Math.sqrt(size));
  return w > 0 ? (2 * size) / (w + root) : (root - w) / m;
}

/** `cubicStep` where r is at most 1. */
function unitStep(w: Float64Array, c: Float64Array, m: number): CubicStep {
  const lowest = w[0] ?? 0;
  // The unknown is the shift s of the lowest w: w + M r / 2 = gap + s keeps its digits when that is close to zero.
  const gaps = w.map((value) => value - lowest);
  const at = (s: number) => c.map((value, i) => (value === 0 ? 0 : -value / ((gaps[i] ?? 0) + s)));
  const radius = (s: number) => (2 * (s - lowest)) / m;

  if (lowest <= 0) {
    const d = at(0);
    const [length, r] = [norm(d), radius(0)];
    if (length <= r) {
      // The hard case: the length that is missing goes along the first coordinate.
      d[0] = (d[0] ?? 0) + Math.sqrt((r - length) * (r + length));
      return { d, r };
    }
  }

  // psi(s) = 1 / ||d|| - 1 / r is concave and rising: left of the root Newton's method goes up to it and never passes it. The
  // root is right of |c_0|, since |c_0| / s <= r <= 1, and of the s of the smallest r there can be (less its rounding error);
  // it is left of ||c||, by the equation of the largest r.
  const size = norm(c);
  const half = (m * radiusAlong(w.at(-1) ?? 0, m, size)) / 2;
  const rounding = 4 * Number.EPSILON * Math.max(Math.abs(lowest), half);
  let low = Math.max(norm(c.filter((_, i) => gaps[i] === 0)), lowest + half - rounding);
  let high = Math.max(low, size);
  let s = low;
  for (let i = 0; i < MAX_ITERATIONS; i++) {
    const step = at(s);
    const [length, r] = [norm(step), radius(s)];
    const psi = 1 / length - 1 / r;
    if (psi < 0) low = s;
    else high = s;
    const bent = step.map((value, k) => value / ((gaps[k] ?? 0) + s));
    const newton = s - psi / (dot(step, bent) / length ** 3 + 2 / (m * r * r));
    const next = newton > low && newton < high ? newton : low + (high - low) / 2;
    if (Math.abs(length - r) <= 2 * Number.EPSILON * r || next === low || next === high) break;
    s = next;
  }
  const step = at(s);
  return { d: step, r: norm(step) };
}
