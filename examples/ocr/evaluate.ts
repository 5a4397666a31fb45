/** Reads lines with several models at once and scores each against the truth and the first model. */
import { availableParallelism } from "node:os";
import { GraphSession } from "../../lib/graph/session.js";
import { MODEL_INPUT } from "./dataset.js";
import { encode, greedyDecode, type Alphabet } from "./decode.js";
import { ctcLoss, klDivergence, Scorer, type Score } from "./metrics.js";
import { LINE_HEIGHT, type LineImage } from "./render.js";

/** A model to score. The first of a list is the reference of the KL divergence. */
export interface Candidate {
  readonly name: string;
  /** The file of the model. */
  readonly path: string;
}

/** What each model read on one line. */
export interface LineReadings {
  readonly image: LineImage;
  /** By the name of the model. */
  readonly readings: Readonly<Record<string, string>>;
}

export interface EvaluateOptions {
  readonly alphabet: Alphabet;
  readonly onLine?: (line: LineReadings, index: number) => void;
}

/**
 * Scores every candidate on every line. Lines are fed one by one, each in its own width: padding would
 * change what the network sees. The models read a line at the same time, one thread each, which keeps
 * all cores busy without waiting inside small operators. Nothing is kept of a line but its readings.
 *
 * @throws RangeError for a line with a character outside the alphabet; errors of `GraphSession`.
 */
export async function evaluate(
  candidates: readonly Candidate[],
  lines: AsyncIterable<LineImage>,
  options: EvaluateOptions,
): Promise<Record<string, Score>> {
  const models: { name: string; session: GraphSession; scorer: Scorer }[] = [];
  try {
    for (const { name, path } of candidates) {
      const session = await GraphSession.open(path, { threads: 1 });
      models.push({ name, session, scorer: new Scorer() });
    }
    let index = 0;
    for await (const { image, outputs } of readAhead(models, lines)) {
      const labels = encode(image.text, options.alphabet);
      if (labels === undefined) {
        throw new RangeError(`evaluate: expected characters of the alphabet in ${image.text}`);
      }
      const [reference] = outputs;
      const readings: Record<string, string> = {};
      for (const [m, { name, scorer }] of models.entries()) {
        const { probabilities, steps } = outputs[m]!;
        const reading = greedyDecode(probabilities, steps, options.alphabet);
        readings[name] = reading;
        scorer.add({
          truth: image.text,
          reading,
          ctc: ctcLoss(probabilities, steps, labels),
          klSum: m === 0 ? 0 : klDivergence(reference!.probabilities, probabilities),
          steps,
        });
      }
      options.onLine?.({ image, readings }, index);
      index += 1;
    }
    return Object.fromEntries(models.map(({ name, scorer }) => [name, scorer.score()]));
  } finally {
    await Promise.all(models.map(({ session }) => session.close()));
  }
}

interface Output {
  /** `[steps, classes]`. */
  readonly probabilities: Float32Array;
  readonly steps: number;
}

interface Read {
  readonly image: LineImage;
  readonly outputs: readonly Output[];
}

/** Reads the next line while the caller scores this one. */
async function* readAhead(
  models: readonly { session: GraphSession }[],
  lines: AsyncIterable<LineImage>,
): AsyncGenerator<Read> {
  let ahead: Promise<Read> | undefined;
  for await (const image of lines) {
    const next = readLine(models, image).then((outputs) => ({ image, outputs }));
    // A failure is thrown where it is awaited; nobody waits when the caller has stopped.
    next.catch(() => undefined);
    if (ahead !== undefined) yield await ahead;
    ahead = next;
  }
  if (ahead !== undefined) yield await ahead;
}

/** All models on one line, as many at a time as there are cores. */
async function readLine(
  models: readonly { session: GraphSession }[],
  image: LineImage,
): Promise<Output[]> {
  const outputs: Output[] = [];
  let next = 0;
  const work = async (): Promise<void> => {
    for (let m = next++; m < models.length; m = next++) {
      outputs[m] = await readOne(models[m]!.session, image);
    }
  };
  await Promise.all(Array.from({ length: availableParallelism() }, work));
  return outputs;
}

async function readOne(session: GraphSession, image: LineImage): Promise<Output> {
  const [name] = session.outputNames;
  const feeds = { [MODEL_INPUT]: { data: image.data, dims: [1, 3, LINE_HEIGHT, image.width] } };
  const output = (await session.run(feeds))[name!]!;
  if (!(output.data instanceof Float32Array) || output.dims.length !== 3) {
    throw new TypeError("evaluate: expected float32 [1, steps, classes] from the recognizer");
  }
  return { probabilities: output.data, steps: output.dims[1]! };
}
