import { dot, moved, norm } from "./vector.js";

/** Why the subproblem's iteration ended. */
export type SteihaugEnd = "converged" | "boundary" | "negativeCurvature" | "iterations";

export interface SteihaugStep {
  readonly z: Float64Array;
  /** The model's change <g, z> + 1/2 <z, H z>, not above 0. */
  readonly change: number;
  readonly iterations: number;
  readonly end: SteihaugEnd;
}

/**
 * Minimizes `<g, z> + 1/2 <z, H z>` within ||z|| <= radius, roughly: conjugate gradients from 0 that stop at the boundary, or
 * go to it along a direction of negative curvature (Steihaug, 1983). The length of z grows and the model falls with every
 * iteration, so that the step is at least as good as that of steepest descent.
 *
 * @param tolerance of ||g + H z||, absolute.
 */
export async function steihaug(
  product: (v: Float64Array) => Promise<Float64Array>,
  g: Float64Array,
  {
    radius,
    tolerance,
    maxIterations,
  }: { radius: number; tolerance: number; maxIterations: number },
): Promise<SteihaugStep> {
  let z: Float64Array = new Float64Array(g.length);
  let hz: Float64Array = new Float64Array(g.length);
  let r = g;
  let d = g.map((value) => -value);
  let square = dot(r, r);
  const step = (iterations: number, end: SteihaugEnd): SteihaugStep => {
    return { z, change: dot(g, z) + dot(z, hz) / 2, iterations, end };
  };
  const toBoundary = (hd: Float64Array, iterations: number, end: SteihaugEnd): SteihaugStep => {
    const tau = boundary(z, d, radius);
    z = moved(z, tau, d);
    hz = moved(hz, tau, hd);
    return step(iterations, end);
  };
  for (let iteration = 1; iteration <= maxIterations; iteration++) {
    if (Math.sqrt(square) <= tolerance) return step(iteration - 1, "converged");
    const hd = await product(d);
    const curvature = dot(d, hd);
    if (!(curvature > 0)) return toBoundary(hd, iteration, "negativeCurvature");
    const alpha = square / curvature;
    const next = moved(z, alpha, d);
    if (norm(next) >= radius) return toBoundary(hd, iteration, "boundary");
    z = next;
    hz = moved(hz, alpha, hd);
    r = moved(r, alpha, hd);
    const nextSquare = dot(r, r);
    const beta = nextSquare / square;
    d = d.map((value, i) => beta * value - (r[i] ?? 0));
    square = nextSquare;
  }
  return step(maxIterations, Math.sqrt(square) <= tolerance ? "converged" : "iterations");
}

/** The tau >= 0 with ||z + tau d|| = radius, by the form of the root without cancellation. */
function boundary(z: Float64Array, d: Float64Array, radius: number): number {
  const a = dot(d, d);
  const b = dot(z, d);
  const c = (norm(z) - radius) * (norm(z) + radius);
  const root = Math.sqrt(Math.max(0, b * b - a * c));
  return b > 0 ? -c / (b + root) : (root - b) / a;
}
