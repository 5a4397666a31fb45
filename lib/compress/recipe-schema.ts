/** The closed vocabulary of recipes: keys, other spellings of them, and the values they take. */
import { z } from "zod";
import { describe, RecipeError } from "../errors.js";

/** How one layer is quantized. The names are those that GPTQ tools use, in camelCase. */
export interface LayerOptions {
  /** "gptq": second-order, needs calibration data. "rtn": plain rounding. Default "gptq". */
  readonly method: "gptq" | "rtn";
  /** 4 or 8 where the output is ONNX. Default 4. */
  readonly bits: 2 | 3 | 4 | 8;
  /** Columns that share a scale; -1: the whole row. Default 128. */
  readonly groupSize: number;
  /** Symmetric grid (the zero point is the middle code). Default true. */
  readonly sym: boolean;
  /** Quantize columns in the order of falling Gram diagonal ("act-order"). Default false. */
  readonly descAct: boolean;
  /** Take all grids from the original weights, before any error feedback. Default false. */
  readonly staticGroups: boolean;
  /** Damping as a fraction of the mean Gram diagonal, 0..1. Default 0.01. */
  readonly dampPercent: number;
  /** Search a smaller range with less error for every grid. Default false. */
  readonly mse: boolean;
  /** Columns per lazy update; changes speed, not the result. Default 128. */
  readonly blockSize: number;
  /** Precision that scales are rounded to before they are used. Default "float16". */
  readonly scaleDtype: "float16" | "float32";
}

export const DEFAULT_LAYER_OPTIONS: LayerOptions = {
  method: "gptq",
  bits: 4,
  groupSize: 128,
  sym: true,
  descAct: false,
  staticGroups: false,
  dampPercent: 0.01,
  mse: false,
  blockSize: 128,
  scaleDtype: "float16",
};

const layerOptionShape = {
  method: z.enum(["gptq", "rtn"]).optional(),
  bits: z.union([z.literal(2), z.literal(3), z.literal(4), z.literal(8)]).optional(),
  groupSize: z.union([z.literal(-1), z.int().min(1)]).optional(),
  sym: z.boolean().optional(),
  descAct: z.boolean().optional(),
  staticGroups: z.boolean().optional(),
  dampPercent: z.number().min(0).max(1).optional(),
  mse: z.boolean().optional(),
  blockSize: z.int().min(1).optional(),
  scaleDtype: z.enum(["float16", "float32"]).optional(),
};

const texts = z.union([z.string().min(1), z.array(z.string().min(1)).min(1)]);
const matchObject = z
  .strictObject({
    name: texts.optional(),
    op: texts.optional(),
    depthwise: z.boolean().optional(),
  })
  .refine((match) => Object.keys(match).length > 0);
const matchEntry = z.union([z.string().min(1), matchObject]);
const ruleShape = {
  match: z.union([matchEntry, z.array(matchEntry).min(1)]),
  skip: z.boolean().optional(),
  ...layerOptionShape,
};
const recipeShape = {
  ...layerOptionShape,
  trueSequential: z.boolean().optional(),
  rules: z.array(z.strictObject(ruleShape)).optional(),
};

const schema = z.strictObject(recipeShape);
export type ParsedRecipe = z.infer<typeof schema>;

/** What each key takes, in the words of an error message. */
const WANTED: Readonly<Record<string, string>> = {
  method: '"gptq" or "rtn"',
  bits: "2, 3, 4 or 8",
  groupSize: "-1 (one group a row) or an integer >= 1",
  sym: "true or false",
  descAct: "true or false",
  staticGroups: "true or false",
  dampPercent: "a number from 0 to 1 (a fraction of the mean diagonal)",
  mse: "true or false",
  blockSize: "an integer >= 1",
  scaleDtype: '"float16" or "float32"',
  trueSequential: "true or false",
  skip: "true or false",
  depthwise: "true or false",
  rules: "a list of rules",
  match:
    'a layer name pattern such as "encoder.*", "op:Conv", or { name, op, depthwise } (or a list of these)',
  name: 'a name pattern such as "encoder.*" or "re:.*[0-9]"',
  op: '"MatMul", "Gemm" or "Conv"',
};

/** Spellings of other tools and of files, for each key. */
const ALIASES: Readonly<Record<string, string>> = {
  group_size: "groupSize",
  groupsize: "groupSize",
  desc_act: "descAct",
  act_order: "descAct",
  actorder: "descAct",
  static_groups: "staticGroups",
  damp_percent: "dampPercent",
  percdamp: "dampPercent",
  block_size: "blockSize",
  blocksize: "blockSize",
  scale_dtype: "scaleDtype",
  true_sequential: "trueSequential",
  wbits: "bits",
  symmetric: "sym",
};

/** The spelling of a key in files. */
export function fileKey(key: string): string {
  return key.replace(/[A-Z]/g, (char) => `_${char.toLowerCase()}`);
}

/** Edits (insert, delete, replace, swap neighbours) between two short words. */
function editDistance(a: string, b: string): number {
  const rows = [Array.from({ length: b.length + 1 }, (_, j) => j)];
  const at = (i: number, j: number): number => rows[i]?.[j] ?? 0;
  for (let i = 1; i <= a.length; i += 1) {
    rows[i] = [i];
    for (let j = 1; j <= b.length; j += 1) {
      const same = a[i - 1] === b[j - 1];
      let best = Math.min(at(i - 1, j) + 1, at(i, j - 1) + 1, at(i - 1, j - 1) + (same ? 0 : 1));
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        best = Math.min(best, at(i - 2, j - 2) + 1);
      }
      rows[i]?.push(best);
    }
  }
  return at(a.length, b.length);
}

/** The word of `words` that a mistyped `word` most likely meant. */
export function nearest(word: string, words: readonly string[]): string | undefined {
  const plain = (text: string): string => text.toLowerCase().replace(/[-_]/g, "");
  let best: string | undefined;
  let least = Infinity;
  for (const candidate of words) {
    const distance = editDistance(plain(word), plain(candidate));
    if (distance < least) [best, least] = [candidate, distance];
  }
  return least <= Math.max(2, Math.floor(word.length / 3)) ? best : undefined;
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** Renames other spellings; an unknown key or one given twice is an error that names the place. */
export function canonicalKeys(
  value: Record<string, unknown>,
  known: readonly string[],
  where: string,
): Record<string, unknown> {
  const result: Record<string, unknown> = {};
  const spelled = new Map<string, string>();
  for (const [key, entry] of Object.entries(value)) {
    const name = known.includes(key) ? key : ALIASES[key.toLowerCase().replaceAll("-", "_")];
    const place = where === "" ? "the recipe" : where;
    if (name === undefined || !known.includes(name)) {
      const guess = nearest(key, [...known, ...Object.keys(ALIASES)]);
      const hint =
        guess !== undefined && known.includes(ALIASES[guess] ?? guess)
          ? `; did you mean ${JSON.stringify(fileKey(ALIASES[guess] ?? guess))}?`
          : `; it takes ${known.map(fileKey).join(", ")}`;
      throw new RecipeError(`recipe: unknown key ${JSON.stringify(key)} in ${place}${hint}`, {
        details: { key, where },
      });
    }
    const before = spelled.get(name);
    if (before !== undefined) {
      throw new RecipeError(
        `recipe: ${JSON.stringify(before)} and ${JSON.stringify(key)} in ${place} are the same key; keep one`,
        { details: { key, where } },
      );
    }
    spelled.set(name, key);
    if (entry !== undefined) result[name] = entry;
  }
  return result;
}

const RULE_KEYS = Object.keys(ruleShape);
const RECIPE_KEYS = Object.keys(recipeShape);
const MATCH_KEYS = ["name", "op", "depthwise"];

function canonicalMatch(match: unknown, where: string): unknown {
  if (Array.isArray(match)) return match.map((entry) => canonicalMatch(entry, where));
  return isObject(match) ? canonicalKeys(match, MATCH_KEYS, where) : match;
}

/**
 * Checks a recipe (or only its list of rules) as read from a file or given by a program.
 *
 * @throws RecipeError naming the key and its place, and the nearest known key for an unknown one.
 */
export function checkRecipe(input: unknown): ParsedRecipe {
  const raw = Array.isArray(input) ? { rules: input as unknown[] } : input;
  if (!isObject(raw)) {
    throw new RecipeError(
      `recipe: expected a list of rules, or options and "rules", but received ${describe(input)}`,
    );
  }
  const recipe = canonicalKeys(raw, RECIPE_KEYS, "");
  if (Array.isArray(recipe["rules"])) {
    recipe["rules"] = recipe["rules"].map((rule: unknown, index) => {
      const where = `rules[${index}]`;
      if (!isObject(rule)) {
        throw new RecipeError(
          `recipe: expected { match, ... } for ${where} but received ${describe(rule)}`,
        );
      }
      const fixed = canonicalKeys(rule, RULE_KEYS, where);
      if ("match" in fixed) fixed["match"] = canonicalMatch(fixed["match"], `${where}.match`);
      return fixed;
    });
  }
  const checked = schema.safeParse(recipe);
  if (checked.success) return checked.data;
  throw valueError(recipe, checked.error.issues[0]?.path ?? []);
}

function valueError(recipe: unknown, path: readonly PropertyKey[]): RecipeError {
  // Inside a match the union hides which alternative was meant: speak of the match as a whole.
  const end = path.indexOf("match");
  const shown = end < 0 ? path : path.slice(0, end + 1);
  let value: unknown = recipe;
  let where = "";
  let key = "";
  for (const part of shown) {
    value = (value as Record<PropertyKey, unknown> | undefined)?.[part];
    if (typeof part === "number") {
      where += `[${part}]`;
    } else {
      key = String(part);
      where += (where === "" ? "" : ".") + fileKey(key);
    }
  }
  const received = value === undefined ? "nothing" : describe(value);
  return new RecipeError(
    `recipe: expected ${WANTED[key] ?? "something else"} for ${where === "" ? "the recipe" : where} but received ${received}`,
    { details: { where } },
  );
}
