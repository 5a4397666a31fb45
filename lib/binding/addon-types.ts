/** The only description of the native surface. Everything above is plain TypeScript. */

import type { TypedArray } from "./typed-array.js";

/** Native memory, owned or borrowed from a typed array. */
export interface Storage {
  readonly byteLength: number;
  readonly disposed: boolean;
  /** Copies the array in at once; only for storage no queued work knows yet. */
  set(array: TypedArray): void;
  dispose(): void;
}

export interface CancelToken {
  cancel(): void;
}

/** What holds the memory of a tensor. */
export type Owner = Storage | TypedArray;

/** A strided view as kernels take it: owner, dtype code, offset in elements, shape, strides in elements. */
export type NativeTensor = readonly [
  owner: Owner,
  dtype: number,
  offset: number,
  shape: readonly number[],
  strides: readonly number[],
];

/** Arguments of a kernel: the fields of `native/kernels.h` in camelCase. */
export type KernelArguments = Readonly<Record<string, NativeTensor | number | undefined>>;

/** The `ret_` fields of a kernel. */
export type KernelResults = Readonly<Record<string, number>>;

/** The fields of a kernel that a call gives, in the order in which native code reads them. */
export interface KernelSignature {
  readonly name: string;
  readonly fields: readonly {
    readonly name: string;
    readonly kind: "number" | "integer" | "tensor" | "optional";
  }[];
}

export type NativeProgress = (done: number, total: number) => void;

export interface AddonInfo {
  readonly cpuPath: "portable" | "avx2" | "avx512";
  readonly cpuFeatures: string;
  readonly blas: string;
  readonly threads: number;
  readonly tableVersion: number;
  readonly kernels: readonly string[];
}

export interface MemoryStats {
  /** Bytes handed out now. */
  readonly liveBytes: number;
  /** Most bytes handed out at once since the last reset. */
  readonly peakBytes: number;
  /** Freed bytes kept for reuse. */
  readonly cachedBytes: number;
  readonly liveBlocks: number;
}

/** A device with memory of its own that is open in this process. */
export interface OpenDevice {
  readonly processor: string;
  readonly versions: string;
  readonly build: string;
  readonly totalBytes: number;
  readonly missingKernels: readonly string[];
}

export interface Addon {
  readonly version: string;
  readonly Storage: new (source: number | TypedArray, device?: string) => Storage;
  readonly CancelToken: new () => CancelToken;
  /** In the order that calls number them. */
  kernels(): readonly KernelSignature[];
  /** The array from which calls take the numbers that describe their tensors; see pack.ts. */
  setArguments(numbers: Float64Array): void;
  run(
    kernel: number,
    device: number,
    token: CancelToken | undefined,
    onProgress: NativeProgress | undefined,
    ...owners: readonly Owner[]
  ): Promise<KernelResults>;
  runSync(kernel: number, device: number, ...owners: readonly Owner[]): KernelResults;
  enqueue(kernel: number, device: number, ...owners: readonly Owner[]): void;
  /** Copies contiguous x to contiguous y in the order of both devices' queues. */
  copy(from: number, to: number, ...owners: readonly Owner[]): void;
  /** Opens a plug-in, once a process. */
  openDevice(device: string, path: string): OpenDevice;
  /** Undefined: not open (always open: "cpu"). */
  deviceInfo(device: string): OpenDevice | undefined;
  info(): AddonInfo;
  /** `resetPeak` starts a new measurement of `peakBytes` from what is live now. */
  memoryStats(resetPeak?: boolean, device?: string): MemoryStats;
  setThreads(count: number): void;
}
