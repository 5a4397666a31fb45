import { mkdtempSync, rmSync, writeFileSync, existsSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/**
 * The inputs of every case, made by one counter-based generator, so that a number depends only on (stream, index):
 *
 *   bits(stream, i)   = the 32-bit finalizer of MurmurHash3, twice, over i and the stream
 *   normal(stream, i) = Box-Muller of bits(stream, 2i), bits(stream, 2i + 1), in float64
 *   X[t, j] = s_j a[t, j]   float32 [tokens, in]: a[t, .] is a unit-variance autoregression along the channels,
 *                           a[t, 0] = n, a[t, j] = 0.8 a[t, j-1] + 0.6 n;  s_j = exp(n / 2), so that channels differ in
 *                           size as they do in real layers, and act-order has something to order
 *   W[o, j] = 0.02 n        float32 [out, in]
 *
 * osculate and the peers read the same files; nothing is generated twice.
 */

function bits(stream: number, index: number): number {
  let h = Math.imul(index, 0x9e3779b1) ^ Math.imul(stream + 1, 0x85ebca6b);
  for (let round = 0; round < 2; ++round) {
    h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
    h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
    h ^= h >>> 16;
  }
  return h >>> 0;
}

function normal(stream: number, index: number): number {
  const u = (bits(stream, 2 * index) + 1) / 2 ** 32;
  const v = bits(stream, 2 * index + 1) / 2 ** 32;
  return Math.sqrt(-2 * Math.log(u)) * Math.cos(2 * Math.PI * v);
}

/** Streams: one a kind of number, so that no two inputs share a number. */
const streams = { activations: 1, scales: 2, weights: 3, numbers: 16 };

/** Correlated activations, float32 `[tokens, columns]`. */
export function makeActivations(tokens: number, columns: number): Float32Array {
  const scale = Float64Array.from({ length: columns }, (_, j) =>
    Math.exp(normal(streams.scales, j) / 2),
  );
  const x = new Float32Array(tokens * columns);
  for (let t = 0, i = 0; t < tokens; ++t) {
    let a = 0;
    for (let j = 0; j < columns; ++j, ++i) {
      const n = normal(streams.activations, i);
      a = j === 0 ? n : 0.8 * a + 0.6 * n;
      x[i] = a * scale[j]!;
    }
  }
  return x;
}

/** Weights, float32 `[out, columns]`. */
export function makeWeights(out: number, columns: number): Float32Array {
  const w = new Float32Array(out * columns);
  for (let i = 0; i < w.length; ++i) w[i] = 0.02 * normal(streams.weights, i);
  return w;
}

/** Numbers of deviation `scale`; stream 0, 1, ... of them share none with each other or with the inputs above. */
export function makeNumbers(stream: number, count: number, scale: number): Float32Array {
  const x = new Float32Array(count);
  for (let i = 0; i < count; ++i) x[i] = scale * normal(streams.numbers + stream, i);
  return x;
}

/** A temporary folder of raw little-endian arrays, the way osculate and the peers exchange data. */
export class Exchange {
  readonly folder = mkdtempSync(join(tmpdir(), "osculate-bench-"));

  path(name: string): string {
    return join(this.folder, name);
  }

  write(name: string, data: ArrayBufferView): string {
    const path = this.path(name);
    writeFileSync(path, new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
    return path;
  }

  has(name: string): boolean {
    return existsSync(this.path(name));
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}
