/** The layer of medium.json, from its own formula: splitmix64 numbers, 32 x 64 weights, 256 correlated tokens. */
export function mediumLayer(): { W: number[][]; X: number[][]; H: number[][] } {
  const mask = (1n << 64n) - 1n;
  let state = 1n;
  const uniform = () => {
    state = (state + 0x9e3779b97f4a7c15n) & mask;
    let z = state;
    z = ((z ^ (z >> 30n)) * 0xbf58476d1ce4e5b9n) & mask;
    z = ((z ^ (z >> 27n)) * 0x94d049bb133111ebn) & mask;
    return Number((z ^ (z >> 31n)) >> 11n) * 2 ** -53;
  };
  const value = () => Math.floor((uniform() + uniform() + uniform() + uniform() - 2) * 256) / 256;
  const draw = (rows: number, columns: number) =>
    Array.from({ length: rows }, () => Array.from({ length: columns }, value));
  const W = draw(32, 64);
  const R = draw(64, 64);
  const Z = draw(64, 256);
  // X[j][t] = 2^((j mod 7) - 3) * sum_k (delta_jk + R_jk / 4) Z_kt
  const X = R.map((row, j) =>
    Array.from(
      { length: 256 },
      (_, t) =>
        2 ** ((j % 7) - 3) *
        row.reduce((sum, r, k) => sum + ((j === k ? 1 : 0) + r / 4) * Z[k]![t]!, 0),
    ),
  );
  const H = X.map((a) => X.map((b) => (2 / 256) * a.reduce((sum, x, t) => sum + x * b[t]!, 0)));
  return { W, X, H };
}
