/** Which layers a rule of a recipe speaks of. */
import { RecipeError } from "../errors.js";

/** The facts of a layer that a rule can look at; `QuantizableLayer` has them. */
export interface MatchableLayer {
  readonly name: string;
  readonly op: string;
  readonly groups: number;
  readonly rows: number;
}

export interface MatchObject {
  /** A glob (`*` any run of characters, `?` one), or `re:` and a regular expression that must match the whole name. */
  readonly name?: string | readonly string[] | undefined;
  /** "MatMul", "Gemm", "Conv". */
  readonly op?: string | readonly string[] | undefined;
  /** Convolutions with as many groups as output or input channels (one input channel a group). */
  readonly depthwise?: boolean | undefined;
}

/** A name pattern, `op:` and an operator, or an object whose fields must all hold. A list: any of them. */
export type Match = string | MatchObject | readonly (string | MatchObject)[];

export type Matcher = (layer: MatchableLayer) => boolean;

function isDepthwise(layer: MatchableLayer & { conv?: { channels: number } | undefined }): boolean {
  return layer.op === "Conv" && layer.groups > 1 && layer.conv?.channels === layer.groups;
}

/** Compiles one name pattern. `where` names the place in the recipe for the error message. */
function compileName(pattern: string, where: string): (name: string) => boolean {
  let source: string;
  if (pattern.startsWith("re:")) {
    source = pattern.slice(3);
  } else {
    source = Array.from(pattern, (char) =>
      char === "*" ? "[^]*" : char === "?" ? "[^]" : char.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&"),
    ).join("");
  }
  try {
    const expression = new RegExp(`^(?:${source})$`, "u");
    return (name) => expression.test(name);
  } catch (cause) {
    throw new RecipeError(
      `recipe: expected a regular expression after "re:" for ${where} but received ${JSON.stringify(pattern)}: ${(cause as Error).message}`,
      { cause },
    );
  }
}

const asList = <T>(value: T | readonly T[]): readonly T[] =>
  Array.isArray(value) ? (value as readonly T[]) : [value as T];

/** @throws RecipeError for a regular expression that does not compile. */
export function compileMatch(match: Match, where: string): Matcher {
  const matchers = asList(match).map((entry): Matcher => {
    if (typeof entry === "string") {
      if (entry.startsWith("op:")) {
        const op = entry.slice(3).trim().toLowerCase();
        return (layer) => layer.op.toLowerCase() === op;
      }
      const matches = compileName(entry, where);
      return (layer) => matches(layer.name);
    }
    const names = entry.name === undefined ? undefined : asList(entry.name);
    const nameMatchers = names?.map((name) => compileName(name, `${where}.name`));
    const ops = entry.op === undefined ? undefined : asList(entry.op).map((op) => op.toLowerCase());
    return (layer) =>
      (nameMatchers?.some((matches) => matches(layer.name)) ?? true) &&
      (ops?.includes(layer.op.toLowerCase()) ?? true) &&
      (entry.depthwise === undefined || entry.depthwise === isDepthwise(layer));
  });
  return (layer) => matchers.some((matches) => matches(layer));
}

/** True for a rule that is meant to catch whatever is left. */
export function isCatchAll(match: Match): boolean {
  return (
    match === "*" ||
    (typeof match === "object" && !Array.isArray(match) && "name" in match
      ? match.name === "*" && match.op === undefined && match.depthwise === undefined
      : false)
  );
}
