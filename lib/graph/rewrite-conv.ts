/**
 * Conv with a quantized weight: the dense weight becomes
 * `DequantizeLinear -> Reshape [-> Slice or Gather -> Reshape]`.
 *
 * Before opset 21 this is com.microsoft.DequantizeLinear along axis 0, whose rows are the groups of the
 * weight's rows: `[M * G, g]`. (onnxruntime 1.30 runs it for INT8, UINT8, INT4 and UINT4 at every opset
 * from 9 and every IR version; the standard operator is refused there.) From opset 21 the standard blocked
 * operator reads `[M, K]`.
 *
 * Types: 8-bit codes are INT8 or UINT8, codes of 2, 3 and 4 bits INT4 or UINT4; the signed type, without
 * zero points, where every zero is the middle of the type, else the unsigned one.
 */
import { columnsByGroup, hasContiguousGroups, packNibbles } from "../formats/index.js";
import type { QuantizedLinear } from "../formats/index.js";
import type { NodeProto, OnnxDType } from "../formats/onnx/index.js";
import type { QuantizableLayer } from "./layers.js";
import type { AttributeValue } from "./node-attributes.js";
import { MICROSOFT } from "./rewrite-editor.js";
import type { GraphEditor } from "./rewrite-editor.js";

/** Codes of all rows with columns at their place in the file. */
interface Laid {
  /** `[rows, width]`, unsigned. */
  codes: Uint8Array;
  /** `[rows, groups]`. */
  scales: Float32Array;
  /** `[rows, groups]`. */
  zeros: Uint8Array;
  width: number;
  groups: number;
  /** Columns of a group in the file. */
  size: number;
  bits: 4 | 8;
}

/** Gives a Conv node a quantized weight. `parts`: one per group of the convolution, rows in order. */
export function rewriteConv(
  editor: GraphEditor,
  target: {
    node: NodeProto;
    layer: QuantizableLayer;
    parts: readonly QuantizedLinear[];
    weightDims: readonly number[];
  },
): void {
  const { node, layer, parts, weightDims } = target;
  const [first] = parts;
  if (first === undefined) return;
  const { rows, columns } = layer;
  const blocked = (editor.model.opset() ?? 0) >= 21;
  const order = hasContiguousGroups(first) ? undefined : columnsByGroup(first);
  const laid = layOut(parts, { rows, columns, padded: !blocked, order });
  const base = layer.weightName;
  const { bits, groups, size, width } = laid;
  const perRow = blocked && groups > 1;
  const nodes: NodeProto[] = [];
  const then = (
    opType: string,
    made: {
      suffix: string;
      input: string[];
      domain?: string;
      attributes?: Readonly<Record<string, AttributeValue>>;
    },
  ): string => {
    const { suffix, ...rest } = made;
    const output = editor.valueName(`${layer.outputName}_weight_${suffix}`);
    nodes.push(
      editor.makeNode({
        opType,
        name: `${layer.name}_weight_${suffix}`,
        output: [output],
        ...rest,
      }),
    );
    return output;
  };
  const int64 = (suffix: string, values: readonly number[]): string =>
    editor.addInitializer(`${base}_${suffix}`, {
      dtype: "int64",
      dims: [values.length],
      values: BigInt64Array.from(values, BigInt),
    });
  const stored = store(laid);
  const scaleDims = perRow ? [rows, groups] : [rows * groups];
  const inputs = [
    editor.addInitializer(`${base}_Q${bits}`, {
      dtype: stored.dtype,
      dims: blocked ? [rows, width] : [rows * groups, size],
      values: stored.codes,
    }),
    editor.addInitializer(`${base}_scales`, {
      dtype: "float32",
      dims: scaleDims,
      values: laid.scales,
    }),
  ];
  if (stored.zeros !== undefined) {
    const { dtype, zeros } = stored;
    const tensor = { dtype, dims: scaleDims, values: zeros };
    inputs.push(editor.addInitializer(`${base}_zero_points`, tensor));
  }
  let weight = then("DequantizeLinear", {
    suffix: "dequantized",
    input: inputs,
    ...(blocked ? {} : { domain: MICROSOFT }),
    attributes: perRow ? { axis: 1, block_size: size } : { axis: 0 },
  });
  if (!blocked && groups > 1 && (width > columns || order !== undefined)) {
    weight = then("Reshape", { suffix: "rows", input: [weight, int64("rows", [rows, width])] });
  }
  if (order !== undefined) {
    const place = new Array<number>(columns).fill(0);
    order.forEach((column, at) => (place[column] = at));
    const input = [weight, int64("places", place)];
    weight = then("Gather", { suffix: "columns", input, attributes: { axis: 1 } });
  } else if (width > columns) {
    weight = then("Slice", { suffix: "columns", ...slice(editor, { weight, columns, int64 }) });
  }
  weight = then("Reshape", { suffix: "shaped", input: [weight, int64("shape", weightDims)] });
  editor.replace(node, [...nodes, node]);
  editor.setInput(node, 1, weight);
}

/** Slice took attributes before opset 10. */
function slice(
  editor: GraphEditor,
  given: {
    weight: string;
    columns: number;
    int64: (suffix: string, values: readonly number[]) => string;
  },
): { input: string[]; attributes?: Record<string, readonly number[]> } {
  const { weight, columns, int64 } = given;
  if ((editor.model.opset() ?? 0) < 10) {
    return { input: [weight], attributes: { starts: [0], ends: [columns], axes: [1] } };
  }
  return {
    input: [weight, int64("starts", [0]), int64("ends", [columns]), int64("axes", [1])],
  };
}

/** Puts the parts below each other, columns in `order`, each row padded to whole groups when asked. */
function layOut(
  parts: readonly QuantizedLinear[],
  options: { rows: number; columns: number; padded: boolean; order: Int32Array | undefined },
): Laid {
  const { rows, columns, padded, order } = options;
  const groups = parts[0]?.groups ?? 1;
  const size = groups === 1 ? columns : (parts[0]?.groupSize ?? columns);
  const width = padded ? groups * size : columns;
  const codes = new Uint8Array(rows * width);
  const scales = new Float32Array(rows * groups);
  const zeros = new Uint8Array(rows * groups);
  let row = 0;
  for (const part of parts) {
    for (let inner = 0; inner < part.outFeatures; inner++, row++) {
      for (let group = 0; group < groups; group++) {
        const from = group * part.outFeatures + inner;
        scales[row * groups + group] = part.scales[from] ?? 0;
        zeros[row * groups + group] = part.zeros[from] ?? 0;
      }
      for (let at = 0; at < columns; at++) {
        const column = order?.[at] ?? at;
        codes[row * width + at] = part.codes[inner * columns + column] ?? 0;
      }
    }
  }
  return { codes, scales, zeros, width, groups, size, bits: parts[0]?.bits === 8 ? 8 : 4 };
}

/** The bytes of codes and zeros in the narrowest fitting type. */
function store(laid: Laid): {
  dtype: OnnxDType;
  codes: Uint8Array | Int8Array;
  zeros: Uint8Array | undefined;
} {
  const { bits, codes, zeros } = laid;
  const middle = 2 ** (bits - 1);
  const pack = (values: Uint8Array | Int8Array): Uint8Array | Int8Array =>
    bits === 4 ? packNibbles(values) : values;
  if (zeros.every((zero) => zero === middle)) {
    const signed = Int8Array.from(codes, (code) => code - middle);
    return { dtype: bits === 4 ? "int4" : "int8", codes: pack(signed), zeros: undefined };
  }
  const packedZeros = bits === 4 ? packNibbles(zeros) : zeros;
  return { dtype: bits === 4 ? "uint4" : "uint8", codes: pack(codes), zeros: packedZeros };
}
