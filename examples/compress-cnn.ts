/**
 * A convolutional network that tells articles of clothing apart, pruned by magnitude, M-FAC, oBERT, HAP and MAD.
 *
 *   npm run example -- compress-cnn [--images 6000] [--full]
 *
 * Three tables. Weights: at once, and step by step with training between (GMP*, M-FAC, oBERT), 50 to 95 %. Channels: by the
 * Hessian's trace and by the norm, before and after training on, and with implants. Attacked pictures: weights by MAD and by
 * magnitude in a network that was trained on attacked pictures. --full trains on all 60,000 pictures.
 *
 * A weight whose mask stays open has no MAD score and goes first, so that MAD relies on the long training that its authors do after
 * it (60 epochs); after the one epoch here magnitude is well ahead.
 */
import { execFileSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { crossEntropy } from "../lib/autodiff/index.js";
import {
  channelUnits,
  cubicSparsity,
  fgsm,
  geometricSparsities,
  gmp,
  hapFates,
  hapImportance,
  hapPrune,
  madScores,
  mfac,
  obert,
  pruneByScores,
  pruneGradually,
  robustLoss,
  type GradualOptions,
  type UnitLayer,
} from "../lib/compress/index.js";
import { blockFisher } from "../lib/curvature/index.js";
import { fashionMnist, imageBatches, splitImages } from "../lib/data/index.js";
import { html, lineChart, page, textTable } from "../lib/report/index.js";
import type { Tensor } from "../lib/tensor/index.js";
import { gradients, robustAccuracy, SmallCNN, train } from "./pruning/network.js";
import { imageTask, percent } from "./tournament/images.js";

const { values: flags } = parseArgs({
  options: {
    images: { type: "string", default: "6000" },
    full: { type: "boolean", default: false },
  },
});
execFileSync("bash", ["scripts/setup-fashion-mnist.sh"], { stdio: "inherit" });
const all = await fashionMnist();
const data = flags.full
  ? all.train
  : splitImages(all.train, { test: Number(flags.images), seed: 1 }).test;
const test = splitImages(all.test, { test: 2000, seed: 2 }).test;
const { test: attackedTest } = splitImages(test, { test: 500, seed: 3 });
const task = imageTask({
  model: (seed) => new SmallCNN(seed),
  train: data,
  validation: test,
  test,
  batchSize: 64,
  epochs: 1,
  seeds: 1,
});
const accuracy = async (model: SmallCNN) => (await task.evaluate(model, "test"))["accuracy"] ?? NaN;

const EPOCH = Math.ceil(data.count / 64);
const dense = new SmallCNN(1);
await train(dense, data, { steps: 4 * EPOCH, seed: 1, lr: 2e-3 });
const whole = await accuracy(dense);
console.log(`${data.count} pictures, dense accuracy ${percent(whole)} on ${test.count} others`);

// ---- weights ----
const TARGETS = [0.5, 0.7, 0.8, 0.9, 0.95];
const GRADIENTS = 64;

type Prune = (model: SmallCNN) => GradualOptions["prune"];
const pruners: Readonly<Record<string, Prune>> = {
  magnitude: () => gmp,
  "M-FAC": (model) => async (weights, options) => {
    const rows = gradients(model, model.pruned, data, GRADIENTS, 7 + options.step);
    const results = await mfac(weights, rows, options);
    for (const row of rows) row.dispose();
    return results;
  },
  oBERT: (model) => async (weights, options) => {
    const rows = gradients(model, model.pruned, data, GRADIENTS, 7 + options.step);
    const fishers = weights.map(({ size }) => blockFisher(size));
    for (const [i, row] of rows.entries()) await fishers[i]!.add(row);
    const results = await obert(weights, fishers, options);
    for (const tensor of [...rows, ...fishers]) tensor.dispose();
    return results;
  },
};

async function pruned(prune: Prune, target: number, gradual: boolean): Promise<number> {
  const model = dense.copy();
  const steps = 8;
  const schedule = { initial: 0.5 * target, final: target, begin: 0, end: steps - 1 };
  const sparsities = gradual
    ? Array.from({ length: steps }, (_, t) => cubicSparsity(schedule, t))
    : geometricSparsities(0, target, 4);
  const { masks } = await pruneGradually(model.pruned, {
    sparsities,
    prune: prune(model),
    train: async (held, { step }) => {
      if (!gradual) return;
      const last = step === steps - 1;
      await train(model, data, {
        steps: last ? EPOCH : Math.ceil(EPOCH / 8),
        seed: 10 + step,
        lr: 1e-3,
        masks: held,
      });
    },
  });
  const result = await accuracy(model);
  for (const mask of masks.values()) mask.dispose();
  model.dispose();
  return result;
}

const curves: { name: string; values: number[] }[] = [];
for (const gradual of [false, true]) {
  for (const [method, prune] of Object.entries(pruners)) {
    const name = gradual
      ? `${method === "magnitude" ? "GMP*" : method}, gradual`
      : `${method}, at once`;
    const values: number[] = [];
    for (const target of TARGETS) values.push(await pruned(prune, target, gradual));
    curves.push({ name, values });
    console.log(`${name}: ${values.map(percent).join(", ")}`);
  }
}

// ---- channels ----
const RATIOS = [0.3, 0.5, 0.7];
const units = (model: SmallCNN): UnitLayer[] =>
  (["first", "second", "hidden"] as const).map((name) => {
    const { weight, bias } = model[name];
    return channelUnits(
      { name: `${name}.weight`, tensor: weight },
      bias ? [{ name: `${name}.bias`, tensor: bias }] : [],
    );
  });
const sample = [
  ...imageBatches(splitImages(data, { test: 512, seed: 5 }).test, { batchSize: 256 }),
];
const importance = await hapImportance(
  (k) => crossEntropy(dense.forward(sample[k]!.x), sample[k]!.y),
  units(dense),
  { batches: sample.length, samples: 40 },
);
const norms = new Map<string, number[]>();
for (const { name, weights, units: count } of units(dense)) {
  const values = (await weights[0]!.tensor.data()) as Float32Array;
  const size = values.length / count;
  norms.set(
    name,
    Array.from({ length: count }, (_, c) =>
      values.subarray(c * size, (c + 1) * size).reduce((sum, w) => sum + (w * w) / size, 0),
    ),
  );
}

async function channels(
  scores: ReadonlyMap<string, ArrayLike<number>>,
  ratio: number,
  implantRatio: number,
): Promise<{ before: number; after: number }> {
  const model = dense.copy();
  const fates = hapFates(scores, { ratio, limit: 0.9 });
  if (implantRatio > 0) {
    // Only a 3 x 3 convolution has a cheaper one; of a linear layer units go.
    const implants = hapFates(scores, { ratio, implantRatio, limit: 0.9 });
    for (const name of ["first.weight", "second.weight"]) fates.set(name, implants.get(name)!);
  }
  const masks = await hapPrune(units(model), fates);
  const before = await accuracy(model);
  await train(model, data, { steps: EPOCH, seed: 20, lr: 1e-3, masks });
  const after = await accuracy(model);
  for (const mask of masks.values()) mask.dispose();
  model.dispose();
  return { before, after };
}

const structured: { name: string; ratio: number; before: number; after: number }[] = [];
for (const [name, scores, implantRatio] of [
  ["HAP", importance, 0],
  ["HAP, 30 % implants", importance, 0.3],
  ["norm", norms, 0],
] as const) {
  for (const ratio of RATIOS)
    structured.push({ name, ratio, ...(await channels(scores, ratio, implantRatio)) });
  console.log(`${name}: done`);
}

// ---- attacked pictures ----
const RADIUS = 0.05;
const attack = (model: SmallCNN) => (x: Tensor, y: Tensor) =>
  fgsm((at) => crossEntropy(model.forward(at), y), x, { radius: RADIUS, seed: 3 });
const robust = dense.copy();
await train(robust, data, { steps: 2 * EPOCH, seed: 30, lr: 1e-3, prepare: attack(robust) });
const scores = await madScores(robust, {
  batches: imageBatches(splitImages(data, { test: 1024, seed: 6 }).test, { batchSize: 128 }),
  loss: (x, { y }) => crossEntropy(robust.forward(x), y),
  attack: { radius: RADIUS },
});

interface Attacked {
  readonly name: string;
  readonly sparsity: number;
  readonly clean: number;
  readonly robust: number;
  readonly cleanAfter: number;
  readonly robustAfter: number;
}
async function attackedRow(name: "MAD" | "magnitude", sparsity: number): Promise<Attacked> {
  const model = robust.copy();
  const own = [...scores].map(([path, score]) => [path.replace(".weight", ""), score] as const);
  const chosen = own.filter(([path]) => path === "second" || path === "hidden");
  const { masks } = await pruneGradually(model.pruned, {
    sparsities: [sparsity],
    prune: (weights, options) =>
      name === "magnitude"
        ? gmp(weights, { ...options, global: false })
        : pruneByScores(
            weights,
            chosen.map(([, score]) => score),
            { ...options, scopes: ["global", "row"] },
          ),
    train: () => undefined,
  });
  const [clean, robustBefore] = [
    await accuracy(model),
    await robustAccuracy(model, attackedTest, RADIUS),
  ];
  await train(model, data, {
    steps: EPOCH,
    seed: 40,
    lr: 5e-4,
    masks,
    prepare: attack(model),
    loss: (attacked, x, y) => robustLoss(model.forward(attacked), model.forward(x), y),
  });
  return {
    name,
    sparsity,
    clean,
    robust: robustBefore,
    cleanAfter: await accuracy(model),
    robustAfter: await robustAccuracy(model, attackedTest, RADIUS),
  };
}
const denseRobust = {
  clean: await accuracy(robust),
  robust: await robustAccuracy(robust, attackedTest, RADIUS),
};
const attacked: Attacked[] = [];
for (const sparsity of [0.8, 0.9])
  for (const name of ["MAD", "magnitude"] as const)
    attacked.push(await attackedRow(name, sparsity));

// ---- report ----
const right = { align: "right" } as const;
const tables = [
  textTable(
    [{ title: "weights" }, ...TARGETS.map((t) => ({ title: percent(t), ...right }))],
    curves.map(({ name, values }) => [name, ...values.map(percent)]),
  ),
  textTable(
    [
      { title: "channels by" },
      { title: "pruned", ...right },
      { title: "before training on", ...right },
      { title: "after", ...right },
    ],
    structured.map((row) => [
      row.name,
      percent(row.ratio),
      percent(row.before),
      percent(row.after),
    ]),
  ),
  textTable(
    [
      { title: "attacked" },
      { title: "sparsity", ...right },
      { title: "clean", ...right },
      { title: "attacked", ...right },
      { title: "clean, trained on", ...right },
      { title: "attacked, trained on", ...right },
    ],
    [
      ["dense", percent(0), percent(denseRobust.clean), percent(denseRobust.robust), "", ""],
      ...attacked.map((row) => [
        row.name,
        ...[row.sparsity, row.clean, row.robust, row.cleanAfter, row.robustAfter].map(percent),
      ]),
    ],
  ),
];
for (const table of tables) console.log(`\n${table}`);
const body = html`<h1>Pruning a convolutional network</h1>
  <p>
    Fashion-MNIST, ${data.count} pictures to train on, ${test.count} to test; the dense network is
    right on ${percent(whole)}. Attacks change a pixel by at most ${RADIUS}.
  </p>
  ${lineChart({
    id: "weights",
    title: "Accuracy against sparsity",
    description: "Test accuracy of each method by the share of weights pruned",
    xLabel: "share of weights pruned",
    yLabel: "test accuracy",
    series: curves.map(({ name, values }) => ({
      name,
      points: values.map((y, i) => ({ x: TARGETS[i]!, y })),
    })),
  })}
  ${tables.map((table) => html`<pre>${table}</pre>`)}`;
const out = resolve("example-out");
mkdirSync(out, { recursive: true });
writeFileSync(
  join(out, "compress-cnn.html"),
  page({ title: "Pruning a convolutional network", body }),
);
console.log(`\nwrote ${join("example-out", "compress-cnn.html")}`);
console.log(
  JSON.stringify({
    dense: whole,
    sparsities: TARGETS,
    weights: Object.fromEntries(curves.map(({ name, values }) => [name, values])),
    channels: structured,
    attacked: { dense: denseRobust, rows: attacked },
  }),
);
