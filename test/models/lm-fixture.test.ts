import { readFileSync } from "node:fs";
import { join } from "node:path";
import { crossEntropy } from "../../lib/autodiff/index.js";
import { loadTokenizer, mobyDick, tokenBatches } from "../../lib/data/index.js";
import { loadTensors } from "../../lib/formats/index.js";
import { transformerLM, type TransformerLMOptions } from "../../lib/models/index.js";
import { scope } from "../../lib/tensor/index.js";

const folder = join(import.meta.dirname, "..", "fixtures");
const card = JSON.parse(readFileSync(join(folder, "lm.card.json"), "utf8")) as {
  model: TransformerLMOptions;
  bitsPerByte: number;
};

test("the language model of the fixture has the bits per byte of its card on the text that was held out", async () => {
  const tokenizer = await loadTokenizer(join(folder, "lm.tokenizer.json"));
  const { tensors } = await loadTensors(join(folder, "lm.safetensors"));
  const model = transformerLM(card.model);
  const wide = [...tensors].map(([name, x]) => [name, x.toDType("float32")] as const);
  model.loadStateDict(new Map(wide));
  model.train(false);
  const book = await mobyDick();
  const cut = Math.floor(0.9 * book.length);
  const text = book.slice(Math.floor((cut + book.length) / 2));
  const tokens = await tokenizer.encode(text);
  let [nats, count] = [0, 0];
  const windows = { batchSize: 32, contextLength: card.model.context, shuffle: false };
  for (const { inputs, targets } of tokenBatches(tokens, windows)) {
    const loss = scope(() => crossEntropy(model.forward(inputs), targets, { reduction: "sum" }));
    nats += Number(loss.dataSync()[0]);
    count += targets.size;
    for (const tensor of [inputs, targets, loss]) tensor.dispose();
  }
  const bits = nats / count / Math.LN2 / (Buffer.byteLength(text) / tokens.length);
  // The file has float16 weights: 2^-11 of each.
  expect(Math.abs(bits - card.bitsPerByte)).toBeLessThan(1e-3);
});
