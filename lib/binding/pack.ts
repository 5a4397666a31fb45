import type {
  Addon,
  KernelArguments,
  KernelSignature,
  NativeTensor,
  Owner,
} from "./addon-types.js";
import { addon } from "./load.js";

/** Devices a tensor can live on. */
export type Device = "cpu" | "emulator" | "cuda";

/** The order of kDeviceNames in native/binding/addon.h. */
const deviceNumbers: Readonly<Record<Device, number>> = { cpu: 0, emulator: 1, cuda: 2 };

// Most a kernel can need: a tensor takes 3 numbers and two for each of 8 dimensions.
const NUMBERS = 2048;

interface Packer {
  readonly native: Addon;
  readonly numbers: Float64Array;
  readonly kernels: ReadonlyMap<
    string,
    { readonly index: number; readonly signature: KernelSignature }
  >;
}

let packer: Packer | undefined;

function makePacker(): Packer {
  const native = addon();
  const numbers = new Float64Array(NUMBERS);
  native.setArguments(numbers);
  const kernels = native
    .kernels()
    .map((signature, index) => [signature.name, { index, signature }] as const);
  return { native, numbers, kernels: new Map(kernels) };
}

/** A call as the addon takes it. What describes the tensors is in the packer's array until the next call is packed. */
export interface PackedCall {
  readonly native: Addon;
  readonly kernel: number;
  readonly device: number;
  readonly owners: readonly Owner[];
}

function refuse(what: string, name: string): never {
  throw new TypeError(`expected ${what} for ${name}`);
}

function putTensor(numbers: Float64Array, from: number, tensor: NativeTensor): number {
  const [, dtype, offset, shape, strides] = tensor;
  const rank = shape.length;
  numbers[from] = dtype;
  numbers[from + 1] = offset;
  numbers[from + 2] = rank;
  for (let i = 0; i < rank; ++i) {
    numbers[from + 3 + i] = shape[i] ?? 0;
    numbers[from + 3 + rank + i] = strides[i] ?? 0;
  }
  return from + 3 + 2 * rank;
}

/**
 * Writes the arguments of a kernel, in the order of its fields, into one array that native code reads: a call through Node-API
 * costs tens of nanoseconds for each value, and a tensor has a dozen.
 */
export function pack(kernel: string, device: Device, args: KernelArguments): PackedCall {
  packer ??= makePacker();
  const { native, numbers, kernels } = packer;
  const found = kernels.get(kernel);
  if (found === undefined) throw new TypeError(`no kernel is called ${kernel}`);
  const owners: Owner[] = [];
  let next = 0;
  for (const { name, kind } of found.signature.fields) {
    const value = args[name];
    if (kind === "number" || kind === "integer") {
      if (typeof value !== "number") refuse("a number", name);
      if (kind === "integer" && !Number.isInteger(value)) refuse("an integer", name);
      numbers[next] = value;
      next += 1;
    } else if (value === undefined && kind === "optional") {
      numbers[next] = -1;
      next += 1;
    } else {
      if (typeof value !== "object") refuse("a tensor", name);
      if (value[3].length > 8 || value[3].length !== value[4].length)
        refuse("at most 8 dimensions", name);
      next = putTensor(numbers, next, value);
      owners.push(value[0]);
    }
  }
  return { native, kernel: found.index, device: deviceNumbers[device], owners };
}

/** Copies contiguous x to contiguous y, on whatever devices they are, in the order of both devices' queues. */
export function copyBetween(from: Device, to: Device, x: NativeTensor, y: NativeTensor): void {
  const { native, owners } = pack("convert", from, { x, y });
  native.copy(deviceNumbers[from], deviceNumbers[to], ...owners);
}
