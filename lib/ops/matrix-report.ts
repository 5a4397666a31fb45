import { ArgumentError, NumericalError, type ErrorDetails } from "../errors.js";

/** Why there is no root of a matrix. `NOT_SYMMETRIC` counts as a wrong argument. */
export type MatrixFailure =
  "NOT_POSITIVE_DEFINITE" | "NOT_CONVERGED" | "NON_FINITE" | "NOT_SYMMETRIC";

/** How the computation of one matrix of a batch went. */
export interface MatrixReport {
  /** `undefined` when it converged. */
  readonly failure: MatrixFailure | undefined;
  readonly converged: boolean;
  /** Relative, from the matrices themselves; NaN when there is no result. */
  readonly residual: number;
  /** 0 for methods that do not iterate. */
  readonly iterations: number;
  /** Of the matrix, exact or estimated as the method does. */
  readonly largestEigenvalue: number;
  /** In which the result was computed. */
  readonly precision: "float32" | "float64";
}

/** Numbers a matrix in a kernel's report: OscCode, iterations or index, residual, largest eigenvalue, bits. */
export const REPORT_LENGTH = 5;

// The codes of native/core/status.h.
const failures = new Map<number, MatrixFailure>([
  [2, "NOT_SYMMETRIC"],
  [5, "NOT_POSITIVE_DEFINITE"],
  [6, "NON_FINITE"],
  [8, "NOT_CONVERGED"],
]);

/** Reads what a kernel reported of its matrices. */
export function readReports(numbers: Float64Array): MatrixReport[] {
  return Array.from({ length: numbers.length / REPORT_LENGTH }, (_, item) => {
    const [code = NaN, iterations = NaN, residual = NaN, largestEigenvalue = NaN, bits = NaN] =
      numbers.subarray(item * REPORT_LENGTH, (item + 1) * REPORT_LENGTH);
    const failure = failures.get(code);
    return {
      failure,
      converged: failure === undefined,
      residual,
      iterations: failure === "NON_FINITE" || failure === "NOT_SYMMETRIC" ? 0 : iterations,
      largestEigenvalue,
      precision: bits === 64 ? "float64" : "float32",
    };
  });
}

/** The error of the first matrix that failed, or `undefined`. `result` is what was asked for, e.g. "an inverse root". */
export function failureOf(
  fn: string,
  result: string,
  reports: readonly MatrixReport[],
): ArgumentError | NumericalError | undefined {
  const matrix = reports.findIndex((report) => !report.converged);
  const report = reports[matrix];
  if (report?.failure === undefined) return undefined;
  const { failure, residual, iterations, precision } = report;
  const where = reports.length > 1 ? `matrix ${matrix}` : "the matrix";
  const details: ErrorDetails = { matrix, residual, iterations, precision };
  switch (failure) {
    case "NOT_SYMMETRIC":
      return new ArgumentError(`${fn}: expected a symmetric matrix, but ${where} is not`, {
        details,
      });
    case "NON_FINITE":
      return new NumericalError(failure, `${fn}: ${where} has NaN or Inf`, { details });
    case "NOT_POSITIVE_DEFINITE":
      return new NumericalError(
        failure,
        `${fn}: ${where} is not positive definite in ${precision}`,
        {
          details,
        },
      );
    case "NOT_CONVERGED":
      return new NumericalError(
        failure,
        `${fn}: ${result} of ${where} did not converge: residual ${residual.toPrecision(3)} after ${iterations} iterations in ${precision}`,
        { details },
      );
  }
}
