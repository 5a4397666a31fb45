import { crossEntropy, linear, tanh } from "../../lib/autodiff/index.js";
import { memoryStats } from "../../lib/binding/index.js";
import { gmpSync, sparseTransfer, type TransferTask } from "../../lib/compress/index.js";
import { copyInto } from "../../lib/ops/copy.js";
import { AdamW } from "../../lib/optim/index.js";
import { Tensor } from "../../lib/tensor/index.js";
import { normal } from "../helpers/gptq-oracle.js";

const draw = normal(1);
const random = (...shape: number[]) =>
  Tensor.from(
    Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => draw()),
    shape,
  );
const values = (tensor: Tensor) => Array.from(tensor.dataSync(), Number);

/** A network 5-8-3 whose first weight is pruned, and a task it can learn. */
function problem(sparsity: number) {
  const weight = random(8, 5);
  const [pruned] = gmpSync([weight], { sparsity });
  copyInto("test", pruned!.weight, weight);
  const body = [
    { name: "weight", tensor: weight },
    { name: "bias", tensor: random(8) },
  ];
  const head = [{ name: "head", tensor: random(3, 8) }];
  const x = random(60, 5);
  const y = Tensor.from(
    Int32Array.from({ length: 60 }, (_, i) => Number(values(x)[5 * i]! > 0) + (i % 2)),
  );
  const loss = () =>
    crossEntropy(linear(tanh(linear(x, weight, body[1]!.tensor)), head[0]!.tensor), y);
  const losses: number[] = [];
  const train = async ({ parameters, masks }: TransferTask) => {
    using optimizer = new AdamW(parameters, { lr: 0.05, weightDecay: 0.01 });
    optimizer.setMasks(masks);
    for (let i = 0; i < 30; ++i) losses.push((await optimizer.step(loss)).loss);
  };
  return { body, head, loss, losses, train };
}

test("linear: the backbone stays to the bit, the head learns", async () => {
  const { body, head, losses, train } = problem(0.5);
  const before = body.map(({ tensor }) => values(tensor));
  const { masks, zeros } = await sparseTransfer(body, { head, mode: "linear", train });
  expect(body.map(({ tensor }) => values(tensor))).toEqual(before);
  expect(losses.at(-1)).toBeLessThan(losses[0]!);
  expect(zeros).toBe(20);
  expect([...masks.keys()]).toEqual(["weight"]);
});

test("full: zeros stay, everything else learns", async () => {
  const { body, head, losses, train } = problem(0.5);
  const before = values(body[0]!.tensor);
  const { zeros } = await sparseTransfer(body, { head, mode: "full", train });
  const after = values(body[0]!.tensor);
  before.forEach((value, i) => {
    if (value === 0) expect(after[i]).toBe(0);
    else expect(after[i]).not.toBe(value);
  });
  expect(after.filter((value) => value === 0).length).toBe(zeros);
  expect(losses.at(-1)).toBeLessThan(losses[0]!);
});

test("a dense network is fine-tuned as without masks, to the bit", async () => {
  const { body, head, train } = problem(0);
  const copies = [...body, ...head].map(({ tensor }) => tensor.contiguous());
  await sparseTransfer(body, { head, mode: "full", train });
  const wanted = [...body, ...head].map(({ tensor }) => values(tensor));
  [...body, ...head].forEach(({ tensor }, i) => {
    copyInto("test", copies[i]!, tensor);
  });
  await train({ parameters: [...body, ...head], masks: new Map() });
  expect([...body, ...head].map(({ tensor }) => values(tensor))).toEqual(wanted);
});

test("training that changes what has to stay is found out; bad input", async () => {
  const { body, head, train, loss } = problem(0.5);
  const all = async () => {
    using optimizer = new AdamW([...body, ...head], { lr: 0.05 });
    await optimizer.step(loss);
  };
  const before = memoryStats().liveBlocks;
  await expect(sparseTransfer(body, { head, mode: "linear", train: all })).rejects.toThrow(
    /leave the backbone.*weight/,
  );
  const { body: other, head: end, loss: own } = problem(0.5);
  const unmasked = async ({ parameters }: TransferTask) => {
    using optimizer = new AdamW(parameters, { lr: 0.05 });
    await optimizer.step(own);
  };
  await expect(sparseTransfer(other, { head: end, mode: "full", train: unmasked })).rejects.toThrow(
    /hold the masks.*weight/,
  );
  const code = async (run: Promise<unknown>) =>
    expect(run).rejects.toMatchObject({ code: "ARGUMENT" });
  await code(sparseTransfer(body, { head: body, mode: "full", train }));
  await code(sparseTransfer([], { head, mode: "full", train }));
  await code(sparseTransfer(body, { head, mode: "half" as never, train }));
  expect(memoryStats().liveBlocks).toBeLessThanOrEqual(before + 8); // the second problem
});
