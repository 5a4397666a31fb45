/** Small ONNX models for tests, built from plain values. */
import { create, toBinary } from "@bufbuild/protobuf";
import {
  AttributeProtoSchema,
  ModelProtoSchema,
  NodeProtoSchema,
  TensorProtoSchema,
  ValueInfoProtoSchema,
} from "../../lib/formats/onnx/onnx_pb.js";
import type {
  AttributeProto,
  GraphProto,
  ModelProto,
  NodeProto,
  TensorProto,
  ValueInfoProto,
} from "../../lib/formats/onnx/onnx_pb.js";

const TYPE_CODES = {
  float32: 1,
  uint8: 2,
  int8: 3,
  int32: 6,
  int64: 7,
  float16: 10,
  float64: 11,
  uint4: 21,
  int4: 22,
} as const;
export type BuildType = keyof typeof TYPE_CODES;

/** A tensor with raw data. `data` holds the bytes in the type's own layout (nibbles packed). */
export function tensor(
  name: string,
  dims: readonly number[],
  data: ArrayBufferView,
  type: BuildType = "float32",
): TensorProto {
  return create(TensorProtoSchema, {
    name,
    dims: dims.map(BigInt),
    dataType: TYPE_CODES[type],
    rawData: new Uint8Array(data.buffer as ArrayBuffer, data.byteOffset, data.byteLength),
  });
}

/** An int64 vector. */
export function int64Tensor(name: string, values: readonly number[]): TensorProto {
  return tensor(name, [values.length], BigInt64Array.from(values.map(BigInt)), "int64");
}

/** Integers become INT, arrays INTS, strings STRING, `{ f }` FLOAT, tensors TENSOR, `{ g }` GRAPH. */
export type AttributeValue =
  number | readonly number[] | string | { f: number } | { g: GraphProto } | { t: TensorProto };

function attribute(name: string, value: AttributeValue): AttributeProto {
  if (typeof value === "number") {
    return create(AttributeProtoSchema, { name, type: 2, i: BigInt(value) });
  }
  if (typeof value === "string") {
    return create(AttributeProtoSchema, { name, type: 3, s: new TextEncoder().encode(value) });
  }
  if ("f" in value) return create(AttributeProtoSchema, { name, type: 1, f: value.f });
  if ("g" in value) return create(AttributeProtoSchema, { name, type: 5, g: value.g });
  if ("t" in value) return create(AttributeProtoSchema, { name, type: 4, t: value.t });
  return create(AttributeProtoSchema, { name, type: 7, ints: value.map(BigInt) });
}

/** A node. The name defaults to "op_firstOutput". */
export function node(
  opType: string,
  input: readonly string[],
  output: readonly string[],
  attributes: Readonly<Record<string, AttributeValue>> = {},
  options: { name?: string; domain?: string } = {},
): NodeProto {
  return create(NodeProtoSchema, {
    opType,
    input: [...input],
    output: [...output],
    name: options.name ?? `${opType}_${output[0] ?? ""}`,
    attribute: Object.entries(attributes).map(([name, value]) => attribute(name, value)),
    ...(options.domain === undefined ? {} : { domain: options.domain }),
  });
}

/** A Constant node that gives `value` under `value.name`. */
export function constant(value: TensorProto): NodeProto {
  return node("Constant", [], [value.name], { value: { t: value } });
}

/** A graph input or output; a string dimension is symbolic. No `dims`: no shape. */
export function valueInfo(
  name: string,
  dims?: readonly (number | string)[],
  type: BuildType = "float32",
): ValueInfoProto {
  return create(ValueInfoProtoSchema, {
    name,
    type: {
      tensorType: {
        elemType: TYPE_CODES[type],
        ...(dims === undefined
          ? {}
          : {
              shape: {
                dim: dims.map((dim) => ({
                  value:
                    typeof dim === "string"
                      ? { case: "dimParam" as const, value: dim }
                      : { case: "dimValue" as const, value: BigInt(dim) },
                })),
              },
            }),
      },
    },
  });
}

export interface BuildOptions {
  opset?: number;
  irVersion?: number;
  /** Adds the com.microsoft opset import. */
  microsoft?: boolean;
  nodes: readonly NodeProto[];
  initializers?: readonly TensorProto[];
  inputs: readonly ValueInfoProto[];
  outputs: readonly ValueInfoProto[];
  valueInfos?: readonly ValueInfoProto[];
}

/** A model message. Default: opset 13, IR version 8. */
export function buildModel(options: BuildOptions): ModelProto {
  return create(ModelProtoSchema, {
    irVersion: BigInt(options.irVersion ?? ((options.opset ?? 13) >= 21 ? 10 : 8)),
    producerName: "osculate-test",
    graph: {
      name: "main",
      node: [...options.nodes],
      initializer: [...(options.initializers ?? [])],
      input: [...options.inputs],
      output: [...options.outputs],
      valueInfo: [...(options.valueInfos ?? [])],
    },
    opsetImport: [
      { domain: "", version: BigInt(options.opset ?? 13) },
      ...(options.microsoft === true ? [{ domain: "com.microsoft", version: 1n }] : []),
    ],
  });
}

/** The bytes of `buildModel`. */
export function buildModelBytes(options: BuildOptions): Uint8Array {
  return toBinary(ModelProtoSchema, buildModel(options));
}

/** Numbers that look like weights: a fixed linear congruential sequence in [-1, 1). */
export function fakeData(length: number, seed = 1): Float32Array {
  let state = seed >>> 0;
  return Float32Array.from({ length }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31 - 1;
  });
}
