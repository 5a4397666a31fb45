/**
 * Handwritten digits, and four optimizers with an equal tuning budget.
 *
 *   npm run example -- digits [--epochs 2] [--seeds 3]
 *
 * A network 784-128-10 with tanh is trained on 8,000 digits of MNIST. Each optimizer gets five learning rates on a grid, is
 * judged on 1,000 validation digits, and its best rate is then run with other seeds and tested on 1,000 more. A step of
 * AdaHessian and of Sophia costs one product with the Hessian more than a gradient (Sophia: every tenth step), so the
 * curves are drawn against seconds too.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { crossEntropy, linear, reshape, tanh } from "../lib/autodiff/index.js";
import { imageBatches, mnistDigits, splitImages, type ImageDataset } from "../lib/data/index.js";
import {
  AdaHessian,
  AdamW,
  SGD,
  Sophia,
  type Parameter,
  type StepResult,
} from "../lib/optim/index.js";
import { randomNormal } from "../lib/ops/random.js";
import { html, lineChart, page, textTable, type XySeries } from "../lib/report/index.js";
import { scope, Tensor } from "../lib/tensor/index.js";

const { values: flags } = parseArgs({
  options: { epochs: { type: "string", default: "2" }, seeds: { type: "string", default: "3" } },
});
const EPOCHS = Number(flags.epochs);
const SEEDS = Number(flags.seeds);
const BATCH = 64;
const HIDDEN = 128;

interface Steps {
  step(loss: () => Tensor): Promise<StepResult>;
  dispose(): void;
}

interface Method {
  readonly name: string;
  readonly rates: readonly number[];
  make(params: readonly Parameter[], lr: number, seed: number): Steps;
}

const methods: readonly Method[] = [
  {
    name: "SGD, momentum 0.9",
    rates: [0.003, 0.01, 0.03, 0.1, 0.3],
    make: (params, lr) => new SGD(params, { lr }),
  },
  {
    name: "AdamW",
    rates: [0.0003, 0.001, 0.003, 0.01, 0.03],
    make: (params, lr) => new AdamW(params, { lr, weightDecay: 0 }),
  },
  {
    name: "AdaHessian",
    rates: [0.01, 0.03, 0.1, 0.3, 1],
    make: (params, lr, seed) => new AdaHessian(params, { lr, seed, eps: 1e-3 }),
  },
  {
    name: "Sophia-H",
    rates: [0.0003, 0.001, 0.003, 0.01, 0.03],
    make: (params, lr, seed) =>
      new Sophia(params, { lr, seed, weightDecay: 0, curvature: "hutchinson", rho: 0.1 }),
  },
];

interface Network {
  readonly params: readonly Parameter[];
  forward(x: Tensor): Tensor;
}

function network(seed: number): Network {
  const weights = [
    ["hidden.weight", [HIDDEN, 784]],
    ["output.weight", [10, HIDDEN]],
  ] as const;
  const [w1, w2] = weights.map(([, [out, inputs]], stream) =>
    randomNormal([out, inputs], { seed, stream, std: Math.sqrt(1 / inputs) }),
  ) as [Tensor, Tensor];
  const [b1, b2] = [Tensor.zeros([HIDDEN]), Tensor.zeros([10])];
  return {
    params: [
      { name: "hidden.weight", tensor: w1 },
      { name: "hidden.bias", tensor: b1 },
      { name: "output.weight", tensor: w2 },
      { name: "output.bias", tensor: b2 },
    ],
    forward: (x) => linear(tanh(linear(reshape(x, [-1, 784]), w1, b1)), w2, b2),
  };
}

/** Mean loss and share of right answers. */
async function evaluate(
  net: Network,
  data: ImageDataset,
): Promise<{ loss: number; accuracy: number }> {
  const batches = imageBatches(data, { batchSize: data.count, shuffle: false });
  for (const { x, y } of batches) {
    const { logits, loss } = scope(() => {
      const logits = net.forward(x);
      return { logits, loss: crossEntropy(logits, y) };
    });
    const [scores, [value]] = await Promise.all([logits.data(), loss.data()]);
    let right = 0;
    for (let i = 0; i < data.count; ++i) {
      const row = Array.from(scores.subarray(10 * i, 10 * i + 10) as Float32Array);
      if (row.indexOf(Math.max(...row)) === data.labels[i]) right += 1;
    }
    for (const tensor of [x, y, logits, loss]) tensor.dispose();
    return { loss: Number(value), accuracy: right / data.count };
  }
  throw new Error("no pictures");
}

interface Run {
  readonly seconds: number;
  readonly curve: readonly { step: number; seconds: number; loss: number }[];
  readonly network: Network;
}

async function train(method: Method, lr: number, seed: number, data: ImageDataset): Promise<Run> {
  const net = network(seed);
  const optimizer = method.make(net.params, lr, seed);
  const batches = imageBatches(data, { batchSize: BATCH, seed });
  const curve: { step: number; seconds: number; loss: number }[] = [];
  let [step, seconds, average] = [0, 0, Number.NaN];
  try {
    for (let epoch = 0; epoch < EPOCHS; ++epoch) {
      for (const { x, y } of batches) {
        const start = performance.now();
        const { loss } = await optimizer.step(() => crossEntropy(net.forward(x), y));
        seconds += (performance.now() - start) / 1000;
        for (const tensor of [x, y]) tensor.dispose();
        average = Number.isNaN(average) ? loss : 0.95 * average + 0.05 * loss;
        step += 1;
        if (step % 5 === 0) curve.push({ step, seconds, loss: average });
      }
    }
  } catch (error) {
    // A rate that is too high ends in numbers that are not finite: that run has lost.
    if ((error as { code?: string }).code !== "NON_FINITE") throw error;
  } finally {
    optimizer.dispose();
  }
  return { seconds, curve, network: net };
}

const free = ({ params }: Network) => {
  for (const { tensor } of params) tensor.dispose();
};

interface Row {
  readonly name: string;
  readonly lr: number;
  readonly accuracy: readonly number[];
  readonly loss: readonly number[];
  readonly millisecondsAStep: number;
  readonly goodRates: number;
  readonly curve: Run["curve"];
}

const median = (list: readonly number[]) =>
  [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)] ?? Number.NaN;
const percent = (x: number) => `${(100 * x).toFixed(2)} %`;

async function compete(
  method: Method,
  train8k: ImageDataset,
  valid: ImageDataset,
  test: ImageDataset,
): Promise<Row> {
  const tuned: { lr: number; loss: number }[] = [];
  for (const lr of method.rates) {
    const run = await train(method, lr, 0, train8k);
    const { loss } = await evaluate(run.network, valid);
    tuned.push({ lr, loss: Number.isFinite(loss) ? loss : Infinity });
    free(run.network);
  }
  const best = Math.min(...tuned.map(({ loss }) => loss));
  const lr = tuned.find(({ loss }) => loss === best)?.lr ?? Number.NaN;
  const results: { loss: number; accuracy: number }[] = [];
  const runs: Run[] = [];
  for (let seed = 1; seed <= SEEDS; ++seed) {
    const run = await train(method, lr, seed, train8k);
    results.push(await evaluate(run.network, test));
    runs.push(run);
    free(run.network);
  }
  const steps = runs[0]?.curve.at(-1)?.step ?? 1;
  return {
    name: method.name,
    lr,
    accuracy: results.map(({ accuracy }) => accuracy),
    loss: results.map(({ loss }) => loss),
    millisecondsAStep: (1000 * median(runs.map(({ seconds }) => seconds))) / steps,
    goodRates: tuned.filter(({ loss }) => loss <= 1.1 * best).length,
    curve: runs[0]?.curve ?? [],
  };
}

const { train: rest, test } = splitImages(await mnistDigits(), { test: 1000, seed: 1 });
const { train: train8k, test: valid } = splitImages(rest, { test: 1000, seed: 2 });
console.log(
  `${train8k.count} digits to train on, ${EPOCHS} epochs of batches of ${BATCH}, ${SEEDS} seeds after tuning`,
);
const rows: Row[] = [];
for (const method of methods) {
  rows.push(await compete(method, train8k, valid, test));
  console.log(`${method.name}: done`);
}

const right = { align: "right" } as const;
const columns = [
  { title: "optimizer" },
  { title: "best rate", ...right },
  { title: "test accuracy", ...right },
  { title: "test loss", ...right },
  { title: "ms a step", ...right },
  { title: "rates within 10 % of the best", ...right },
];
const cells = rows.map((row) => [
  row.name,
  String(row.lr),
  `${percent(median(row.accuracy))} (${percent(Math.min(...row.accuracy))} to ${percent(Math.max(...row.accuracy))})`,
  median(row.loss).toFixed(4),
  row.millisecondsAStep.toFixed(2),
  `${row.goodRates} of 5`,
]);
console.log(`\n${textTable(columns, cells)}`);

const series = (x: (point: Run["curve"][number]) => number): XySeries[] =>
  rows.map(({ name, curve }) => ({
    name,
    points: curve.map((point) => ({ x: x(point), y: point.loss })),
  }));
const chart = { yLabel: "training loss (moving average)", yScale: "log" } as const;
const body = html`<h1>Digits: four optimizers</h1>
  <p>
    A network 784-${HIDDEN}-10 with tanh on ${train8k.count} handwritten digits, ${EPOCHS} epochs of
    batches of ${BATCH}. Each optimizer at the best of five learning rates.
  </p>
  ${lineChart({ ...chart, id: "steps", title: "Against steps", description: "Loss of each optimizer by step", xLabel: "steps", series: series(({ step }) => step) })}
  ${lineChart({ ...chart, id: "seconds", title: "Against seconds", description: "Loss of each optimizer by time", xLabel: "seconds", series: series(({ seconds }) => seconds) })}
  <pre>${textTable(columns, cells)}</pre>`;
const out = resolve("example-out");
mkdirSync(out, { recursive: true });
writeFileSync(join(out, "digits.html"), page({ title: "Digits: four optimizers", body }));
console.log(`\nwrote ${join("example-out", "digits.html")}`);
console.log(
  JSON.stringify(
    Object.fromEntries(
      rows.map((row) => [
        row.name,
        {
          lr: row.lr,
          accuracy: median(row.accuracy),
          loss: median(row.loss),
          msPerStep: row.millisecondsAStep,
          goodRates: row.goodRates,
        },
      ]),
    ),
  ),
);
