/** The one grid of the demo, and the two choices of layers. */
import type { Recipe } from "../../lib/compress/recipe.js";

/**
 * 4 bits, an asymmetric grid for every 32 weights of a row. GPTQ takes columns in the order of their
 * Gram diagonal and keeps the grids of the original weights, which are exactly those of round-to-nearest.
 */
export const GRID = {
  bits: 4,
  groupSize: 32,
  sym: false,
  descAct: true,
  staticGroups: true,
  dampPercent: 0.01,
} as const satisfies Recipe;

/** Which layers: only MatMul, or every layer but the depthwise convolutions (9 or 25 weights a filter). */
export const LAYERS = {
  matmul: { ...GRID, rules: [{ match: "op:Conv", skip: true }] },
  all: { ...GRID, rules: [{ match: { depthwise: true }, skip: true }] },
} as const satisfies Record<string, Recipe>;

export type LayerChoice = keyof typeof LAYERS;
