import { RecipeError, describe } from "../../errors.js";
import { compileMatch, type Match } from "../recipe-match.js";
import { canonicalKeys, fileKey, nearest } from "../recipe-schema.js";
import {
  layerPasses,
  type LayerMethod,
  type LayerPass,
  type LayerPassOptions,
} from "./layer-passes.js";

/** How one layer is compressed. Options a method does not take are errors. */
export interface ModuleLayerOptions extends LayerPassOptions {
  /** Default: "sparsegpt" where `sparsity` or `pattern` is given, else "gptq". */
  readonly method?: LayerMethod | undefined;
}

export interface ModuleRule extends ModuleLayerOptions {
  /** Layers by their path in the model, such as "blocks.*.attention.*" or "re:.*[.]down"; see `Match`. */
  readonly match: Match;
  /** Leave them as they are. */
  readonly skip?: boolean | undefined;
}

/** Options for every layer, and rules that change them: the first rule that matches a layer decides. */
export interface ModuleRecipe extends ModuleLayerOptions {
  /** Layers of a block see what those before them in the block were made into. Default true. */
  readonly trueSequential?: boolean | undefined;
  readonly rules?: readonly ModuleRule[] | undefined;
}

/** Recipes by name. */
export const presets = {
  W4A16: { method: "gptq", bits: 4, groupSize: 128 },
  W8: { method: "gptq", bits: 8, groupSize: 128 },
  "2:4": { method: "sparsegpt", pattern: "2:4" },
  "50%": { method: "sparsegpt", sparsity: 0.5 },
} as const satisfies Readonly<Record<string, ModuleRecipe>>;

export type Preset = keyof typeof presets;

const isBoolean = (value: unknown): boolean => typeof value === "boolean";
const isWhole = (value: unknown): boolean => Number.isInteger(value) && (value as number) >= 1;
const isFraction = (value: unknown): boolean =>
  typeof value === "number" && value >= 0 && value <= 1;

/** What each option takes, in words and as a test. */
const options: Readonly<Record<keyof ModuleLayerOptions, [string, (value: unknown) => boolean]>> = {
  method: [
    Object.keys(layerPasses)
      .map((name) => JSON.stringify(name))
      .join(", "),
    (value) => typeof value === "string" && Object.hasOwn(layerPasses, value),
  ],
  bits: ["2, 3, 4 or 8", (value) => [2, 3, 4, 8].includes(value as number)],
  groupSize: ["-1 (the row) or an integer >= 1", (value) => value === -1 || isWhole(value)],
  sym: ["true or false", isBoolean],
  mse: ["true or false", isBoolean],
  scaleDtype: ['"float16" or "float32"', (value) => value === "float16" || value === "float32"],
  descAct: ["true or false", isBoolean],
  staticGroups: ["true or false", isBoolean],
  dampPercent: ["a number from 0 to 1", isFraction],
  blockSize: ["an integer >= 1", isWhole],
  strict: ["true or false", isBoolean],
  sparsity: ["a number from 0 to 1", isFraction],
  pattern: [
    '"n:m", such as "2:4"',
    (value) => typeof value === "string" && /^\d+:\d+$/.test(value),
  ],
};
const optionKeys = Object.keys(options) as (keyof ModuleLayerOptions)[];

/** What is to be done with a layer. */
export interface ModuleAssignment {
  readonly name: string;
  /** Undefined: it stays as it is. */
  readonly method: LayerMethod | undefined;
  readonly options: ModuleLayerOptions;
  /** Counts from 0; undefined: no rule matched. */
  readonly rule: number | undefined;
}

/** @throws RecipeError naming the key and its place, and the nearest known key. */
export function parseModuleRecipe(input: Preset | ModuleRecipe): ModuleRecipe {
  if (typeof input === "string") {
    if (Object.hasOwn(presets, input)) return presets[input];
    const guess = nearest(input, Object.keys(presets));
    throw new RecipeError(
      `recipe: expected a recipe or one of ${Object.keys(presets).join(", ")} but received ${describe(input)}` +
        (guess === undefined ? "" : `; did you mean ${guess}?`),
    );
  }
  const recipe = checkedKeys(input, [...optionKeys, "trueSequential", "rules"], "");
  if (recipe["trueSequential"] !== undefined && !isBoolean(recipe["trueSequential"]))
    throw wrongValue("true or false", "true_sequential", recipe["trueSequential"]);
  const { rules = [] } = recipe;
  if (!Array.isArray(rules)) throw wrongValue("a list of rules", "rules", rules);
  const checked = rules.map((rule: unknown, i) => {
    const where = `rules[${i}]`;
    const keys = checkedKeys(rule, [...optionKeys, "match", "skip"], where);
    if (keys["match"] === undefined)
      throw wrongValue("a name pattern", `${where}.match`, undefined);
    compileMatch(keys["match"] as Match, `${where}.match`);
    const set = optionKeys.filter((key) => keys[key] !== undefined);
    if (keys["skip"] !== undefined && !isBoolean(keys["skip"]))
      throw wrongValue("true or false", `${where}.skip`, keys["skip"]);
    if (keys["skip"] === true && set.length > 0)
      throw new RecipeError(
        `recipe: ${where} skips its layers, so it cannot set ${set.map(fileKey).join(", ")} as well; drop one of the two`,
      );
    return keys;
  });
  return { ...recipe, rules: checked as unknown as ModuleRule[] };
}

function checkedKeys(
  value: unknown,
  known: readonly string[],
  where: string,
): Record<string, unknown> {
  const place = where === "" ? "the recipe" : where;
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw wrongValue("options", place, value);
  const keys = canonicalKeys(value as Record<string, unknown>, known, where);
  for (const key of optionKeys) {
    const [what, fits] = options[key];
    if (keys[key] !== undefined && !fits(keys[key]))
      throw wrongValue(what, where === "" ? fileKey(key) : `${where}.${fileKey(key)}`, keys[key]);
  }
  return keys;
}

function wrongValue(what: string, where: string, value: unknown): RecipeError {
  return new RecipeError(`recipe: expected ${what} for ${where} but received ${describe(value)}`);
}

/** A layer of a model, for rules. */
export interface ModuleLayerFacts {
  readonly name: string;
  readonly inFeatures: number;
  readonly outFeatures: number;
}

/**
 * Decides for every layer what is done with it.
 *
 * @throws RecipeError for a rule that matches nothing or is never reached, a method without a target, an option that the method
 *   does not take, a pattern that does not divide a layer's inputs.
 */
export function assignModuleLayers(
  recipe: ModuleRecipe,
  layers: readonly ModuleLayerFacts[],
): ModuleAssignment[] {
  const { rules = [] } = recipe;
  const matchers = rules.map(({ match }, i) => compileMatch(match, `rules[${i}].match`));
  const decided = rules.map(() => 0);
  const matched = rules.map(() => 0);
  const assignments = layers.map((layer): ModuleAssignment => {
    const facts = { name: layer.name, op: "Linear", groups: 1, rows: layer.outFeatures };
    const hits = matchers.flatMap((matches, i) => (matches(facts) ? [i] : []));
    for (const i of hits) matched[i] = (matched[i] ?? 0) + 1;
    const [rule] = hits;
    const chosen = rule === undefined ? undefined : rules[rule];
    if (rule !== undefined) decided[rule] = (decided[rule] ?? 0) + 1;
    if (chosen?.skip === true) return { name: layer.name, method: undefined, options: {}, rule };
    const merged = mergedOptions(recipe, chosen ?? {});
    const method = merged.method ?? defaultMethod(merged);
    checkMethod(layer, method, merged, chosen);
    return { name: layer.name, method, options: takenBy(method, merged), rule };
  });
  rules.forEach(({ match }, i) => {
    if (matched[i] === 0) {
      const names = layers
        .slice(0, 3)
        .map(({ name }) => JSON.stringify(name))
        .join(", ");
      const there =
        layers.length === 0
          ? "the model has none"
          : `there are ${names}${layers.length > 3 ? ", ..." : ""}`;
      throw new RecipeError(
        `recipe: rules[${i}] matches no layer: ${JSON.stringify(match)}; ${there}`,
      );
    }
    if (decided[i] === 0 && match !== "*")
      throw new RecipeError(
        `recipe: rules[${i}] (${JSON.stringify(match)}) is never used: earlier rules match all of its ${matched[i] ?? 0} layers; put it before them`,
      );
  });
  return assignments;
}

function mergedOptions(base: ModuleLayerOptions, more: ModuleLayerOptions): ModuleLayerOptions {
  const merged: Record<string, unknown> = {};
  for (const key of optionKeys) {
    const value = more[key] ?? base[key];
    if (value !== undefined) merged[key] = value;
  }
  // A rule's target replaces the other kind of target of the recipe.
  if (more.sparsity !== undefined) delete merged["pattern"];
  if (more.pattern !== undefined) delete merged["sparsity"];
  return merged;
}

const defaultMethod = ({ sparsity, pattern }: ModuleLayerOptions): LayerMethod =>
  sparsity === undefined && pattern === undefined ? "gptq" : "sparsegpt";

function takenBy(method: LayerMethod, merged: ModuleLayerOptions): ModuleLayerOptions {
  const { takes }: LayerPass = layerPasses[method];
  return Object.fromEntries(
    takes.flatMap((key) => (merged[key] === undefined ? [] : [[key, merged[key]]])),
  );
}

function checkMethod(
  { name, inFeatures }: ModuleLayerFacts,
  method: LayerMethod,
  merged: ModuleLayerOptions,
  rule: ModuleLayerOptions | undefined,
): void {
  const { takes, targets }: LayerPass = layerPasses[method];
  const set = optionKeys.filter((key) => key !== "method" && merged[key] !== undefined);
  // What the rule itself sets must be taken; what it inherits from the top may be meant for other layers.
  const own = rule === undefined ? set : set.filter((key) => rule[key] !== undefined);
  const odd = own.find((key) => !(takes as readonly string[]).includes(key));
  if (odd !== undefined)
    throw new RecipeError(
      `recipe: ${fileKey(odd)} is no option of ${method} (layer ${name}); it takes ${takes.map(fileKey).join(", ")}`,
    );
  const given = targets.filter((key) => merged[key] !== undefined);
  if (given.length !== 1)
    throw new RecipeError(
      `recipe: expected ${targets.map(fileKey).join(" or ")} for ${method} (layer ${name}) but received ${given.length === 0 ? "neither" : "both"}`,
    );
  const [, n, m] = /^(\d+):(\d+)$/.exec(merged.pattern ?? "") ?? [];
  if (m === undefined) return;
  if (!(Number(n) <= Number(m) && Number(m) >= 1))
    throw wrongValue('"n:m" with n <= m', "pattern", merged.pattern);
  if (inFeatures % Number(m) !== 0)
    throw new RecipeError(
      `recipe: ${merged.pattern ?? ""} does not divide the ${inFeatures} inputs of layer ${name}; skip it with a rule`,
    );
}
