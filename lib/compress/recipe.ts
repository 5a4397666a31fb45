/**
 * Recipes: which layer is quantized how.
 *
 *     bits: 4                       # options of every layer that no rule changes
 *     group_size: 32
 *     rules:                        # ordered; the first rule that matches a layer decides
 *       - match: { depthwise: true }
 *         skip: true
 *       - match: "op:Conv"
 *         bits: 8
 *
 * A rule overrides only the options it names. Layers that no rule matches get the options at the top;
 * end with `{ match: "*", skip: true }` to leave them alone. A rule that changes nothing is an error.
 */
import { promises as fs } from "node:fs";
import { parse as parseYaml, stringify as stringifyYaml } from "yaml";
import { RecipeError } from "../errors.js";
import { toIoError } from "../io/index.js";
import { compileMatch, isCatchAll, type Match, type MatchableLayer } from "./recipe-match.js";
import { checkRecipe, DEFAULT_LAYER_OPTIONS, fileKey, type LayerOptions } from "./recipe-schema.js";

export type { LayerOptions } from "./recipe-schema.js";
export { DEFAULT_LAYER_OPTIONS } from "./recipe-schema.js";
export type { Match, MatchObject } from "./recipe-match.js";

/** Options of which any may be absent. */
export type PartialLayerOptions = {
  readonly [K in keyof LayerOptions]?: LayerOptions[K] | undefined;
};

export interface Rule extends PartialLayerOptions {
  readonly match: Match;
  /** Leave the layer as it is. Excludes every option. */
  readonly skip?: boolean | undefined;
}

export interface Recipe extends PartialLayerOptions {
  /** Calibrate each layer on what the already quantized part of the network produces. */
  readonly trueSequential?: boolean | undefined;
  readonly rules?: readonly Rule[] | undefined;
}

/** A checked recipe. */
export interface CheckedRecipe {
  readonly options: PartialLayerOptions;
  readonly trueSequential: boolean | undefined;
  readonly rules: readonly Rule[];
}

/** What happens to one layer. `rule` counts from 0; undefined: no rule matched. */
export interface Assignment<L extends MatchableLayer = MatchableLayer> {
  readonly layer: L;
  readonly rule: number | undefined;
  readonly options: LayerOptions;
  /** Set when the layer is left as it is: the reason. */
  readonly skip?: string;
}

/**
 * Check a recipe given as an object, or a list of rules.
 *
 * @throws RecipeError naming the key and its place.
 */
export function parseRecipe(input: Recipe | readonly Rule[]): CheckedRecipe {
  const { rules = [], trueSequential, ...options } = checkRecipe(input);
  rules.forEach((rule, index) => {
    const { match, skip, ...rest } = rule;
    const where = `rules[${index}]`;
    compileMatch(match, `${where}.match`);
    const set = Object.keys(rest).map(fileKey);
    if (skip === true && set.length > 0) {
      throw new RecipeError(
        `recipe: ${where} skips its layers, so it cannot set ${set.join(", ")} as well; drop one of the two`,
        { details: { where } },
      );
    }
  });
  return { options, trueSequential, rules };
}

/**
 * Read a recipe from YAML or JSON text.
 *
 * @param name how messages call the text, such as its file name.
 * @throws RecipeError with line and column where the text is not YAML.
 */
export function parseRecipeText(text: string, name = "recipe"): CheckedRecipe {
  let value: unknown;
  try {
    value = parseYaml(text, { strict: true, uniqueKeys: true });
  } catch (cause) {
    const reason = cause instanceof Error ? (cause.message.split("\n")[0] ?? "") : String(cause);
    throw new RecipeError(`recipe: expected YAML or JSON in ${name}: ${reason}`, { cause });
  }
  try {
    return parseRecipe(value as Recipe);
  } catch (cause) {
    if (!(cause instanceof RecipeError)) throw cause;
    throw new RecipeError(`${cause.message} (in ${name})`, { details: cause.details, cause });
  }
}

/** Read a recipe file. @throws IoError, RecipeError. */
export async function readRecipe(path: string): Promise<CheckedRecipe> {
  let text: string;
  try {
    text = await fs.readFile(path, "utf8");
  } catch (cause) {
    throw toIoError("readRecipe", "read", path, cause);
  }
  return parseRecipeText(text, path);
}

/** The recipe as a plain value with the keys of files; it reads back as the same recipe. */
export function recipeValue(recipe: CheckedRecipe): Record<string, unknown> {
  const plain = (value: object): Record<string, unknown> =>
    Object.fromEntries(
      Object.entries(value)
        .filter(([, entry]) => entry !== undefined)
        .map(([key, entry]) => [fileKey(key), entry as unknown]),
    );
  return plain({
    ...recipe.options,
    trueSequential: recipe.trueSequential,
    rules: recipe.rules.length > 0 ? recipe.rules.map(plain) : undefined,
  });
}

/** The recipe as YAML that a user could write. */
export function recipeText(recipe: CheckedRecipe): string {
  return stringifyYaml(recipeValue(recipe), { lineWidth: 0 });
}

/** The recipe with options given elsewhere (flags, arguments) in place of its own top-level ones. */
export function withGiven(
  recipe: CheckedRecipe,
  given: PartialLayerOptions & { readonly trueSequential?: boolean | undefined },
): CheckedRecipe {
  const { trueSequential = recipe.trueSequential, ...rest } = given;
  const options: Record<string, unknown> = { ...recipe.options };
  for (const key of Object.keys(DEFAULT_LAYER_OPTIONS) as (keyof LayerOptions)[]) {
    if (rest[key] !== undefined) options[key] = rest[key];
  }
  const { rules } = recipe;
  return parseRecipe({
    ...options,
    ...(trueSequential === undefined ? {} : { trueSequential }),
    rules,
  });
}

/**
 * Decide for every layer, in order, which rule it falls under and with which options.
 *
 * @throws RecipeError for a rule that has no effect: it matches no layer, only layers that cannot be
 *   quantized, or (unless it is a final "*") only layers that earlier rules take.
 */
export function applyRecipe<
  L extends MatchableLayer & { readonly skipReason?: string | undefined },
>(recipe: CheckedRecipe, layers: readonly L[]): Assignment<L>[] {
  const matchers = recipe.rules.map((rule, i) => compileMatch(rule.match, `rules[${i}].match`));
  const matched = recipe.rules.map((): L[] => []);
  const decided = recipe.rules.map(() => 0);
  const base = withOptions(DEFAULT_LAYER_OPTIONS, recipe.options);
  const assignments = layers.map((layer): Assignment<L> => {
    let rule: number | undefined;
    matchers.forEach((matches, i) => {
      if (!matches(layer)) return;
      matched[i]?.push(layer);
      if (rule === undefined) {
        rule = i;
        decided[i] = (decided[i] ?? 0) + 1;
      }
    });
    const chosen = rule === undefined ? undefined : recipe.rules[rule];
    const options = chosen === undefined ? base : withOptions(base, chosen);
    const skip =
      chosen?.skip === true ? `skipped by rules[${rule ?? 0}] of the recipe` : layer.skipReason;
    return { layer, rule, options, ...(skip === undefined ? {} : { skip }) };
  });
  recipe.rules.forEach((rule, i) => {
    const found = matched[i] ?? [];
    if (found.length === 0) throw matchesNothing(rule, i, layers);
    if (isCatchAll(rule.match)) return;
    const what = `recipe: rules[${i}] (${JSON.stringify(rule.match)})`;
    if (decided[i] === 0) {
      throw new RecipeError(
        `${what} is never used: earlier rules match all of its ${found.length} layers; put it before them`,
        { details: { rule: i } },
      );
    }
    const [first] = found;
    if (rule.skip !== true && found.every(({ skipReason }) => skipReason !== undefined)) {
      throw new RecipeError(
        `${what} matches only layers that cannot be quantized, such as ${first?.name ?? ""}: ${first?.skipReason ?? ""}`,
        { details: { rule: i } },
      );
    }
  });
  return assignments;
}

function matchesNothing(rule: Rule, index: number, layers: readonly MatchableLayer[]): RecipeError {
  const names = layers.slice(0, 3).map(({ name }) => JSON.stringify(name));
  const more = layers.length > 3 ? `, ... (${layers.length} layers)` : "";
  const list = names.length === 0 ? "the model has none" : `there are ${names.join(", ")}${more}`;
  return new RecipeError(
    `recipe: rules[${index}] matches no layer: ${JSON.stringify(rule.match)}; ${list}. \`osculate inspect MODEL\` lists them`,
    { details: { rule: index } },
  );
}

function withOptions(base: LayerOptions, more: PartialLayerOptions): LayerOptions {
  const result: Record<string, unknown> = { ...base };
  for (const key of Object.keys(DEFAULT_LAYER_OPTIONS) as (keyof LayerOptions)[]) {
    if (more[key] !== undefined) result[key] = more[key];
  }
  return result as unknown as LayerOptions;
}
