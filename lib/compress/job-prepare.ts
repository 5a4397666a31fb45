/** Everything that is known before any work: the model, its layers, what the recipe does to each. */
import { FormatError, RecipeError } from "../errors.js";
import { readOnnx, type OnnxModel } from "../formats/onnx/index.js";
import { findLayers, type QuantizableLayer } from "../graph/layers.js";
import { checkExportable, checkOpset } from "../graph/rewrite.js";
import {
  applyRecipe,
  type Assignment,
  type CheckedRecipe,
  parseRecipe,
  type PartialLayerOptions,
  readRecipe,
  type Recipe,
  type Rule,
  withGiven,
} from "./recipe.js";

export interface PrepareOptions extends PartialLayerOptions {
  readonly model: string;
  readonly recipe?: string | Recipe | readonly Rule[] | undefined;
  readonly trueSequential?: boolean | undefined;
}

export interface Prepared {
  readonly model: OnnxModel;
  /** In effect: options given beside the recipe are in it. */
  readonly recipe: CheckedRecipe;
  /** All layers, in the order of the graph. */
  readonly assignments: readonly Assignment<QuantizableLayer>[];
  /** Those to quantize. */
  readonly chosen: readonly Assignment<QuantizableLayer>[];
  /** Why layers that were asked for cannot be exported. */
  readonly problems: readonly { readonly layer: string; readonly reason: string }[];
}

/** The recipe that options ask for. @throws RecipeError, IoError. */
export async function effectiveRecipe(
  options: Omit<PrepareOptions, "model">,
): Promise<CheckedRecipe> {
  const { recipe = [], ...given } = options;
  const read = typeof recipe === "string" ? await readRecipe(recipe) : parseRecipe(recipe);
  return withGiven(read, given);
}

/**
 * Read a model and apply a recipe to it.
 *
 * @throws IoError, FormatError (the file), RecipeError (the recipe, a rule without effect).
 */
export async function prepare(options: PrepareOptions): Promise<Prepared> {
  const recipe = await effectiveRecipe(options);
  const model = await readOnnx(options.model);
  const assignments = applyRecipe(recipe, findLayers(model));
  const chosen = assignments.filter(({ skip }) => skip === undefined);
  const problems = chosen.flatMap(({ layer, options: wanted }) => {
    const reason = checkExportable(layer, wanted);
    return reason === undefined ? [] : [{ layer: layer.name, reason }];
  });
  return { model, recipe, assignments, chosen, problems };
}

/**
 * Check that there is something to do and that the output can hold all of it.
 *
 * @throws FormatError (no layer, operator set, a layer that cannot be exported), RecipeError (all skipped).
 */
export function checkPrepared(fn: string, prepared: Prepared): void {
  const { model, assignments, chosen, problems } = prepared;
  const usable = assignments.filter(({ layer }) => layer.skipReason === undefined);
  if (usable.length === 0) {
    const [first] = assignments;
    const why =
      first === undefined
        ? "it has no MatMul, Gemm or Conv node"
        : `none of its ${assignments.length} MatMul, Gemm and Conv nodes can be quantized, such as ${first.layer.name}: ${first.skip ?? ""}`;
    throw new FormatError(`${fn}: nothing to quantize in ${model.path}: ${why}`, {
      details: { reason: "no-layers" },
    });
  }
  if (chosen.length === 0) {
    throw new RecipeError(
      `${fn}: the recipe skips all ${usable.length} layers that could be quantized; there is nothing to do`,
    );
  }
  checkOpset(model);
  const [problem] = problems;
  if (problem !== undefined) {
    const more = problems.length > 1 ? ` (and ${problems.length - 1} more layers)` : "";
    throw new FormatError(
      `${fn}: layer ${problem.layer} cannot be written this way: ${problem.reason}${more}. ` +
        "Change its options, or skip it with a rule of the recipe",
      { details: { reason: "not-exportable", layers: problems } },
    );
  }
}
