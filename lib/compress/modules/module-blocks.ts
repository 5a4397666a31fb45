import { ArgumentError } from "../../errors.js";
import { Linear, type Module } from "../../nn/index.js";
import { keep, scope, Tensor } from "../../tensor/index.js";

/** Runs a model on one batch of calibration data. */
export type ForwardModel = (batch: Tensor) => unknown;

/** A layer that can be compressed, with its path. */
export interface NamedLinear {
  readonly name: string;
  readonly layer: Linear;
}

type Forward = (...args: unknown[]) => unknown;
type Block = Module & { forward: Forward };

/** What is run again and again while its layers are compressed: a block of a chain, or the whole model. */
export interface Unit {
  /** Undefined: the whole model. */
  readonly block: Block | undefined;
  /** In the order in which they run; those in one list have the same input. */
  readonly layers: readonly (readonly NamedLinear[])[];
}

const isBlock = (module: Module): module is Block =>
  typeof (module as { forward?: unknown }).forward === "function";

/**
 * Finds out, by one run, in which order layers run, which share their input, and whether the model has a chain of blocks: an
 * array of modules each of which takes what the one before returned.
 *
 * @returns the layers before the chain, each block, the layers after it; a model without a chain is one unit. Layers that never
 *   ran are missing.
 */
export function findUnits(model: Module, run: () => unknown): Unit[] {
  const modules = [...model.modules()];
  const seen = new Map<Linear, { name: string; input: Tensor }>();
  const calls = new Map<Module, { input: unknown; output: unknown; count: number }>();
  const restores: (() => void)[] = [];
  for (const { name, module } of modules) {
    if (module instanceof Linear) {
      const before = module.hook;
      module.hook = (input, output) => {
        if (!seen.has(module)) seen.set(module, { name, input });
        return before === undefined ? output : before(input, output);
      };
      restores.push(() => (module.hook = before));
    } else if (/(^|[.])\d+$/.test(name) && isBlock(module)) {
      const { forward } = module;
      const watched: Forward = (...args) => {
        const output = Reflect.apply(forward, module, args);
        const count = (calls.get(module)?.count ?? 0) + 1;
        calls.set(module, { input: args[0], output, count });
        return output;
      };
      restores.push(replaceForward(module, watched));
    }
  }
  try {
    scope(() => void run());
  } finally {
    for (const restore of restores) restore();
  }
  const chain = longestChain(modules, calls);
  const ran = [...seen].map(([layer, { name, input }]) => ({ name, layer, input }));
  const inside = (block: Module) => new Set([...block.modules()].map(({ module }) => module));
  const sets = chain.map(inside);
  const first = ran.findIndex(({ layer }) => sets.some((set) => set.has(layer)));
  const rest = ran.filter(({ layer }) => !sets.some((set) => set.has(layer)));
  const before = rest.filter((one) => ran.indexOf(one) < first);
  const after = rest.filter((one) => ran.indexOf(one) > first);
  return [
    { block: undefined, layers: bySharedInput(before) },
    ...chain.map((block, i) => ({
      block,
      layers: bySharedInput(ran.filter(({ layer }) => sets[i]?.has(layer))),
    })),
    { block: undefined, layers: bySharedInput(after) },
  ].filter(({ layers }) => layers.length > 0);
}

/** The blocks of the first array (outermost comes first) of two or more that are a chain with layers in it. */
function longestChain(
  modules: readonly { name: string; module: Module }[],
  calls: ReadonlyMap<Module, { input: unknown; output: unknown; count: number }>,
): Block[] {
  const arrays = new Map<string, Block[]>();
  for (const { name, module } of modules) {
    if (!calls.has(module) || !isBlock(module)) continue;
    const path = name.replace(/[.]?\d+$/, "");
    arrays.set(path, [...(arrays.get(path) ?? []), module]);
  }
  for (const blocks of arrays.values()) {
    const linked = blocks.every((block, i) => {
      const call = calls.get(block);
      const previous = blocks[i - 1];
      if (call?.count !== 1 || !(call.output instanceof Tensor)) return false;
      return previous === undefined || calls.get(previous)?.output === call.input;
    });
    const hasLayers = blocks.some((block) =>
      [...block.modules()].some(({ module }) => module instanceof Linear),
    );
    if (blocks.length > 1 && linked && hasLayers) return blocks;
  }
  return [];
}

function bySharedInput(layers: readonly (NamedLinear & { input: Tensor })[]): NamedLinear[][] {
  const groups: (NamedLinear & { input: Tensor })[][] = [];
  for (const one of layers) {
    const last = groups.at(-1);
    if (last?.[0]?.input === one.input) last.push(one);
    else groups.push([one]);
  }
  return groups.map((group) => group.map(({ name, layer }) => ({ name, layer })));
}

/** @returns what puts the module's own `forward` back. */
function replaceForward(module: Block, forward: Forward): () => void {
  const own = Object.getOwnPropertyDescriptor(module, "forward");
  Object.defineProperty(module, "forward", { value: forward, configurable: true, writable: true });
  return () => {
    if (own === undefined) Reflect.deleteProperty(module, "forward");
    else Object.defineProperty(module, "forward", own);
  };
}

/** Ends a run of the model whose rest is not needed. */
class Enough extends Error {}

/** The arguments that a block was called with, kept until they are disposed. */
export class BlockInput {
  constructor(public args: readonly unknown[]) {
    for (const tensor of tensorsOf(args)) keep(tensor);
  }

  /** Runs the block on it; the results of layers are freed. */
  run(block: Block): void {
    scope(() => {
      Reflect.apply(block.forward, block, [...this.args]);
    });
  }

  /** Becomes what the next block is called with: this one's output, and the other arguments. */
  advance(block: Block): void {
    const output = scope(() => Reflect.apply(block.forward, block, [...this.args]) as Tensor);
    const [x, ...rest] = this.args;
    this.args = [keep(output), ...rest];
    if (x instanceof Tensor && x !== output) x.dispose();
  }

  dispose(): void {
    for (const tensor of tensorsOf(this.args)) tensor.dispose();
  }
}

function tensorsOf(value: unknown): Tensor[] {
  if (value instanceof Tensor) return [value as Tensor];
  if (Array.isArray(value)) return value.flatMap(tensorsOf);
  if (value !== null && typeof value === "object") return Object.values(value).flatMap(tensorsOf);
  return [];
}

/** What the first block of a chain is called with for a batch; the model is not run further. */
export function captureInput(block: Block, run: () => unknown): BlockInput {
  const captured: BlockInput[] = [];
  const restore = replaceForward(block, (...args) => {
    captured.push(new BlockInput(args.map((arg) => unshared(arg))));
    throw new Enough();
  });
  try {
    scope(() => void run());
  } catch (error) {
    if (!(error instanceof Enough)) throw error;
  } finally {
    restore();
  }
  const [input] = captured;
  if (input === undefined)
    throw new ArgumentError(
      "compress: expected every batch to run the blocks that the first one ran",
    );
  return input;
}

/** A tensor of our own of what may be the caller's batch itself. */
function unshared(value: unknown): unknown {
  if (value instanceof Tensor) return value.contiguous();
  if (Array.isArray(value)) return value.map(unshared);
  if (
    value !== null &&
    typeof value === "object" &&
    Object.getPrototypeOf(value) === Object.prototype
  )
    return Object.fromEntries(Object.entries(value).map(([key, entry]) => [key, unshared(entry)]));
  return value;
}

/** Runs `run` and returns the inputs of a layer as `[tokens, in]`, which the caller disposes; the model is not run further. */
export function captureLayerInputs(layer: Linear, run: () => unknown): Tensor[] {
  const inputs: Tensor[] = [];
  const before = layer.hook;
  const features = layer.weight.shape[1] ?? 0;
  layer.hook = (input, output) => {
    const dense = input.contiguous();
    inputs.push(keep(dense.reshape([input.size / features, features])));
    return before === undefined ? output : before(input, output);
  };
  try {
    scope(() => void run());
  } catch (error) {
    for (const input of inputs) input.dispose();
    throw error;
  } finally {
    layer.hook = before;
  }
  return inputs;
}
