/**
 * A small transformer on public-domain text, and optimizers of first and second order with an equal tuning budget.
 *
 *   npm run example -- language-model [--steps 300] [--seeds 1]
 *   npm run example -- language-model --fixture FILE.safetensors [--steps 3000]
 *
 * Moby-Dick in tokens of a byte-pair encoding trained on it; the last tenth is kept for validation and test. Each optimizer gets
 * three learning rates, a third of the steps each, is judged on the first half of the kept text, and its best rate is then
 * run whole and tested on the second half: bits per byte, so that figures do not depend on the tokens.
 *
 * --fixture trains one model with AdamW instead, and writes it in float16, with its tokenizer and a model card.
 */
import { writeFile } from "node:fs/promises";
import { parseArgs } from "node:util";
import { crossEntropy } from "../lib/autodiff/index.js";
import { mobyDick, saveTokenizer, tokenBatches, trainBpe } from "../lib/data/index.js";
import { saveTensors } from "../lib/formats/index.js";
import { transformerLM, type TransformerLM } from "../lib/models/index.js";
import { InitialValues } from "../lib/nn/index.js";
import { AdamW } from "../lib/optim/index.js";
import { scope } from "../lib/tensor/index.js";
import { textContenders } from "./tournament/contenders.js";
import { report } from "./tournament/report.js";
import { tournament, type Batch, type Figures, type Task } from "./tournament/tournament.js";

const { values: flags } = parseArgs({
  options: {
    steps: { type: "string" },
    seeds: { type: "string", default: "1" },
    fixture: { type: "string" },
  },
});
const steps = Number(flags.steps ?? (flags.fixture === undefined ? 300 : 3000));
const seeds = Number(flags.seeds);
const batchSize = 16;
const contextLength = 64;
const shape = { vocabulary: 1024, context: contextLength, width: 96, layers: 3, heads: 4 } as const;

const book = await mobyDick();
const cut = Math.floor(0.9 * book.length);
const half = Math.floor((cut + book.length) / 2);
const texts = {
  train: book.slice(0, cut),
  validation: book.slice(cut, half),
  test: book.slice(half),
};
const tokenizer = await trainBpe([texts.train], { vocabSize: shape.vocabulary });
const tokens = {
  train: await tokenizer.encode(texts.train),
  validation: await tokenizer.encode(texts.validation),
  test: await tokenizer.encode(texts.test),
};

/** Mean loss a token in nats, and `bits` per byte of text. */
async function evaluate(model: TransformerLM, data: "validation" | "test"): Promise<Figures> {
  model.train(false);
  let [nats, count] = [0, 0];
  const options = { batchSize: 32, contextLength, shuffle: false };
  for (const { inputs, targets } of tokenBatches(tokens[data], options)) {
    const loss = scope(() => crossEntropy(model.forward(inputs), targets, { reduction: "sum" }));
    nats += Number((await loss.data())[0]);
    count += targets.size;
    for (const tensor of [inputs, targets, loss]) tensor.dispose();
  }
  model.train();
  const bytesAToken = Buffer.byteLength(texts[data]) / tokens[data].length;
  return { loss: nats / count, bits: nats / count / Math.LN2 / bytesAToken };
}

const task: Task<TransformerLM> = {
  model: (seed) => transformerLM({ ...shape, initial: new InitialValues(seed) }),
  steps,
  tuningSteps: Math.ceil(steps / 3),
  seeds,
  *batches(seed): Generator<Batch<TransformerLM>> {
    const batches = tokenBatches(tokens.train, { batchSize, contextLength, seed });
    for (;;) {
      for (const { inputs, targets } of batches) {
        yield {
          loss: (model) => crossEntropy(model.forward(inputs), targets),
          dispose: () => {
            for (const tensor of [inputs, targets]) tensor.dispose();
          },
        };
      }
    }
  },
  evaluate,
};

async function writeFixture(path: string): Promise<void> {
  const model = task.model(1);
  const lr = { schedule: "cosine", from: 3e-3, to: 1e-4, steps, warmup: 100 } as const;
  const optimizer = new AdamW(model.parameters(), { lr, weightDecay: 0.01, clipNorm: 1 });
  let step = 0;
  for (const batch of task.batches(1)) {
    const { loss } = await optimizer.step(() => batch.loss(model));
    batch.dispose();
    step += 1;
    if (step % 100 === 0 || step === steps)
      console.error(`step ${step} of ${steps}: loss ${loss.toFixed(3)}`);
    if (step === steps) break;
  }
  const { bits } = await evaluate(model, "test");
  const halves = [...model.stateDict()].map(([name, x]) => [name, x.toDType("float16")] as const);
  await saveTensors(path, new Map(halves), { format: "osculate" });
  const stem = path.replace(/\.safetensors$/, "");
  await saveTokenizer(tokenizer, `${stem}.tokenizer.json`);
  const card = {
    model: shape,
    corpus: "Herman Melville, Moby-Dick (public domain), first nine tenths",
    steps,
    batchSize,
    contextLength,
    heldOut: "last twentieth of the text",
    bitsPerByte: bits,
    command: `npm run example -- language-model --fixture FILE --steps ${steps}`,
  };
  await writeFile(`${stem}.card.json`, `${JSON.stringify(card, undefined, 2)}\n`);
  console.log(JSON.stringify(card));
}

if (flags.fixture === undefined) {
  const text = `A transformer of ${shape.layers} blocks of width ${shape.width} on Moby-Dick (${tokens.train.length} tokens of a vocabulary of ${shape.vocabulary}), ${steps} steps of ${batchSize} x ${contextLength} tokens. Each optimizer at the best of three learning rates, tried for ${task.tuningSteps} steps.`;
  console.log(text);
  report(await tournament(task, textContenders), {
    name: "language-model",
    title: "A language model: optimizers on a transformer",
    text,
    figures: [
      ["bits", "bits per byte", (x) => x.toFixed(3)],
      ["loss", "test loss a token", (x) => x.toFixed(4)],
    ],
    baseline: "AdamW",
  });
} else {
  await writeFixture(flags.fixture);
}
