import { grad, mul, sum } from "../lib/autodiff/index.js";
import { matrixInverseRoot, matrixSqrtSync } from "../lib/linalg/index.js";
import { Tensor } from "../lib/tensor/index.js";
import type { Case, Shape } from "./cases.js";
import { type Exchange, makeNumbers } from "./inputs.js";

/**
 * Functions of symmetric matrices, float32, stacked: `out / in` matrices `[in, in]`.
 *
 * - shampoo_roots: both factors of one step, (A + 1e-6 lambda_max I)^(-1/4)
 * - matrix_sqrt: A^(1/2) and the gradient of a weighted sum of its elements
 */
export const matrixNames = ["shampoo_roots", "matrix_sqrt"] as const;
export type MatrixName = (typeof matrixNames)[number];

const root = { p: 4, ridge: 1e-6 } as const;

/**
 * Added to the diagonal of X X^T / k, X [n, k = 2 n] of random numbers: condition numbers of some 35, and of 4 for the square
 * root, since the published Pade code is off by tenths beyond.
 */
const shifts: Readonly<Record<MatrixName, number>> = { shampoo_roots: 0.01, matrix_sqrt: 1 };

function definite(count: number, n: number, shift: number): Float32Array {
  const x = Tensor.from(makeNumbers(0, count * n * 2 * n, 1), [count, n, 2 * n]);
  const values = new Float32Array(count * n * n);
  const numbers = x.dataSync();
  x.dispose();
  for (let item = 0; item < count; ++item)
    for (let i = 0; i < n; ++i)
      for (let j = 0; j <= i; ++j) {
        const [left, right] = [(item * n + i) * 2 * n, (item * n + j) * 2 * n];
        let dot = 0;
        for (let k = 0; k < 2 * n; ++k) dot += numbers[left + k]! * numbers[right + k]!;
        const value = dot / (2 * n) + (i === j ? shift : 0);
        values[(item * n + i) * n + j] = values[(item * n + j) * n + i] = value;
      }
  return values;
}

export function matrixCase(name: MatrixName, size: Shape, shape: string, exchange: Exchange): Case {
  const n = size.in;
  const count = size.out / n;
  const values = definite(count, n, shifts[name]);
  const weights = makeNumbers(1, count * n * n, 1);
  const a = Tensor.from(values, [count, n, n]);
  const g = Tensor.from(weights, [count, n, n]);
  const compute = async (): Promise<Tensor> => {
    if (name === "matrix_sqrt") {
      const [gradient] = grad(() => sum(mul(matrixSqrtSync(a).root, g)), [a]);
      return Promise.resolve(gradient!);
    }
    return (await matrixInverseRoot(a, root.p, { ridge: root.ridge })).root;
  };
  return {
    name,
    shape,
    size,
    job: {
      kind: name,
      ...size,
      files: {
        a: exchange.write(`${name}-a.f32`, values),
        g: exchange.write(`${name}-g.f32`, weights),
      },
      options: root,
      peers: name === "shampoo_roots" ? ["e"] : ["r", "e"],
    },
    run: async () => {
      (await compute()).dispose();
    },
    writeResult: async () => {
      const result = await compute();
      const file = exchange.write(`result-${name}.f32`, await result.data());
      result.dispose();
      return { result: file };
    },
    dispose: () => {
      a.dispose();
      g.dispose();
    },
  };
}
