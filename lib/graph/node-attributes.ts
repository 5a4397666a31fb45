/** Reading and setting attributes of ONNX nodes. */
import { create } from "@bufbuild/protobuf";
import { AttributeProtoSchema } from "../formats/onnx/onnx_pb.js";
import type { AttributeProto, NodeProto, TensorProto } from "../formats/onnx/onnx_pb.js";
import { copyMessage } from "../formats/onnx/index.js";

function find(node: NodeProto, name: string): AttributeProto | undefined {
  return node.attribute.find((attribute) => attribute.name === name);
}

export function intAttribute(node: NodeProto, name: string, fallback: number): number {
  const attribute = find(node, name);
  return attribute === undefined ? fallback : Number(attribute.i);
}

/** undefined when the attribute is not there. */
export function intsAttribute(node: NodeProto, name: string): number[] | undefined {
  return find(node, name)?.ints.map(Number);
}

export function floatAttribute(node: NodeProto, name: string, fallback: number): number {
  return find(node, name)?.f ?? fallback;
}

export function stringAttribute(node: NodeProto, name: string, fallback: string): string {
  const attribute = find(node, name);
  return attribute === undefined ? fallback : new TextDecoder().decode(attribute.s);
}

/** The tensor of an attribute, undefined when it is not there. */
export function tensorAttribute(node: NodeProto, name: string): TensorProto | undefined {
  return find(node, name)?.t;
}

/** What osculate writes: integers become INT, arrays INTS, `{ float }` FLOAT, `{ tensor }` TENSOR. */
export type AttributeValue =
  number | readonly number[] | { float: number } | { tensor: TensorProto };

export function makeAttribute(name: string, value: AttributeValue): AttributeProto {
  if (typeof value === "number") {
    return create(AttributeProtoSchema, { name, type: 2, i: BigInt(value) });
  }
  if ("float" in value) return create(AttributeProtoSchema, { name, type: 1, f: value.float });
  if ("tensor" in value) return create(AttributeProtoSchema, { name, type: 4, t: value.tensor });
  return create(AttributeProtoSchema, { name, type: 7, ints: value.map(BigInt) });
}

/** A copy of the node with one attribute replaced or added. */
export function withAttribute(node: NodeProto, name: string, value: AttributeValue): NodeProto {
  const copy = copyMessage(node);
  const made = makeAttribute(name, value);
  const at = node.attribute.findIndex((attribute) => attribute.name === name);
  copy.attribute = at === -1 ? [...node.attribute, made] : node.attribute.with(at, made);
  return copy;
}
