import { ArgumentError, FormatError, ShapeError } from "../../lib/errors.js";
import {
  checkGptqExportable,
  decodeGptqLayer,
  encodeGptqLayer,
  gptqConfig,
  type GptqConfig,
  parseGptqConfig,
} from "../../lib/formats/gptq-checkpoint.js";
import type { QuantizedLinear } from "../../lib/formats/quantized.js";
import { parseSafetensorsHeader } from "../../lib/formats/safetensors-header.js";
import { encodeSafetensors, type SafetensorsTensor } from "../../lib/formats/safetensors.js";
import vectors from "../vectors/packing.json" with { type: "json" };

type Vector = (typeof vectors.gptq)[number];
type Bits = 2 | 3 | 4 | 8;

/** The layer of a vector: codes by its formula, zeros by one of its two formulas, scales in eighths. */
function layer(vector: Vector, zeros: "zero_formula" | "zero_formula_ge1"): QuantizedLinear {
  const { in_features, out_features, group_size, bits, g_idx } = vector;
  const groups = in_features / group_size;
  const levels = 2 ** bits;
  const zero = (g: number, o: number) =>
    zeros === "zero_formula" ? (o + 2 * g + 1) % levels : 1 + ((o + 2 * g) % (levels - 1));
  const perGroup = Array.from({ length: groups * out_features }, (_, i) => i);
  return {
    inFeatures: in_features,
    outFeatures: out_features,
    bits: bits as Bits,
    groupSize: group_size,
    groups,
    sym: false,
    codes: Uint8Array.from({ length: in_features * out_features }, (_, i) => {
      const [o, k] = [Math.floor(i / in_features), i % in_features];
      return (7 * o + 3 * k + ((k * o) % 5)) % levels;
    }),
    scales: Float32Array.from(perGroup, (i) => (i + 1) / 8),
    zeros: Uint8Array.from(perGroup, (i) => zero(Math.floor(i / out_features), i % out_features)),
    groupIndex: Int32Array.from(g_idx),
    scaleDtype: "float16",
    bias: Float32Array.from({ length: out_features }, (_, o) => o / 4 - 3),
  };
}

const config = (vector: Vector, change: Partial<GptqConfig> = {}): GptqConfig => ({
  bits: vector.bits as Bits,
  groupSize: vector.group_size,
  descAct: false,
  sym: false,
  quantizer: [],
  ...change,
});

const flat = (tensor: SafetensorsTensor | undefined) => Array.from(tensor?.data as Int32Array);

function withTensor(
  tensors: ReadonlyMap<string, SafetensorsTensor>,
  name: string,
  change: Partial<SafetensorsTensor>,
) {
  const tensor = tensors.get(name)!;
  return new Map([...tensors, [name, { ...tensor, ...change }]]);
}

describe.each(vectors.gptq)("$bits bit", (vector) => {
  test("v2 is the vector and comes back", () => {
    const q = layer(vector, "zero_formula");
    const tensors = encodeGptqLayer("p", q, { checkpointFormat: "gptq_v2" });
    expect(flat(tensors.get("p.qweight"))).toEqual(vector.qweight_i32.flat());
    expect(tensors.get("p.qweight")?.shape).toEqual(vector.qweight_shape);
    expect(flat(tensors.get("p.qzeros"))).toEqual(vector.qzeros_v2_i32.flat());
    expect(tensors.get("p.qzeros")?.shape).toEqual(vector.qzeros_shape);
    expect(flat(tensors.get("p.g_idx"))).toEqual(vector.g_idx);
    const options = { config: config(vector, { checkpointFormat: "gptq_v2" }) };
    expect(decodeGptqLayer("p", tensors, options)).toEqual(q);
  });

  test("v1 and v2 of zeros from 1", () => {
    const q = layer(vector, "zero_formula_ge1");
    const v1 = encodeGptqLayer("p", q);
    const v2 = encodeGptqLayer("p", q, { checkpointFormat: "gptq_v2" });
    expect(flat(v1.get("p.qzeros"))).toEqual(vector.qzeros_v1_ge1_i32.flat());
    expect(flat(v2.get("p.qzeros"))).toEqual(vector.qzeros_v2_ge1_i32.flat());
    const onWarning = jest.fn();
    for (const checkpointFormat of ["gptq", undefined] as const) {
      const given = checkpointFormat === undefined ? {} : { checkpointFormat };
      expect(decodeGptqLayer("p", v1, { config: config(vector, given), onWarning })).toEqual(q);
    }
    expect(decodeGptqLayer("p", v1, { onWarning })).toEqual(q);
    expect(onWarning).not.toHaveBeenCalled();
  });

  test("v1 with a stored maxq: a warning, and the rule of its writer", () => {
    if (vector.bits === 8) return; // its zeros have no 0
    const q = layer(vector, "zero_formula");
    expect(() => encodeGptqLayer("p", q)).toThrow(ArgumentError);
    const v2 = encodeGptqLayer("p", q, { checkpointFormat: "gptq_v2" });
    const onWarning = jest.fn();
    const perField = Int32Array.from(vector.qzeros_v1_i32.flat());
    const fields = withTensor(v2, "p.qzeros", { data: perField });
    expect(
      decodeGptqLayer("p", fields, {
        config: config(vector, { quantizer: ["autogptq:0.7"] }),
        onWarning,
      }),
    ).toEqual(q);
    expect(onWarning).toHaveBeenCalledTimes(1);
    if (vector.bits === 3) return;
    const one = { 2: 0x55555555, 4: 0x11111111 }[vector.bits]!;
    const wholeWord = Int32Array.from(vector.qzeros_v2_i32.flat(), (word) => (word - one) | 0);
    const words = withTensor(v2, "p.qzeros", { data: wholeWord });
    expect(
      decodeGptqLayer("p", words, {
        config: config(vector, { quantizer: ["GPTQModel:4.0"] }),
        onWarning,
      }),
    ).toEqual(q);
    expect(onWarning).toHaveBeenCalledTimes(2);
  });

  test("symmetric words, and which format a silent config has", () => {
    const asym = layer(vector, "zero_formula");
    const middle = 2 ** (vector.bits - 1);
    const q = { ...asym, sym: true, zeros: asym.zeros.map(() => middle) };
    const wanted: Record<number, [number[], number[]]> = {
      2: [[0x55555555], [0xaaaaaaaa]],
      3: [
        [0xdb6db6db, 0xb6db6db6, 0x6db6db6d],
        [0x24924924, 0x49249249, 0x92492492],
      ],
      4: [[0x77777777], [0x88888888]],
      8: [[0x7f7f7f7f], [0x80808080]],
    };
    (["gptq", "gptq_v2"] as const).forEach((checkpointFormat, version) => {
      const tensors = encodeGptqLayer("p", q, { checkpointFormat });
      const words = wanted[vector.bits]![version]!.map((word) => word | 0);
      const stored = flat(tensors.get("p.qzeros"));
      expect(stored).toEqual(stored.map((_, i) => words[i % words.length]));
      expect(decodeGptqLayer("p", tensors)).toEqual(q);
      expect(decodeGptqLayer("p", tensors, { config: config(vector, { sym: true }) })).toEqual(q);
    });
  });
});

describe("a layer that is not what it says", () => {
  const vector = vectors.gptq[2]!;
  const q = layer(vector, "zero_formula_ge1");
  const good = encodeGptqLayer("p", q);
  const asF32 = Float32Array.from(q.scales);
  const changed = (name: string, change: Partial<SafetensorsTensor>) =>
    withTensor(good, `p.${name}`, change);

  test.each<[string, ReadonlyMap<string, SafetensorsTensor>, Partial<GptqConfig>, RegExp]>([
    ["a missing tensor", new Map([...good].filter(([name]) => name !== "p.g_idx")), {}, /p\.g_idx/],
    ["another bit width", good, { bits: 8 }, /8 bits/],
    ["another group size", good, { groupSize: 16 }, /4 groups/],
    ["sym", good, { sym: true }, /sym/],
    ["another dtype", changed("qweight", { dtype: "U32" }), {}, /I32/],
    ["another shape", changed("scales", { shape: [32, 2] }), {}, /shape \[2, 32\]/],
    ["short data", changed("g_idx", { data: new Int32Array(63) }), {}, /shape \[64\]/],
    ["a group out of range", changed("g_idx", { data: q.groupIndex.with(5, 2) }), {}, /g_idx\[5\]/],
    ["a crowded group", changed("g_idx", { data: q.groupIndex.with(5, 1) }), {}, /at most 32/],
    [
      "infinite scales",
      changed("scales", { data: new Uint16Array(64).fill(0x7c00) }),
      {},
      /finite/,
    ],
    [
      "scales of integers",
      changed("scales", { dtype: "I16", data: new Int16Array(64) }),
      {},
      /F16/,
    ],
    ["no inputs", changed("g_idx", { shape: [0], data: new Int32Array(0) }), {}, /bits/],
  ])("%s", (_, tensors, change, message) => {
    const decode = () => decodeGptqLayer("p", tensors, { config: config(vector, change) });
    expect(decode).toThrow(FormatError);
    expect(decode).toThrow(message);
  });

  test("reads scales of other float types", () => {
    const f32 = changed("scales", { dtype: "F32", data: asF32 });
    expect(decodeGptqLayer("p", f32)).toEqual({ ...q, scaleDtype: "float32" });
    const bf16 = new Uint16Array(asF32.buffer).filter((_, i) => i % 2 === 1);
    const narrow = changed("scales", { dtype: "BF16", data: bf16 });
    expect(decodeGptqLayer("p", narrow).scales).toEqual(q.scales);
  });

  test.each<[string, Partial<QuantizedLinear>, new (message: string) => Error]>([
    [
      "inputs of no multiple of 32",
      { inFeatures: 48, codes: new Uint8Array(48 * 32), groupIndex: q.groupIndex.slice(0, 48) },
      ArgumentError,
    ],
    ["float32 scales", { scaleDtype: "float32" }, ArgumentError],
    ["a scale above float16", { scales: q.scales.with(3, 1e6) }, ArgumentError],
    ["a code above the width", { codes: q.codes.with(9, 16) }, ArgumentError],
    ["a short bias", { bias: new Float32Array(3) }, ShapeError],
  ])("the writer refuses %s", (_, change, error) => {
    expect(() => encodeGptqLayer("p", { ...q, ...change })).toThrow(error);
  });

  test("the tensors make a safetensors file", () => {
    const bytes = Buffer.concat(encodeSafetensors(good, { format: "pt" }));
    expect([...parseSafetensorsHeader(bytes, bytes.length).entries.keys()].sort()).toEqual([
      "p.bias",
      "p.g_idx",
      "p.qweight",
      "p.qzeros",
      "p.scales",
    ]);
  });
});

test.each([
  [{ inFeatures: 64, outFeatures: 32, groupSize: 32 }, undefined],
  [{ inFeatures: 64, outFeatures: 32, groupSize: -1 }, undefined],
  [{ inFeatures: 60, outFeatures: 32, groupSize: 20 }, /inputs/],
  [{ inFeatures: 64, outFeatures: 33, groupSize: 32 }, /outputs/],
  [{ inFeatures: 96, outFeatures: 32, groupSize: 64 }, /group size/],
  [{ inFeatures: 64, outFeatures: 32, groupSize: 128 }, /group size/],
  [{ inFeatures: 0, outFeatures: 32, groupSize: -1 }, /inputs/],
  [{ inFeatures: 64, outFeatures: 32, groupSize: 32, scaleDtype: "float32" as const }, /float16/],
])("checkGptqExportable %j", (shape, reason) => {
  const received = checkGptqExportable(shape);
  if (reason === undefined) expect(received).toBeUndefined();
  else expect(received).toMatch(reason);
});

describe("config", () => {
  const options = {
    bits: 4,
    groupSize: 128,
    sym: true,
    descAct: true,
    staticGroups: true,
    dampPercent: 0.01,
    trueSequential: true,
    version: "1.2.3",
  } as const;
  const json = gptqConfig(options);

  test("has the keys of the loaders and is read back", () => {
    expect(json).toMatchObject({
      bits: 4,
      group_size: 128,
      desc_act: false,
      sym: true,
      quant_method: "gptq",
      checkpoint_format: "gptq",
      pack_dtype: "int32",
      static_groups: true,
      meta: { quantizer: ["osculate:1.2.3"], damp_percent: 0.01, mse: 0 },
    });
    expect(parseGptqConfig(JSON.parse(JSON.stringify(json)))).toEqual({
      bits: 4,
      groupSize: 128,
      descAct: false,
      sym: true,
      checkpointFormat: "gptq",
      quantizer: ["osculate:1.2.3"],
    });
    expect(gptqConfig({ ...options, staticGroups: false })["desc_act"]).toBe(true);
  });

  test("accepts the newer names and a silent format", () => {
    const { quant_method, checkpoint_format, meta, ...rest } = json;
    const newer = { ...rest, method: quant_method, format: "gptq_v2", meta: { quantizer: "x:1" } };
    expect(parseGptqConfig(newer)).toMatchObject({
      checkpointFormat: "gptq_v2",
      quantizer: ["x:1"],
    });
    expect(parseGptqConfig(rest)).not.toHaveProperty("checkpointFormat");
    expect([checkpoint_format, typeof meta]).toEqual(["gptq", "object"]);
  });

  test.each([
    ["gptq_p", { checkpoint_format: "gptq_p" }, /gptq_p/],
    ["marlin", { checkpoint_format: "marlin" }, /marlin/],
    ["awq", { quant_method: "awq" }, /awq/],
    ["5 bits", { bits: 5 }, /bits/],
    ["bits as a string", { bits: "4" }, /bits/],
    ["a fractional group size", { group_size: 1.5 }, /group_size/],
    ["group size 0", { group_size: 0 }, /group_size/],
    ["sym as a string", { sym: "true" }, /sym/],
    ["desc_act missing", { desc_act: undefined }, /desc_act/],
    ["another word size", { pack_dtype: "int64" }, /pack_dtype/],
  ])("refuses %s", (_, change, message) => {
    const parse = () => parseGptqConfig({ ...json, ...change });
    expect(parse).toThrow(FormatError);
    expect(parse).toThrow(message);
  });

  test.each([[null], [[]], ["{}"]])("refuses %j", (value) => {
    expect(() => parseGptqConfig(value)).toThrow(FormatError);
  });
});
