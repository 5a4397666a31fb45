import type { Peer } from "./peer.js";
import type { Case } from "./cases.js";

/**
 * When two results are the same. The figures are computed by bench/peers/compare.py.
 *
 * GPTQ: the peers factor in float32, osculate in float64 up to 4096 columns, and both round the same numbers computed in
 * another order. A weight that lands within an ulp or so of half-way flips, and a flipped code moves the later weights of
 * its row, which flips more of them. The peers differ by the same amount among themselves: r against b, or r against r with
 * a float64 factor, has 99.97 to 99.999 % equal codes. Another grid, order, damping or a missing update changes several
 * per cent of the codes and the relative error by far more than 1 %.
 */
const limits = {
  /** Least share of equal codes. */
  equalCodes: 0.999,
  /** Most relative difference of the relative output error. */
  relativeError: 0.01,
  /** Largest difference of two Gram matrices over the largest entry: float32 sums of 16384 products. */
  gram: 1e-5,
  /** Relative difference of two scales of a row, both rounded to float16 (exactly equal but for ties). */
  scales: 1e-3,
  /** Difference of a step's results over their size and that of the move: some ten roundings of float32, in another order. */
  step: 1e-5,
  /**
   * Difference of two functions of a matrix over the largest element: n eps times a condition number of some 35. The published
   * Pade code is exact to about 1e-2 at condition 4, 20 by the Frobenius norm that it divides by.
   */
  matrices: 1e-3,
  pade: 1e-2,
};

export interface Agreement {
  /** Null: the peer computes something else, for its speed. */
  readonly agrees: boolean | null;
  /** The figures, for people. */
  readonly text: string;
}

export async function compare(
  benchCase: Case,
  peer: Peer,
  name: string,
  files: Record<string, string>,
): Promise<Agreement> {
  const found = (await peer.ask("compare", { peer: name, files })) as Record<string, number>;
  switch (benchCase.name) {
    case "input_gram":
      return {
        agrees: found["difference"]! <= limits.gram,
        text: `largest difference ${found["difference"]!.toExponential(1)} of the largest entry`,
      };
    case "adahessian_step":
    case "sophia_step":
      if (found["anotherStep"] === 1)
        return { agrees: null, text: "another step: what is compared is bytes a second" };
      return {
        agrees: found["difference"]! <= limits.step,
        text: `largest difference ${found["difference"]!.toExponential(1)} of the terms`,
      };
    case "shampoo_roots":
    case "matrix_sqrt":
      return {
        agrees: found["difference"]! <= (name === "r" ? limits.pade : limits.matrices),
        text: `largest difference ${found["difference"]!.toExponential(1)} of the largest element`,
      };
    case "rtn":
      return {
        agrees: found["differentBesidesTies"] === 0 && found["scaleDifference"]! <= limits.scales,
        text: `${found["different"]!} codes differ, ${found["differentBesidesTies"]!} of them not by a tie`,
      };
    case "gptq":
    case "gptq_desc_act": {
      const ratio = found["relativeError"]! / found["peerRelativeError"]!;
      return {
        agrees:
          found["equalCodes"]! >= limits.equalCodes && Math.abs(ratio - 1) <= limits.relativeError,
        text:
          `${(found["equalCodes"]! * 100).toFixed(4)} % equal codes, relative error ` +
          `${found["relativeError"]!.toPrecision(5)} (peer ${found["peerRelativeError"]!.toPrecision(5)})`,
      };
    }
  }
}
