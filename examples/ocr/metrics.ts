import { BLANK } from "./decode.js";

/** Probabilities below this count as this, in losses and divergences. */
export const FLOOR = 1e-12;

/** Edit distance (insertions, deletions, substitutions) between two texts, by characters. */
export function levenshtein(a: string, b: string): number {
  const from = Array.from(a);
  const to = Array.from(b);
  let row = Array.from({ length: to.length + 1 }, (_, j) => j);
  for (let i = 1; i <= from.length; i++) {
    const next = [i];
    for (let j = 1; j <= to.length; j++) {
      const substitute = row[j - 1]! + (from[i - 1] === to[j - 1] ? 0 : 1);
      next.push(Math.min(substitute, row[j]! + 1, next[j - 1]! + 1));
    }
    row = next;
  }
  return row[to.length]!;
}

/**
 * CTC loss: minus the natural logarithm of the probability, summed over all alignments, that the
 * steps spell `labels` (forward algorithm in the log domain; Graves et al. 2006, section 4.1).
 *
 * @param probabilities `[steps, classes]`, row-major; floored at 1e-12.
 * @param labels classes without blanks.
 * @returns a value >= 0; infinity when there are too few steps for the labels.
 */
export function ctcLoss(probabilities: Float32Array, steps: number, labels: Int32Array): number {
  const classes = probabilities.length / steps;
  // blank, label, blank, label, ..., blank
  const states = 2 * labels.length + 1;
  const classAt = (s: number): number => (s % 2 === 0 ? BLANK : labels[(s - 1) / 2]!);
  const logP = (t: number, s: number): number =>
    Math.log(Math.max(FLOOR, probabilities[t * classes + classAt(s)]!));
  let alpha = new Float64Array(states).fill(-Infinity);
  alpha[0] = logP(0, 0);
  if (states > 1) alpha[1] = logP(0, 1);
  for (let t = 1; t < steps; t++) {
    const next = new Float64Array(states).fill(-Infinity);
    for (let s = 0; s < states; s++) {
      let reach = logAddExp(alpha[s]!, s > 0 ? alpha[s - 1]! : -Infinity);
      // A blank may be skipped between two different labels only.
      if (s > 1 && s % 2 === 1 && classAt(s) !== classAt(s - 2)) {
        reach = logAddExp(reach, alpha[s - 2]!);
      }
      next[s] = reach + logP(t, s);
    }
    alpha = next;
  }
  const total = logAddExp(alpha[states - 1]!, states > 1 ? alpha[states - 2]! : -Infinity);
  return total === 0 ? 0 : -total;
}

function logAddExp(a: number, b: number): number {
  const high = Math.max(a, b);
  if (high === -Infinity) return -Infinity;
  return high + Math.log1p(Math.exp(Math.min(a, b) - high));
}

/**
 * Sum over steps of `KL(p || q) = sum_c p_c ln(p_c / q_c)`, both floored at 1e-12; divide by the
 * number of steps for the mean. `p` is the reference.
 */
export function klDivergence(p: Float32Array, q: Float32Array): number {
  if (p.length !== q.length) {
    throw new RangeError(
      `klDivergence: expected ${p.length} values for q but received ${q.length}`,
    );
  }
  let sum = 0;
  for (let i = 0; i < p.length; i++) {
    const a = Math.max(FLOOR, p[i]!);
    const b = Math.max(FLOOR, q[i]!);
    if (a !== b) sum += a * Math.log(a / b);
  }
  return sum;
}

/** The four numbers of one model over all lines. */
export interface Score {
  /** Character error rate, a fraction. */
  readonly cer: number;
  /** Lines read without any error, a count. */
  readonly exact: number;
  /** Mean CTC loss of the truth, natural logarithm, a line. */
  readonly ctc: number;
  /** Mean KL divergence from the reference, natural logarithm, a time step. */
  readonly kl: number;
}

/** Gathers the four numbers line by line. */
export class Scorer {
  #errors = 0;
  #characters = 0;
  #exact = 0;
  #ctc = 0;
  #kl = 0;
  #lines = 0;
  #steps = 0;

  add(line: { truth: string; reading: string; ctc: number; klSum: number; steps: number }): void {
    const errors = levenshtein(line.truth, line.reading);
    this.#errors += errors;
    this.#characters += Array.from(line.truth).length;
    this.#exact += errors === 0 ? 1 : 0;
    this.#ctc += line.ctc;
    this.#kl += line.klSum;
    this.#steps += line.steps;
    this.#lines += 1;
  }

  score(): Score {
    return {
      cer: this.#errors / Math.max(1, this.#characters),
      exact: this.#exact,
      ctc: this.#ctc / Math.max(1, this.#lines),
      kl: this.#kl / Math.max(1, this.#steps),
    };
  }
}
