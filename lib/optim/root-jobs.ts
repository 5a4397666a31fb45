import { matrixInverseRoot, type InverseRootMethod, type MatrixReport } from "../linalg/index.js";
import { copyInto } from "../ops/copy.js";
import { item } from "../ops/tensor-mean.js";
import { scope, Tensor } from "../tensor/index.js";

/** @internal Factors whose roots are due: `roots = (factors + ridge largest I)^(-1/p)`. */
export interface RootJob {
  /** `[count, n, n]` float32. */
  readonly factors: Tensor;
  /** The same shape; what has a root is written, the others stay as they are. */
  readonly roots: Tensor;
  readonly p: number;
  readonly ridge: number;
  readonly method: InverseRootMethod | undefined;
  /** What is told of each factor. */
  done(index: number, report: MatrixReport): void;
}

/** Up to here roots are computed in float64 on the CPU, where it costs little; beyond, when float32 did not do. */
const WIDE = 256;

/**
 * @internal Computes the roots of all jobs; those of one size go side by side. A statistic of zeros has no root and is no
 * failure: its gradients were all zero.
 */
export async function computeRoots(jobs: readonly RootJob[]): Promise<void> {
  const batches = new Map<string, RootJob[]>();
  for (const job of jobs) {
    const { factors, p, ridge, method } = job;
    const key = [factors.device, factors.shape[1], p, ridge, method].join();
    const batch = batches.get(key);
    if (batch) batch.push(job);
    else batches.set(key, [job]);
  }
  await Promise.all([...batches.values()].map(computeBatch));
}

async function computeBatch(jobs: readonly RootJob[]): Promise<void> {
  const { p, ridge, method, factors } = item(jobs, 0);
  const n = item(factors.shape, 1);
  using all = stacked(jobs, n);
  const wide = factors.device === "cpu" && n <= WIDE;
  const { root, eigenvectors, reports } = await matrixInverseRoot(all, p, {
    ridge,
    method,
    onFailure: "report",
    ...(wide ? { precision: "float64" } : { retry: "float64" }),
  });
  using results = root;
  eigenvectors?.dispose();
  let first = 0;
  for (const job of jobs) {
    const count = item(job.factors.shape, 0);
    for (const [i, report] of reports.slice(first, first + count).entries()) {
      if (report.converged) move(results, first + i, job.roots, i);
      if (report.largestEigenvalue !== 0) job.done(i, report);
    }
    first += count;
  }
}

function stacked(jobs: readonly RootJob[], n: number): Tensor {
  const total = jobs.reduce((sum, { factors }) => sum + item(factors.shape, 0), 0);
  const all = Tensor.empty([total, n, n], { device: item(jobs, 0).factors.device });
  let first = 0;
  for (const { factors } of jobs) {
    const end = first + item(factors.shape, 0);
    using place = all.slice(0, first, end);
    copyInto("computeRoots", factors, place);
    first = end;
  }
  return all;
}

function move(from: Tensor, i: number, to: Tensor, j: number): void {
  scope(() => {
    copyInto("computeRoots", from.slice(0, i, i + 1), to.slice(0, j, j + 1));
  });
}
