/**
 * Hadamard matrices of orders that are no power of two: `[m, m]` of +-1 with B B^T = m I, by Paley's two constructions over
 * the integers modulo a prime q. Order q + 1 for q = 3 mod 4, 2 (q + 1) for q = 1 mod 4.
 */

/** +1 for a square modulo the prime q, -1 for a non-square, 0 for 0. */
function quadraticCharacter(q: number): (x: number) => number {
  const squares = new Set<number>();
  for (let x = 1; x < q; ++x) squares.add((x * x) % q);
  return (x) => {
    const rest = ((x % q) + q) % q;
    return rest === 0 ? 0 : squares.has(rest) ? 1 : -1;
  };
}

function isPrime(q: number): boolean {
  if (q < 2) return false;
  for (let d = 2; d * d <= q; ++d) if (q % d === 0) return false;
  return true;
}

/** Paley's bordered matrix of order q + 1: S[0, j] = 1, S[i, 0] = `corner`, S[i, j] = chi(i - j); S S^T = q I. */
function bordered(q: number, corner: 1 | -1): number[][] {
  const chi = quadraticCharacter(q);
  return Array.from({ length: q + 1 }, (_, i) =>
    Array.from({ length: q + 1 }, (_, j) =>
      i === 0 ? Number(j > 0) : j === 0 ? corner : chi(i - j),
    ),
  );
}

function paleyOne(q: number): number[][] {
  return bordered(q, -1).map((row, i) => row.map((value, j) => value + Number(i === j)));
}

function paleyTwo(q: number): number[][] {
  const size = 2 * (q + 1);
  const symmetric = bordered(q, 1);
  return Array.from({ length: size }, (_, i) =>
    Array.from({ length: size }, (_, j) => {
      const value = symmetric[i >> 1]?.[j >> 1] ?? 0;
      const both = i % 2 === 1 && j % 2 === 1;
      // 0 becomes [[1, -1], [-1, -1]], +-1 becomes +-[[1, 1], [1, -1]].
      if (value === 0) return i % 2 === 0 && j % 2 === 0 ? 1 : -1;
      return both ? -value : value;
    }),
  );
}

/** A Hadamard matrix of order m, or undefined where neither construction gives one. */
export function hadamardBase(m: number): number[][] | undefined {
  if (m === 1) return [[1]];
  if (isPrime(m - 1) && (m - 1) % 4 === 3) return paleyOne(m - 1);
  const q = m / 2 - 1;
  if (m % 2 === 0 && isPrime(q) && q % 4 === 1) return paleyTwo(q);
  return undefined;
}
