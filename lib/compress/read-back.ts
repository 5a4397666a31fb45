/** The dequantized weight of a layer as a written ONNX file holds it: what a runtime will compute with. */
import { FormatError } from "../errors.js";
import { unpackMatMulNBits } from "../formats/index.js";
import type { NodeProto, OnnxModel, OnnxTypedArray } from "../formats/onnx/index.js";
import { GraphIndex } from "../graph/graph-index.js";
import { intAttribute, intsAttribute } from "../graph/node-attributes.js";
import { denseWeight } from "./layer-parts.js";

/** How a layer is found: the tensors it reads and makes, which stay as they were. */
export interface WrittenLayer {
  readonly name: string;
  readonly op: string;
  readonly input: string;
  readonly output: string;
  readonly rows: number;
  readonly columns: number;
}

interface Value {
  readonly dims: readonly number[];
  readonly data: OnnxTypedArray;
}

/** Reads the weights of a model's layers back, whatever operators they were written with. */
export class WeightReader {
  readonly #model: OnnxModel;
  readonly #index: GraphIndex;

  constructor(model: OnnxModel) {
    this.#model = model;
    this.#index = new GraphIndex(model.graph);
  }

  /**
   * `[rows, columns]` float32 of a quantized layer.
   *
   * @throws FormatError when the layer is not there, or not quantized the way osculate writes it.
   */
  async read(layer: WrittenLayer): Promise<Float32Array> {
    const weight = layer.op === "Conv" ? this.#conv(layer) : await this.#matMul(layer);
    if (weight.length !== layer.rows * layer.columns) {
      const wanted = `${layer.rows} x ${layer.columns}`;
      throw this.#bad(layer, `its weight has ${weight.length} values, not ${wanted}`);
    }
    return weight;
  }

  #bad(layer: WrittenLayer, reason: string): FormatError {
    return new FormatError(`verify: cannot read the weight of layer ${layer.name}: ${reason}`, {
      details: { layer: layer.name },
    });
  }

  #conv(layer: WrittenLayer): Float32Array {
    const node = this.#index.producer(layer.output);
    if (node?.opType !== "Conv") {
      throw this.#bad(
        layer,
        `${layer.output} is made by ${node?.opType ?? "nothing"}, not by Conv`,
      );
    }
    const { data } = this.#value(layer, node.input[1] ?? "");
    if (!(data instanceof Float32Array)) throw this.#bad(layer, "it is not float32");
    return data;
  }

  async #matMul(layer: WrittenLayer): Promise<Float32Array> {
    let node = this.#index.producer(layer.output);
    // A Gemm became MatMulNBits and an Add of its bias.
    if (node?.opType === "Add") node = this.#index.producer(node.input[0] ?? "");
    if (node?.opType !== "MatMulNBits") {
      throw this.#bad(layer, `it is a ${node?.opType ?? "missing node"}, not a MatMulNBits`);
    }
    const bits = intAttribute(node, "bits", 4);
    if (bits !== 2 && bits !== 4 && bits !== 8) throw this.#bad(layer, `it has ${bits} bits`);
    const bytes = (at: number): Uint8Array => {
      const { data } = this.#value(layer, node.input[at] ?? "");
      if (data instanceof Uint8Array) return data;
      throw this.#bad(layer, `input ${at} is not uint8`);
    };
    const scales = this.#value(layer, node.input[2] ?? "").data;
    if (!(scales instanceof Float32Array)) throw this.#bad(layer, "its scales are not float32");
    const hasZeros = (node.input[3] ?? "") !== "";
    const part = unpackMatMulNBits(
      {
        bits,
        blockSize: intAttribute(node, "block_size", 32),
        B: bytes(1),
        scales,
        ...(hasZeros ? { zeroPoints: bytes(3) } : {}),
      },
      { inFeatures: intAttribute(node, "K", 0), outFeatures: intAttribute(node, "N", 0) },
    );
    return this.#inOrder(layer, node, await denseWeight([part]));
  }

  /** Columns back in the order of the activations, where a Gather in front reorders these. */
  #inOrder(layer: WrittenLayer, node: NodeProto, weight: Float32Array): Float32Array {
    const [source = ""] = node.input;
    if (source === layer.input) return weight;
    const gather = this.#index.producer(source);
    if (gather?.opType !== "Gather" || gather.input[0] !== layer.input) {
      throw this.#bad(layer, `it reads ${source}, not ${layer.input}`);
    }
    const order = this.#numbers(layer, gather.input[1] ?? "");
    const { columns } = layer;
    const result = new Float32Array(weight.length);
    for (let at = 0; at < weight.length; at += 1) {
      const column = at % columns;
      result[at - column + (order[column] ?? 0)] = weight[at] ?? 0;
    }
    return result;
  }

  #numbers(layer: WrittenLayer, name: string): number[] {
    return Array.from(this.#value(layer, name).data as ArrayLike<number | bigint>, Number);
  }

  /** Computes a tensor that depends on constants only, through the operators that osculate writes. */
  #value(layer: WrittenLayer, name: string): Value {
    const constant = this.#index.constant(name);
    if (typeof constant !== "string" && !constant.transposed) {
      return this.#model.tensorData(constant.tensor);
    }
    const node = this.#index.producer(name);
    const x = (): Value => this.#value(layer, node?.input[0] ?? "");
    switch (node?.opType) {
      case "DequantizeLinear":
        return this.#dequantize(layer, node);
      case "Reshape":
        return { data: x().data, dims: this.#numbers(layer, node.input[1] ?? "") };
      case "Slice": {
        const ends = intsAttribute(node, "ends") ?? this.#numbers(layer, node.input[2] ?? "");
        const columns = Array.from({ length: ends[0] ?? 0 }, (_, column) => column);
        return this.#pick(layer, x(), columns);
      }
      case "Gather":
        return this.#pick(layer, x(), this.#numbers(layer, node.input[1] ?? ""));
      default:
        throw this.#bad(layer, `${name} is made by ${node?.opType ?? "nothing"}`);
    }
  }

  /** Columns of a matrix. */
  #pick(layer: WrittenLayer, { data, dims }: Value, columns: readonly number[]): Value {
    const [rows = 0, width = 0] = dims;
    if (dims.length !== 2 || !(data instanceof Float32Array)) {
      throw this.#bad(layer, `columns are taken of a tensor of ${dims.length} dimensions`);
    }
    const result = new Float32Array(rows * columns.length);
    for (let row = 0; row < rows; row += 1) {
      columns.forEach((column, at) => {
        result[row * columns.length + at] = data[row * width + column] ?? NaN;
      });
    }
    return { data: result, dims: [rows, columns.length] };
  }

  /** A matrix of codes with a scale a row, or a scale for each block of a row. */
  #dequantize(layer: WrittenLayer, node: NodeProto): Value {
    const codes = this.#value(layer, node.input[0] ?? "");
    const scales = this.#value(layer, node.input[1] ?? "");
    const hasZeros = (node.input[2] ?? "") !== "";
    const zeros = hasZeros ? this.#value(layer, node.input[2] ?? "") : undefined;
    const [rows = 0, columns = 0] = codes.dims;
    const block = intAttribute(node, "block_size", 0);
    const axis = intAttribute(node, "axis", 1);
    if (codes.dims.length !== 2 || axis !== (block > 0 ? 1 : 0)) {
      throw this.#bad(layer, "its DequantizeLinear is not of a form that osculate writes");
    }
    const perRow = block > 0 ? Math.ceil(columns / block) : 1;
    if (scales.data.length !== rows * perRow) {
      throw this.#bad(layer, `it has ${scales.data.length} scales, not ${rows * perRow}`);
    }
    const result = new Float32Array(rows * columns);
    for (let row = 0; row < rows; row += 1) {
      for (let column = 0; column < columns; column += 1) {
        const place = row * perRow + (block > 0 ? Math.floor(column / block) : 0);
        const code = Number(codes.data[row * columns + column] ?? NaN);
        const zero = zeros === undefined ? 0 : Number(zeros.data[place] ?? NaN);
        result[row * columns + column] = Number(scales.data[place] ?? NaN) * (code - zero);
      }
    }
    return { data: result, dims: codes.dims };
  }
}
