import { add, mean, mul, reshape, square, sum, valueAndGrad } from "../../lib/autodiff/index.js";
import { memoryStats } from "../../lib/binding/index.js";
import { LayerMoments, momentLayers } from "../../lib/curvature/layer-moments.js";
import { Conv2d, Linear, Module, Sequential } from "../../lib/nn/index.js";
import { item } from "../../lib/ops/tensor-mean.js";
import { Tensor } from "../../lib/tensor/index.js";

const wave = (n: number, phase: number) =>
  Float32Array.from({ length: n }, (_, i) => Math.sin(1.3 * i + phase) + 0.2 * (i % 4));

function near(actual: ArrayLike<number>, wanted: readonly number[]): void {
  expect(actual.length).toBe(wanted.length);
  const size = Math.max(...wanted.map(Math.abs), 1e-30);
  wanted.forEach((value, i) => {
    expect(Math.abs(actual[i]! - value)).toBeLessThanOrEqual(1e-5 * size);
  });
}

/** Columns' mean squares of rows. */
const meanSquares = (rows: readonly (readonly number[])[]) =>
  rows[0]!.map((_, j) => rows.reduce((total, row) => total + row[j]! ** 2, 0) / rows.length);

const cut = (x: ArrayLike<number>, width: number) =>
  Array.from({ length: x.length / width }, (_, i) =>
    Array.from({ length: width }, (__, j) => x[i * width + j]!),
  );

async function momentsOf(model: Module, ...losses: (() => Tensor)[]) {
  const layers = momentLayers(model);
  const moments = new LayerMoments(layers);
  const tensors = [...model.parameters()].map(({ tensor }) => tensor);
  const gradients = losses.map((loss) => moments.during(() => valueAndGrad(loss, tensors)));
  const read = await moments.read();
  moments.dispose();
  return { read, gradients };
}

test("linear layers with sequences as rows: inputs and output gradients, and the gradient is what it was", async () => {
  const layer = new Linear(3, 2);
  const x = Tensor.from(wave(24, 0), [2, 4, 3]);
  const target = Tensor.from(wave(16, 1), [2, 4, 2]);
  // mean((y - t)^2) by y: 2 (y - t) / 16.
  const loss = () => mean(square(add(layer.forward(x), mul(target, -1))));
  const tensors = [...layer.parameters()].map(({ tensor }) => tensor);
  const plain = valueAndGrad(loss, tensors);
  const { read, gradients } = await momentsOf(layer, loss);
  expect(gradients[0]!.gradients.map((g) => [...g.dataSync()])).toEqual(
    plain.gradients.map((g) => [...g.dataSync()]),
  );
  near(read[0]!.inputs, meanSquares(cut(x.dataSync(), 3)));
  const [y, t] = [layer.forward(x).dataSync(), target.dataSync()] as Float32Array[];
  const s = Array.from(y!, (value, i) => (2 * (value - t![i]!)) / 16);
  near(read[0]!.outputs, meanSquares(cut(s, 2)));
  expect(layer.hook).toBeUndefined();
});

test("a layer used twice, and two calls: the rows of all of them", async () => {
  const layer = new Linear(2, 2, { bias: false });
  const [x, z] = [Tensor.from(wave(6, 0), [3, 2]), Tensor.from(wave(4, 2), [2, 2])];
  const c = 0.5;
  const loss = () => add(sum(layer.forward(x)), sum(mul(layer.forward(z), c)));
  const { read } = await momentsOf(layer, loss, () => sum(mul(layer.forward(z), 3)));
  const inputs = [x, z, z].flatMap((tensor) => cut(tensor.dataSync(), 2));
  near(read[0]!.inputs, meanSquares(inputs));
  const g = [1, 1, 1, c, c, 3, 3].map((value) => [value, value]);
  near(read[0]!.outputs, meanSquares(g));
});

test.each([
  [{}, 5, 4],
  [{ stride: 2, padding: 1 }, 6, 5],
  [{ padding: [2, 0] as const, dilation: [1, 2] as const }, 5, 6],
])("a convolution's patches, one by one: %j", async (geometry, height, width) => {
  const layer = new Conv2d(2, 3, [2, 3], geometry);
  const x = Tensor.from(wave(2 * 2 * height * width, 0), [2, 2, height, width]);
  const y = layer.forward(x);
  const [, , outH = 0, outW = 0] = y.shape;
  const weights = Tensor.from(wave(y.size, 3), y.shape);
  const { read } = await momentsOf(layer, () => sum(mul(layer.forward(x), weights)));
  const pair = (value: number | readonly [number, number] | undefined, otherwise: number) =>
    typeof value === "object" ? value : ([value ?? otherwise, value ?? otherwise] as const);
  const { stride, padding, dilation } = geometry as Record<
    string,
    number | readonly [number, number]
  >;
  const [s, p, d] = [pair(stride, 1), pair(padding, 0), pair(dilation, 1)];
  const image = x.dataSync();
  const at = (b: number, c: number, i: number, j: number) =>
    i >= 0 && j >= 0 && i < height && j < width
      ? image[((b * 2 + c) * height + i) * width + j]!
      : 0;
  const patches: number[][] = [];
  const gradients: number[][] = [];
  const g = weights.dataSync();
  for (let b = 0; b < 2; ++b)
    for (let i = 0; i < outH; ++i)
      for (let j = 0; j < outW; ++j) {
        const patch: number[] = [];
        for (let c = 0; c < 2; ++c)
          for (let u = 0; u < 2; ++u)
            for (let v = 0; v < 3; ++v)
              patch.push(at(b, c, i * s[0] - p[0] + u * d[0], j * s[1] - p[1] + v * d[1]));
        patches.push(patch);
        gradients.push([0, 1, 2].map((o) => g[((b * 3 + o) * outH + i) * outW + j]!));
      }
  near(read[0]!.inputs, meanSquares(patches));
  near(read[0]!.outputs, meanSquares(gradients));
});

test("grouped convolutions are left alone, unused layers have no moments, hooks stay", async () => {
  const first = new Linear(2, 2);
  const unused = new Linear(2, 2);
  const model = new Sequential(first, unused, new Conv2d(2, 2, 1, { groups: 2 }));
  expect(momentLayers(model).map(({ module }) => module)).toEqual([first, unused]);
  let seen = 0;
  const hook = (_: Tensor, output: Tensor) => {
    ++seen;
    return output;
  };
  first.hook = hook;
  const x = Tensor.from(wave(4, 0), [2, 2]);
  const { read } = await momentsOf(model, () => sum(square(first.forward(x))));
  expect(read[0]).toBeDefined();
  expect(read[1]).toBeUndefined();
  expect([seen, first.hook]).toEqual([1, hook]);
});

test("nothing is leaked, and an error leaves the hooks as they were", async () => {
  const layer = new Linear(2, 2);
  const x = Tensor.from(wave(8, 0), [4, 2]);
  const run = async () => {
    const { gradients } = await momentsOf(layer, () => sum(square(reshape(layer.forward(x), [8]))));
    const { value, gradients: found } = item(gradients, 0);
    for (const tensor of [value, ...found]) tensor.dispose();
  };
  await run();
  const before = memoryStats().liveBlocks;
  await run();
  expect(memoryStats().liveBlocks).toBeLessThanOrEqual(before);
  const failing = () => {
    layer.forward(x);
    throw new Error("from the loss");
  };
  await expect(momentsOf(layer, failing)).rejects.toThrow("from the loss");
  expect(layer.hook).toBeUndefined();
});
