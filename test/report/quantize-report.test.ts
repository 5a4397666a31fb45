import {
  quantizeReport,
  type QuantizeReportData,
  type QuantizeReportLayer,
} from "../../lib/report/quantize-report.js";

const layer: QuantizeReportLayer = {
  name: "encoder.0",
  op: "MatMul",
  shape: [10, 100],
  method: "gptq",
  bits: 4,
  groupSize: 32,
  tokens: 3804,
  relativeError: 0.002,
  rtnRelativeError: 0.02,
  damping: 0.31,
  attempts: 1,
  seconds: 0.5,
  bytesBefore: 4000,
  bytesAfter: 600,
};

const data: QuantizeReportData = {
  model: "model.onnx",
  output: "out.onnx",
  recipe: "bits: 4\ngroup_size: 32",
  layers: [layer],
  totals: { bytesBefore: 10_000, bytesAfter: 5_000, seconds: 2, calibrationSamples: 64 },
  versions: { osculate: "0.1.0", node: "20" },
};

/** Visible words of a page, tags and style removed. */
const words = (markup: string): string =>
  markup
    .replace(/<style>[\s\S]*?<\/style>/, "")
    .replace(/<[^>]*>/g, " ")
    .replace(/\s+/g, " ");

test("says what was done, how large the result is, and with which recipe", () => {
  const text = words(quantizeReport(data));
  for (const fact of [
    "GPTQ: 1 of 1 layer. Written to out.onnx",
    "5.00 kB from 10.0 kB, 2x smaller",
    "4.80 scales included, 1,000 weights",
    "10x less median of 1 layer",
    "encoder.0: GPTQ 0.00200, RTN on the same grid 0.0200",
    "bits: 4 group_size: 32",
    "No layer needed a rescue",
    "osculate 0.1.0 · node 20",
  ]) {
    expect(text).toContain(fact);
  }
});

test("names what was rescued, warned about and skipped, equal reasons once", () => {
  const skipped = (name: string): QuantizeReportLayer => ({
    name,
    op: "Conv",
    shape: [8, 9],
    method: "none",
    bytesBefore: 288,
    bytesAfter: 288,
    skipped: "rule 2: depthwise",
  });
  const text = words(
    quantizeReport({
      ...data,
      layers: [
        {
          ...layer,
          rescued: "rounded to nearest",
          attempts: 7,
          warnings: ["fewer tokens than columns"],
        },
        skipped("conv.a"),
        skipped("conv.b"),
      ],
    }),
  );
  expect(text).toContain("1 layer could not be quantized as asked");
  expect(text).toContain("rounded to nearest (7 attempts, damping 0.310)");
  expect(text).toContain("fewer tokens than columns encoder.0");
  expect(text).toContain("rule 2: depthwise 2 layers conv.a, conv.b");
  expect(text.match(/rule 2: depthwise/g)).toHaveLength(1);
});

test("bytes before and after add up to the whole file", () => {
  const markup = quantizeReport({
    ...data,
    layers: [layer, { ...layer, name: "b", bits: 8, bytesBefore: 2000, bytesAfter: 900 }],
  });
  for (const part of [
    "before, 4-bit layers: 4.00 kB",
    "before, 8-bit layers: 2.00 kB",
    "before, rest of the file: 4.00 kB",
    "after, 4-bit layers: 600 B",
    "after, 8-bit layers: 900 B",
    "after, rest of the file: 3.50 kB",
  ]) {
    expect(markup).toContain(part);
  }
});

test("every text of a model is only ever text", () => {
  const evil = `"><script>alert(1)</script><img src=x onerror=alert(1)>`;
  const markup = quantizeReport({
    model: evil,
    output: evil,
    recipe: evil,
    layers: [
      { ...layer, name: evil, op: evil, method: evil, rescued: evil, warnings: [evil] },
      { ...layer, name: evil, skipped: evil },
    ],
    totals: data.totals,
    versions: { [evil]: evil },
    warnings: [evil],
  });
  expect(markup).not.toMatch(/<script|<img/);
  expect(markup).not.toMatch(/="[^"]*"><script/);
  expect(markup).toContain("&lt;script&gt;");
});

test.each<[string, Partial<QuantizeReportData>]>([
  ["no layers", { layers: [] }],
  [
    "rounding only, without errors",
    {
      layers: [
        { name: "a", op: "Gemm", shape: [1, 1], method: "rtn", bytesBefore: 4, bytesAfter: 3 },
      ],
    },
  ],
  ["an error of zero", { layers: [{ ...layer, relativeError: 0 }] }],
  [
    "nothing known",
    { layers: [{ ...layer, tokens: undefined, relativeError: NaN, seconds: NaN }] },
  ],
  ["empty file", { totals: { bytesBefore: 0, bytesAfter: 0, seconds: 0 } }],
])("%s: still a page without holes", (_, part) => {
  const text = words(quantizeReport({ ...data, ...part }));
  expect(text).not.toMatch(/NaN|undefined|Infinity|null/);
  expect(text).toContain("All layers");
});

test("a weight that is not constant shows no shape", () => {
  const skipped = { ...layer, shape: [0, 0], skipped: "its weight is not constant" };
  const text = words(quantizeReport({ ...data, layers: [skipped] }));
  expect(text).toContain("encoder.0 MatMul – left");
  expect(text).not.toContain("0 × 0");
});

test("no reference leaves the page", () => {
  expect(quantizeReport(data)).not.toMatch(/https?:|src=|href=|url\(/);
});
