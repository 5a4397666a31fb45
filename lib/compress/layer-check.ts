/**
 * A small sketch of a layer, kept in the manifest, from which its error can be computed again with the
 * output alone: neither the original weights nor the calibration data are needed.
 *
 * With `H = R R^T` and `k` random sign vectors `w`, the probes `S = R w` satisfy `E[S S^T] = H`, so
 * `||(W - Q) S||^2 / k` is an unbiased estimate of `tr((W - Q) H (W - Q)^T)`. The sketch holds `S` and
 * `W S`; a verifier reads `Q` from the file. To keep it small only the rows of the sampled report are
 * looked at, and their `W S` is folded into at most 64 sums with random signs, which leaves the
 * estimate unbiased. Expect it within some 20 % of the exact error; computed twice from the same
 * weights it is the same number.
 *
 * Without calibration data `S` is `w` itself and the estimate is of `||W - Q||^2 / ||W||^2`.
 */
import type { InputGram } from "../curvature/index.js";
import { FormatError, OsculateError } from "../errors.js";
import { sha256InPieces } from "../io/index.js";
import { gptqFactor } from "../ops/gptq-factor.js";
import { FLOAT64_COLUMNS } from "./factor-ladder.js";
import { reportRows } from "./layer-report.js";

const PROBES = 4;
const BUCKETS = 64;
/** Of a convolution with many groups only so many columns are looked at, in whole groups. */
const MAX_GROUPED_COLUMNS = 512;
/** Damping of the factorization behind `S`: far below what a quantizer adds, enough for a singular H. */
const DAMPINGS = [1e-6, 1e-4, 1e-2];

/** As in the manifest. */
export interface LayerCheck {
  /** SHA-256 of the dequantized weights, float32 `[rows, columns]`, little-endian. */
  readonly weights_sha256: string;
  /** "activations": weighted by the calibration data. "weights": plain. */
  readonly kind: "activations" | "weights";
  readonly probes: number;
  /** Convolution groups that were looked at. */
  readonly groups: readonly number[];
  /** `S`, bfloat16, `[columns, probes]` for each of the groups; base64. Absent for "weights". */
  readonly inputs?: string;
  /** Folded `W S`, float32, `[buckets, probes]` for each of the groups; base64. */
  readonly outputs: string;
  /** What the estimate is relative to: `tr(W H W^T)` over the same rows. */
  readonly energy: number;
  /** The estimate for the weights written. */
  readonly error: number;
}

export interface CheckedShape {
  readonly rows: number;
  readonly columns: number;
  readonly groups: number;
}

/** +1 or -1 for a place in one of a few streams: a hash, the same everywhere. */
function sign(stream: number, index: number): 1 | -1 {
  let x = Math.imul(index + 1, 0x9e3779b1) ^ Math.imul(stream + 1, 0x85ebca6b);
  x = Math.imul(x ^ (x >>> 16), 0x7feb352d);
  x = Math.imul(x ^ (x >>> 15), 0x846ca68b);
  return ((x ^ (x >>> 16)) & 1) === 0 ? 1 : -1;
}

const rowStream = 1000;

function chosenGroups({ groups, columns }: CheckedShape): number[] {
  const count = Math.min(groups, Math.max(1, Math.floor(MAX_GROUPED_COLUMNS / columns)));
  return Array.from({ length: count }, (_, i) => Math.floor((i * groups) / count));
}

const toBits = new Uint32Array(1);
const toFloat = new Float32Array(toBits.buffer);

/** Rounds to bfloat16, half to even. */
function bfloat16(value: number): number {
  toFloat[0] = value;
  const bits = toBits[0] ?? 0;
  return ((bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16) & 0xffff;
}

function fromBfloat16(code: number): number {
  toBits[0] = code << 16;
  return toFloat[0] ?? 0;
}

function encode(array: Uint16Array | Float32Array): string {
  return Buffer.from(array.buffer, array.byteOffset, array.byteLength).toString("base64");
}

function decode(text: string, bytes: number, name: string): ArrayBuffer {
  const buffer = Buffer.from(text, "base64");
  if (buffer.length !== bytes) {
    throw new FormatError(
      `verify: expected ${bytes} bytes in ${name} but received ${buffer.length}`,
    );
  }
  return new Uint8Array(buffer).buffer;
}

/** `[columns, probes]` bfloat16 codes of `S = R w`; undefined when H cannot be factorized. */
async function probeInputs(
  gram: InputGram,
  columns: number,
  signal: AbortSignal | undefined,
): Promise<Uint16Array | undefined> {
  const matrix = await gram.matrix();
  try {
    for (const dampPercent of DAMPINGS) {
      try {
        const precision = columns <= FLOAT64_COLUMNS ? "float64" : "float32";
        const factored = await gptqFactor(matrix, {
          dampPercent,
          actOrder: false,
          precision,
          signal,
        });
        const factor = await factored.factor.data();
        factored.factor.dispose();
        return await signedSums(factor as Float32Array, factored, columns);
      } catch (error) {
        const failed = error instanceof OsculateError && error.code === "NOT_POSITIVE_DEFINITE";
        if (!failed) throw error;
      }
    }
    return undefined;
  } finally {
    matrix.dispose();
  }
}

async function signedSums(
  factor: Float32Array,
  { diagonal, dead }: { diagonal: Float64Array; dead: Uint8Array },
  columns: number,
): Promise<Uint16Array> {
  const scaled = new Float64Array(columns * PROBES);
  for (let column = 0; column < columns; column += 1) {
    if (dead[column] === 1) continue; // its 1 on the diagonal is not a part of H
    for (let probe = 0; probe < PROBES; probe += 1) {
      scaled[column * PROBES + probe] = (diagonal[column] ?? 0) * sign(probe, column);
    }
  }
  const result = new Uint16Array(columns * PROBES);
  for (let row = 0; row < columns; row += 1) {
    // R = (I + N) diag(R_jj), N strictly upper: what lies below the diagonal is not defined.
    for (let probe = 0; probe < PROBES; probe += 1) {
      let sum = scaled[row * PROBES + probe] ?? 0;
      for (let column = row + 1; column < columns; column += 1) {
        sum += (factor[row * columns + column] ?? 0) * (scaled[column * PROBES + probe] ?? 0);
      }
      result[row * PROBES + probe] = dead[row] === 1 ? 0 : bfloat16(sum);
    }
    if (row % 128 === 127) await new Promise(setImmediate);
  }
  return result;
}

/** `[columns, probes]` values of S for one group. */
function probesOf(inputs: Uint16Array | undefined, place: number, columns: number): Float64Array {
  const values = new Float64Array(columns * PROBES);
  const start = place * columns * PROBES;
  for (let at = 0; at < values.length; at += 1) {
    const column = Math.floor(at / PROBES);
    values[at] =
      inputs === undefined
        ? sign(at % PROBES, start / PROBES + column)
        : fromBfloat16(inputs[start + at] ?? 0);
  }
  return values;
}

/** Folded `weight S` of all looked-at groups: `[buckets, probes]` each. */
function project(
  weight: Float32Array,
  shape: CheckedShape,
  groups: readonly number[],
  inputs: Uint16Array | undefined,
): Float64Array {
  const { columns } = shape;
  const groupRows = shape.rows / shape.groups;
  const rows = reportRows(groupRows, "sampled");
  const buckets = Math.min(BUCKETS, rows.length);
  const result = new Float64Array(groups.length * buckets * PROBES);
  groups.forEach((group, place) => {
    const probes = probesOf(inputs, place, columns);
    rows.forEach((row, index) => {
      const start = (group * groupRows + row) * columns;
      const folded = index < buckets ? 1 : sign(rowStream, index);
      const bucket = (place * buckets + (index % buckets)) * PROBES;
      for (let probe = 0; probe < PROBES; probe += 1) {
        let sum = 0;
        for (let column = 0; column < columns; column += 1) {
          sum += (weight[start + column] ?? 0) * (probes[column * PROBES + probe] ?? 0);
        }
        result[bucket + probe] = (result[bucket + probe] ?? 0) + folded * sum;
      }
    });
  });
  return result;
}

function estimate(before: Float32Array, after: Float64Array, energy: number): number {
  let sum = 0;
  before.forEach((value, at) => {
    sum += (value - (after[at] ?? 0)) ** 2;
  });
  const error = sum / PROBES;
  return energy > 0 ? error / energy : 0;
}

/** Squares of the rows that are looked at. */
function plainEnergy(weight: Float32Array, shape: CheckedShape, groups: readonly number[]): number {
  const groupRows = shape.rows / shape.groups;
  let sum = 0;
  for (const group of groups) {
    for (const row of reportRows(groupRows, "sampled")) {
      const start = (group * groupRows + row) * shape.columns;
      for (let at = start; at < start + shape.columns; at += 1) sum += (weight[at] ?? 0) ** 2;
    }
  }
  return sum;
}

/** SHA-256 of a weight as `weights_sha256` means it. */
export function weightDigest(weight: Float32Array): Promise<string> {
  return sha256InPieces(new Uint8Array(weight.buffer, weight.byteOffset, weight.byteLength));
}

/**
 * Makes the sketch of a layer.
 *
 * @param before the original weights, `[rows, columns]`. @param after the dequantized ones.
 * @param grams one per group; absent without calibration data.
 * @param energyOf `tr(W H W^T)` of a group over the rows of the sampled report.
 */
export async function makeCheck(
  shape: CheckedShape,
  {
    before,
    after,
    grams,
    energyOf,
    signal,
  }: {
    before: Float32Array;
    after: Float32Array;
    grams: readonly InputGram[] | undefined;
    energyOf: (group: number) => Promise<number>;
    signal: AbortSignal | undefined;
  },
): Promise<LayerCheck> {
  const groups = chosenGroups(shape);
  const { columns } = shape;
  let inputs: Uint16Array | undefined;
  let energy = 0;
  if (grams !== undefined) {
    inputs = new Uint16Array(groups.length * columns * PROBES);
    for (const [place, group] of groups.entries()) {
      const gram = grams[group];
      const probes = gram && gram.count > 0 ? await probeInputs(gram, columns, signal) : undefined;
      if (probes === undefined) {
        inputs = undefined;
        break;
      }
      inputs.set(probes, place * columns * PROBES);
      energy += await energyOf(group);
    }
  }
  if (inputs === undefined) energy = plainEnergy(before, shape, groups);
  const outputs = Float32Array.from(project(before, shape, groups, inputs));
  return {
    weights_sha256: await weightDigest(after),
    kind: inputs === undefined ? "weights" : "activations",
    probes: PROBES,
    groups,
    ...(inputs === undefined ? {} : { inputs: encode(inputs) }),
    outputs: encode(outputs),
    energy,
    error: estimate(outputs, project(after, shape, groups, inputs), energy),
  };
}

/**
 * Computes the estimate of a sketch again, for the weights found in a file.
 *
 * @throws FormatError when the sketch does not fit the shape.
 */
export function recomputeError(
  check: LayerCheck,
  shape: CheckedShape,
  after: Float32Array,
): number {
  const { columns } = shape;
  const groups = chosenGroups(shape);
  if (check.probes !== PROBES || check.groups.join() !== groups.join()) {
    throw new FormatError("verify: the sketch of a layer was made by another version of osculate");
  }
  const inputs =
    check.inputs === undefined
      ? undefined
      : new Uint16Array(decode(check.inputs, 2 * groups.length * columns * PROBES, "inputs"));
  const projected = project(after, shape, groups, inputs);
  const outputs = new Float32Array(decode(check.outputs, 4 * projected.length, "outputs"));
  return estimate(outputs, projected, check.energy);
}
