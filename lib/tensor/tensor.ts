import {
  addon,
  copyBetween,
  call,
  callSync,
  enqueue,
  requireDevice,
  type Device,
  type NativeTensor,
  type Storage,
  type TypedArray,
} from "../binding/index.js";
import {
  ArgumentError,
  BindingError,
  DTypeError,
  DeviceError,
  DisposedError,
  ShapeError,
  expected,
} from "../errors.js";
import {
  type ArrayOf,
  type DType,
  bytesPerElement,
  dtypeCode,
  dtypeOf,
  dtypes,
  holds,
  newArray,
} from "./dtype.js";
import { derived, disposed } from "./observer.js";
import { track, untrack } from "./scope.js";
import { contiguousStrides, isContiguous, sizeOf } from "./shape.js";

export interface TensorOptions {
  /** Default: the dtype of the array given, else float32. */
  readonly dtype?: DType | undefined;
  /** Default "cpu". */
  readonly device?: Device | undefined;
}

export interface FromOptions extends TensorOptions {
  /** Use the typed array itself instead of a copy and hold it until the tensor is disposed. Default false. */
  readonly borrow?: boolean | undefined;
}

/** One storage, shared by a tensor and its views; freed with the last of them. */
class SharedStorage {
  users = 0;
  constructor(readonly storage: Storage) {}
  release(): void {
    if (--this.users === 0) this.storage.dispose();
  }
}

function checkDevice(fn: string, device: Device = "cpu"): Device {
  requireDevice(fn, device);
  return device;
}

function checkDType(fn: string, dtype: DType): DType {
  if (!dtypes.includes(dtype))
    throw new DTypeError(expected(fn, `one of ${dtypes.join(", ")}`, "dtype", dtype));
  return dtype;
}

/**
 * An n-dimensional array in native memory: contiguous, or a strided view over another tensor's memory.
 *
 * Work on tensors is queued on their device and runs in order on a thread of its own; `await t.data()` waits for it.
 * Free a tensor with `dispose()`, `using`, or `scope`; the garbage collector frees what was forgotten, late. A view keeps
 * the memory alive until it is disposed too.
 *
 * @example
 * const t = Tensor.from(new Float32Array([1, 2, 3, 4, 5, 6]), [2, 3]);
 * await t.transpose().data(); // Float32Array [1, 4, 2, 5, 3, 6]
 */
export class Tensor<D extends DType = DType> {
  readonly shape: readonly number[];
  /** In elements. */
  readonly strides: readonly number[];
  readonly dtype: D;
  readonly device: Device;
  /** Number of elements. */
  readonly size: number;
  readonly #offset: number;
  #shared: SharedStorage | undefined;

  private constructor(
    shared: SharedStorage,
    dtype: D,
    device: Device,
    shape: readonly number[],
    strides: readonly number[],
    offset: number,
  ) {
    this.#shared = shared;
    this.dtype = dtype;
    this.device = device;
    this.shape = Object.freeze([...shape]);
    this.strides = Object.freeze([...strides]);
    this.size = shape.reduce((product, dimension) => product * dimension, 1);
    this.#offset = offset;
    ++shared.users;
    track(this);
  }

  /**
   * A tensor with the values of `data`, row-major.
   *
   * @param data typed array, or numbers (made float32 unless `dtype` says otherwise). float16 and bfloat16 are given as
   *   Uint16Array bit patterns with `dtype`.
   * @param shape default `[data.length]`; its product must be `data.length`.
   * @throws ShapeError, DTypeError, DeviceError (`OUT_OF_MEMORY`, `DEVICE_UNAVAILABLE`)
   */
  static from(
    data: Float32Array,
    shape?: readonly number[],
    options?: FromOptions & { dtype?: "float32" | undefined },
  ): Tensor<"float32">;
  static from(
    data: readonly number[],
    shape?: readonly number[],
    options?: FromOptions & { dtype?: undefined },
  ): Tensor<"float32">;
  static from(
    data: Float64Array,
    shape?: readonly number[],
    options?: FromOptions & { dtype?: "float64" | undefined },
  ): Tensor<"float64">;
  static from<D extends DType>(
    data: TypedArray | readonly number[],
    shape: readonly number[] | undefined,
    options: FromOptions & { dtype: D },
  ): Tensor<D>;
  static from(
    data: TypedArray | readonly number[],
    shape?: readonly number[],
    options?: FromOptions,
  ): Tensor;
  static from(
    data: TypedArray | readonly number[],
    shape?: readonly number[],
    options: FromOptions = {},
  ): Tensor {
    const fn = "Tensor.from";
    const device = checkDevice(fn, options.device);
    if (Array.isArray(data)) {
      const dtype = checkDType(fn, options.dtype ?? "float32");
      const numbers = Float64Array.from(data as readonly number[]);
      if (dtype === "float64") return Tensor.#fromTyped(numbers, shape, dtype, device, false);
      const wide = Tensor.#fromTyped(numbers, shape, "float64", device, device === "cpu");
      const narrow = wide.toDType(dtype);
      wide.dispose();
      return narrow;
    }
    if (!ArrayBuffer.isView(data) || data instanceof DataView) {
      throw new ArgumentError(expected(fn, "a typed array or an array of numbers", "data", data));
    }
    const array = data;
    const dtype = options.dtype ?? dtypeOf(array);
    if (dtype === undefined) {
      throw new DTypeError(
        expected(fn, '"float16" or "bfloat16"', "dtype of a Uint16Array", undefined),
      );
    }
    checkDType(fn, dtype);
    if (!holds(array, dtype))
      throw new DTypeError(expected(fn, `an array that holds ${dtype}`, "data", data));
    return Tensor.#fromTyped(array, shape, dtype, device, options.borrow ?? false);
  }

  static #fromTyped<D extends DType>(
    array: TypedArray,
    shape: readonly number[] | undefined,
    dtype: D,
    device: Device,
    borrow: boolean,
  ): Tensor<D> {
    const fn = "Tensor.from";
    const dims = shape ?? [array.length];
    if (sizeOf(fn, dims) !== array.length) {
      throw new ShapeError(
        expected(fn, `shape with ${array.length} elements, as data has`, "shape", dims),
      );
    }
    if (borrow && device !== "cpu") {
      throw new ArgumentError(
        `${fn}: expected borrow with device "cpu" but received "${device}", which has memory of its own`,
      );
    }
    if (borrow) return Tensor.#over(new (addon().Storage)(array), dtype, device, dims);
    const tensor = Tensor.empty(dims, { dtype, device });
    tensor.#shared?.storage.set(array);
    return tensor;
  }

  static #over<D extends DType>(
    storage: Storage,
    dtype: D,
    device: Device,
    shape: readonly number[],
  ): Tensor<D> {
    return new Tensor(
      new SharedStorage(storage),
      dtype,
      device,
      shape,
      contiguousStrides(shape),
      0,
    );
  }

  /** A tensor whose values are not set. */
  static empty<D extends DType = "float32">(
    shape: readonly number[],
    options: TensorOptions & { dtype?: D | undefined } = {},
  ): Tensor<D> {
    const fn = "Tensor.empty";
    const dtype = checkDType(fn, options.dtype ?? "float32") as D;
    const device = checkDevice(fn, options.device);
    const bytes = sizeOf(fn, shape) * bytesPerElement(dtype);
    let storage: Storage;
    try {
      storage = new (addon().Storage)(bytes, device === "cpu" ? undefined : device);
    } catch (cause) {
      if (cause instanceof BindingError) throw cause;
      throw new DeviceError(
        "OUT_OF_MEMORY",
        `${fn}: ${(cause as Error).message}, for shape [${shape.join(", ")}] of ${dtype} on ${device}`,
        { cause, details: { requested: bytes } },
      );
    }
    return Tensor.#over(storage, dtype, device, shape);
  }

  /** A tensor of zeros. */
  static zeros<D extends DType = "float32">(
    shape: readonly number[],
    options: TensorOptions & { dtype?: D | undefined } = {},
  ): Tensor<D> {
    const tensor = Tensor.empty(shape, options);
    enqueue("Tensor.zeros", "fill", tensor.device, { y: tensor.native("Tensor.zeros"), value: 0 });
    return tensor;
  }

  get rank(): number {
    return this.shape.length;
  }

  get byteLength(): number {
    return this.size * bytesPerElement(this.dtype);
  }

  get disposed(): boolean {
    return this.#shared === undefined;
  }

  get isContiguous(): boolean {
    return isContiguous(this.shape, this.strides);
  }

  /** The values in logical order, in a fresh typed array. Waits for the work queued before; rejects with its error. */
  async data(): Promise<ArrayOf[D]> {
    const array = newArray(this.dtype, this.size);
    const x = this.native("Tensor.data");
    await call("Tensor.data", "convert", this.device, {
      x,
      y: nativeArray(array, this.dtype, this.shape),
    });
    return array;
  }

  /** Like `data()`, blocking. */
  dataSync(): ArrayOf[D] {
    const array = newArray(this.dtype, this.size);
    const x = this.native("Tensor.dataSync");
    callSync("Tensor.dataSync", "convert", this.device, {
      x,
      y: nativeArray(array, this.dtype, this.shape),
    });
    return array;
  }

  /**
   * The same values in another dtype (a copy, contiguous). Real numbers round half to even; real to integer truncates toward
   * zero and saturates, NaN becomes 0; to bool is `x != 0`.
   */
  toDType<E extends DType>(dtype: E): Tensor<E> {
    const fn = "Tensor.toDType";
    const x = this.native(fn);
    const y = Tensor.empty(this.shape, { dtype: checkDType(fn, dtype) as E, device: this.device });
    enqueue(fn, "convert", this.device, { x, y: y.native(fn) });
    return derived({ kind: "convert" }, this, y);
  }

  /** A copy in row-major order (always a new tensor, so that both can be disposed). */
  contiguous(): Tensor<D> {
    return this.toDType(this.dtype);
  }

  /**
   * A copy on another device (on the same one: `contiguous()`). Returns at once; the copy takes its place in the order of
   * work on both devices.
   *
   * @throws DeviceError `DEVICE_UNAVAILABLE`, `OUT_OF_MEMORY`
   */
  to(device: Device): Tensor<D> {
    const fn = "Tensor.to";
    if (checkDevice(fn, device) === this.device) return this.contiguous();
    const x = this.isContiguous ? this : this.contiguous();
    try {
      const y = Tensor.empty(this.shape, { dtype: this.dtype, device });
      copyBetween(this.device, device, x.native(fn), y.native(fn));
      return derived({ kind: "convert" }, x, y);
    } finally {
      if (x !== this) x.dispose();
    }
  }

  /** A view of the same elements; the tensor must be contiguous. One dimension may be -1. */
  reshape(shape: readonly number[]): Tensor<D> {
    const fn = "Tensor.reshape";
    if (!this.isContiguous) {
      throw new ArgumentError(
        `${fn}: expected a contiguous tensor but this is a strided view: call contiguous() first`,
      );
    }
    const known = shape.filter((dimension) => dimension !== -1);
    const holes = shape.length - known.length;
    const rest = sizeOf(fn, known);
    const dims = shape.map((dimension) =>
      dimension === -1 ? (rest === 0 ? 0 : this.size / rest) : dimension,
    );
    if (holes > 1 || !dims.every(Number.isInteger) || sizeOf(fn, dims) !== this.size) {
      throw new ShapeError(
        expected(
          fn,
          `a shape with the ${this.size} elements of [${this.shape.join(", ")}]`,
          "shape",
          shape,
        ),
      );
    }
    const view = this.#view(fn, dims, contiguousStrides(dims), this.#offset);
    return derived({ kind: "reshape" }, this, view);
  }

  /** A view with two axes exchanged; default the last two. */
  transpose(a = -2, b = -1): Tensor<D> {
    const fn = "Tensor.transpose";
    const i = this.#axis(fn, "a", a);
    const j = this.#axis(fn, "b", b);
    return this.#permuted(
      fn,
      this.shape.map((_, axis) => (axis === i ? j : axis === j ? i : axis)),
    );
  }

  /** A view whose axis `i` is axis `order[i]` of this tensor; `order` names every axis once. */
  permute(order: readonly number[]): Tensor<D> {
    const fn = "Tensor.permute";
    const axes = order.map((axis) => this.#axis(fn, "order", axis));
    if (axes.length !== this.rank || new Set(axes).size !== this.rank) {
      throw new ArgumentError(
        expected(
          fn,
          `each of the ${this.rank} axes of [${this.shape.join(", ")}] once`,
          "order",
          order,
        ),
      );
    }
    return this.#permuted(fn, axes);
  }

  #permuted(fn: string, order: readonly number[]): Tensor<D> {
    const pick = (values: readonly number[]) => order.map((axis) => values[axis] ?? 0);
    const view = this.#view(fn, pick(this.shape), pick(this.strides), this.#offset);
    return derived({ kind: "permute", order }, this, view);
  }

  /**
   * A view that repeats dimensions of one element, and new ones in front, up to `shape`, as broadcasting does. No memory:
   * repeated elements have a stride of 0.
   */
  expand(shape: readonly number[]): Tensor<D> {
    const fn = "Tensor.expand";
    sizeOf(fn, shape);
    const added = shape.length - this.rank;
    const fits = this.shape.every((length, i) => length === 1 || length === shape[i + added]);
    if (added < 0 || !fits) {
      throw new ShapeError(
        expected(fn, `a shape that [${this.shape.join(", ")}] broadcasts to`, "shape", shape),
      );
    }
    const strides = shape.map((length, i) =>
      i < added || (this.shape[i - added] === 1 && length !== 1)
        ? 0
        : (this.strides[i - added] ?? 0),
    );
    return derived({ kind: "expand" }, this, this.#view(fn, shape, strides, this.#offset));
  }

  /** A view of the elements `start <= index < end` of one axis. */
  slice(axis: number, start: number, end: number): Tensor<D> {
    const fn = "Tensor.slice";
    const at = this.#axis(fn, "axis", axis);
    const length = this.shape[at] ?? 0;
    if (
      !Number.isInteger(start) ||
      !Number.isInteger(end) ||
      start < 0 ||
      end < start ||
      end > length
    ) {
      throw new ArgumentError(
        expected(fn, `0 <= start <= end <= ${length}`, `the range of axis ${at}`, [start, end]),
      );
    }
    const shape = this.shape.map((dimension, i) => (i === at ? end - start : dimension));
    const from = this.#offset + start * (this.strides[at] ?? 0);
    const view = this.#view(fn, shape, this.strides, from);
    return derived({ kind: "slice", axis: at, start, end }, this, view);
  }

  /** Frees the memory, or this view's hold on it. Safe to call twice; work already queued still finishes. */
  dispose(): void {
    if (this.#shared === undefined) return;
    this.#shared.release();
    this.#shared = undefined;
    untrack(this);
    disposed(this);
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  /** @internal The view as kernels take it. */
  native(fn: string): NativeTensor {
    const { storage } = this.#live(fn);
    return [storage, dtypeCode(this.dtype), this.#offset, this.shape, this.strides];
  }

  #view(
    fn: string,
    shape: readonly number[],
    strides: readonly number[],
    offset: number,
  ): Tensor<D> {
    return new Tensor(this.#live(fn), this.dtype, this.device, shape, strides, offset);
  }

  #live(fn: string): SharedStorage {
    if (this.#shared === undefined) {
      throw new DisposedError(
        `${fn}: the tensor [${this.shape.join(", ")}] ${this.dtype} was disposed`,
      );
    }
    return this.#shared;
  }

  #axis(fn: string, name: string, axis: number): number {
    const at = axis < 0 ? axis + this.rank : axis;
    if (!Number.isInteger(at) || at < 0 || at >= this.rank) {
      throw new ArgumentError(expected(fn, `an axis of a tensor of rank ${this.rank}`, name, axis));
    }
    return at;
  }
}

/** @internal A typed array as kernels take it: no copy, the array is held while the kernel runs. */
export function nativeArray(
  array: TypedArray,
  dtype: DType,
  shape: readonly number[] = [array.length],
): NativeTensor {
  return [array, dtypeCode(dtype), 0, shape, contiguousStrides(shape)];
}
