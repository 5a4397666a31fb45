import type { OnnxModel, ValueInfoProto } from "../formats/onnx/index.js";
import { elementTypeOf, type ElementType } from "./element-types.js";

/** What a model says of a tensor that has to be fed. */
export interface ModelInput {
  name: string;
  /** Undefined for what cannot be fed: strings, sequences, bfloat16. */
  type: ElementType | undefined;
  /** A number is fixed, a string or undefined is open. Undefined as a whole: any rank. */
  dims: readonly (number | string | undefined)[] | undefined;
}

/** The inputs that every batch must have: those of the graph that no initializer fills. */
export function modelInputs(model: OnnxModel): ModelInput[] {
  const stored = new Set(model.graph.initializer.map((tensor) => tensor.name));
  return model.graph.input.filter(({ name }) => !stored.has(name)).map(modelInput);
}

function modelInput({ name, type }: ValueInfoProto): ModelInput {
  const tensor = type?.tensorType;
  const dims = tensor?.shape?.dim.map(({ value }) => {
    if (value.case === "dimParam") return value.value;
    // Some exporters write 0 or -1 for a size that is not known.
    return value.case === "dimValue" && value.value > 0n ? Number(value.value) : undefined;
  });
  return { name, type: tensor ? elementTypeOf(tensor.elemType) : undefined, dims };
}
