import { addon } from "../lib/binding/index.js";
import type { Case } from "./cases.js";
import { tokens } from "./cases.js";
import type { Peers } from "./peer.js";
import { waitForQuiet } from "./quiet.js";
import { stepBytes } from "./step-cases.js";

/** What the machine reaches at a number of threads: flops a second, bytes a second (read and written both counted). */
export interface Peak {
  readonly sgemm: number;
  readonly dgemm: number;
  readonly copy: number;
}

/** Measurements of our own library, in addons that have them. */
interface PeakAddon {
  /** Best flops a second of square products of side n. */
  gemmPeak?(dtype: "float32" | "float64", n: number, threads: number): number;
}

/** Measured this often, the best of all counts. */
const peakVisits = 3;

/** The better of our BLAS and the peers', so that the floor is the stricter one. `undefined`: neither could be measured. */
export async function measurePeak(
  peers: Peers,
  threads: number,
  patienceMs: number,
): Promise<Peak | undefined> {
  const found: Peak[] = [];
  const peer = peers.processes[0];
  const native = addon() as PeakAddon;
  for (let visit = 0; visit < peakVisits; ++visit) {
    await waitForQuiet(patienceMs);
    if (peer) found.push((await peer.ask("peaks", { threads })) as unknown as Peak);
    if (native.gemmPeak) {
      const [sgemm, dgemm] = [
        native.gemmPeak("float32", 2048, threads),
        native.gemmPeak("float64", 2048, threads),
      ];
      found.push({ sgemm, dgemm, copy: 0 });
    }
  }
  if (found.length === 0) return undefined;
  const most = (key: keyof Peak) => Math.max(...found.map((peak) => peak[key]));
  return { sgemm: most("sgemm"), dgemm: most("dgemm"), copy: most("copy") };
}

/** Largest number of columns whose matrix is factored in float64. */
const float64Columns = 4096;

/**
 * Milliseconds below which a case cannot go with the libraries of this machine.
 *
 * - gptq: one Cholesky, in^3/3 flops at the GEMM peak of its precision, and out in^2 flops of column updates at the sgemm peak
 * - input_gram: half of X^T X, in^2 tokens flops, at the sgemm peak
 * - rtn: float32 weights read and byte codes written once, at the speed of a copy
 * - steps: every vector read and written once, at the speed of a copy
 */
export function floorMs(benchCase: Case, peak: Peak | undefined): number | null {
  if (peak === undefined) return null;
  const { out, in: columns } = benchCase.size;
  switch (benchCase.name) {
    case "gptq":
    case "gptq_desc_act": {
      const factorPeak = columns <= float64Columns ? peak.dgemm : peak.sgemm;
      return (columns ** 3 / 3 / factorPeak + (out * columns ** 2) / peak.sgemm) * 1e3;
    }
    case "input_gram":
      return ((columns ** 2 * tokens) / peak.sgemm) * 1e3;
    case "adahessian_step":
    case "sophia_step":
      return peak.copy === 0
        ? null
        : ((stepBytes[benchCase.name] * out * columns) / peak.copy) * 1e3;
    case "shampoo_roots":
    case "matrix_sqrt":
      return null; // no method is known to need the fewest operations
    case "rtn":
      return peak.copy === 0 ? null : ((5 * out * columns) / peak.copy) * 1e3;
  }
}
