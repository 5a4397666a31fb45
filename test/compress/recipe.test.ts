import { readFileSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { RecipeError } from "../../lib/errors.js";
import {
  applyRecipe,
  DEFAULT_LAYER_OPTIONS,
  parseRecipe,
  parseRecipeText,
  readRecipe,
  recipeText,
  recipeValue,
  withGiven,
} from "../../lib/compress/recipe.js";
import type { Recipe } from "../../lib/compress/recipe.js";

interface Layer {
  name: string;
  op: string;
  groups: number;
  rows: number;
  conv?: { channels: number };
  skipReason?: string;
}
const matmul = (name: string): Layer => ({ name, op: "MatMul", groups: 1, rows: 8 });
const conv = (name: string, groups: number, channels: number): Layer => ({
  name,
  op: "Conv",
  groups,
  rows: 8,
  conv: { channels },
});
const LAYERS: Layer[] = [
  conv("/stem/conv.0/Conv", 1, 3),
  conv("/stem/dw/Conv", 8, 8),
  conv("/stem/grouped/Conv", 2, 8),
  matmul("/blocks.0/attn/qkv/MatMul"),
  matmul("/blocks.1/attn/qkv/MatMul"),
  { ...matmul("/blocks.1/scores"), skipReason: "its weight is computed" },
  matmul("head"),
];

const apply = (recipe: unknown, layers = LAYERS) =>
  applyRecipe(parseRecipe(recipe as Recipe), layers);
const rulesOf = (recipe: unknown) => apply(recipe).map(({ rule }) => rule);

describe("matching", () => {
  test.each<[unknown, number[]]>([
    ["head", [6]],
    ["*", [0, 1, 2, 3, 4, 5, 6]],
    ["/blocks.*", [3, 4, 5]],
    ["/blocks.?/attn/*", [3, 4]],
    ["*conv.0*", [0]],
    ["*conv_0*", []], // a dot is a dot, nothing else
    ["re:/blocks\\.[1-9].*", [4, 5]],
    ["re:head|tail", [6]],
    ["re:ea", []], // the whole name
    ["op:Conv", [0, 1, 2]],
    ["op:conv", [0, 1, 2]],
    [{ depthwise: true }, [1]],
    [{ op: "Conv", depthwise: false }, [0, 2]],
    [{ op: ["MatMul", "Gemm"], name: "/blocks.0*" }, [3]],
    [{ name: ["head", "/stem/dw*"] }, [1, 6]],
    [
      ["head", { depthwise: true }],
      [1, 6],
    ],
  ])("%j matches layers %j", (match, want) => {
    const rule = { match, skip: true };
    if (want.length === 0) {
      expect(() => apply([rule])).toThrow(/rules\[0\] matches no layer.*"\/stem\/conv.0\/Conv"/);
    } else {
      const found = rulesOf([rule]).flatMap((index, layer) => (index === 0 ? [layer] : []));
      expect(found).toEqual(want);
    }
  });

  test("names are taken literally: pattern characters have no meaning of their own", () => {
    for (const name of ["a+b(c)[d]{e}|^$", "a.b", "a/b-c\\d", "π/层"]) {
      expect(apply([{ match: name, skip: true }], [matmul(name)])[0]!.rule).toBe(0);
    }
    expect(() => apply([{ match: "a.b", skip: true }], [matmul("axb")])).toThrow("no layer");
  });
});

describe("rules", () => {
  test("the first rule that matches wins and overrides only what it names", () => {
    const result = apply({
      bits: 8,
      group_size: 32,
      rules: [
        { match: { depthwise: true }, skip: true },
        { match: "op:Conv", sym: false },
        { match: "*", method: "rtn", bits: 4 },
      ],
    });
    expect(result.map(({ rule }) => rule)).toEqual([1, 0, 1, 2, 2, 2, 2]);
    expect(result[0]!.options).toEqual({
      ...DEFAULT_LAYER_OPTIONS,
      bits: 8,
      groupSize: 32,
      sym: false,
    });
    expect(result[1]!.skip).toBe("skipped by rules[0] of the recipe");
    expect(result[3]!.options).toEqual({ ...DEFAULT_LAYER_OPTIONS, groupSize: 32, method: "rtn" });
    expect(result[5]!.skip).toBe("its weight is computed");
    expect(result[6]!.skip).toBeUndefined();
  });

  test("layers that no rule matches get the options at the top", () => {
    const [first, ...rest] = apply({ bits: 8, rules: [{ match: "/stem/conv*", bits: 4 }] });
    expect(first!.options.bits).toBe(4);
    expect(rest.every(({ options, rule }) => options.bits === 8 && rule === undefined)).toBe(true);
  });

  test.each([
    [
      "shadowed",
      [
        { match: "*", bits: 8 },
        { match: "head", bits: 4 },
      ],
      'rules[1] ("head") is never used',
    ],
    ["only unquantizable layers", [{ match: "*scores", bits: 8 }], "its weight is computed"],
    ["nothing", [{ match: "heads", bits: 8 }], 'rules[0] matches no layer: "heads"'],
  ])("a rule without effect is an error: %s", (_name, rules, message) => {
    expect(() => apply(rules)).toThrow(RecipeError);
    expect(() => apply(rules)).toThrow(message);
  });

  test("a final catch-all may find nothing left; skipping what cannot be quantized is fine", () => {
    expect(() =>
      rulesOf([
        { match: ["*"], bits: 4 },
        { match: "*", skip: true },
      ]),
    ).not.toThrow();
    expect(() => rulesOf([{ match: "*scores", skip: true }])).not.toThrow();
  });

  test("given options stand in for those at the top, never for a rule's", () => {
    const recipe = parseRecipe({ bits: 8, sym: false, rules: [{ match: "head", bits: 4 }] });
    const merged = withGiven(recipe, { bits: 3, trueSequential: true, sym: undefined });
    const result = applyRecipe(merged, LAYERS);
    expect(result[0]!.options).toMatchObject({ bits: 3, sym: false });
    expect(result[6]!.options).toMatchObject({ bits: 4, sym: false });
    expect(merged.trueSequential).toBe(true);
    expect(() => withGiven(recipe, { bits: 5 as 4 })).toThrow("2, 3, 4 or 8");
  });
});

describe("keys", () => {
  test("spellings of GPTQ tools are understood", () => {
    const recipe = parseRecipe({
      wbits: 3,
      groupsize: -1,
      "act-order": true,
      percdamp: 0.05,
      static_groups: true,
      true_sequential: false,
    } as Recipe);
    expect(recipe).toEqual({
      options: { bits: 3, groupSize: -1, descAct: true, dampPercent: 0.05, staticGroups: true },
      trueSequential: false,
      rules: [],
    });
  });

  test.each<[string, unknown, string]>([
    [
      "typo at the top",
      { group_sise: 32 },
      'unknown key "group_sise" in the recipe; did you mean "group_size"?',
    ],
    [
      "typo in a rule",
      [{ match: "*", bit: 4 }],
      'unknown key "bit" in rules[0]; did you mean "bits"?',
    ],
    ["alias typo", { percdmp: 0.1 }, 'did you mean "damp_percent"?'],
    [
      "no near key",
      { colour: 1 },
      'unknown key "colour" in the recipe; it takes method, bits, group_size',
    ],
    [
      "match key",
      [{ match: { nam: "x" } }],
      'unknown key "nam" in rules[0].match; did you mean "name"?',
    ],
    [
      "key of the top in a rule",
      [{ match: "*", true_sequential: true }],
      'unknown key "true_sequential" in rules[0]',
    ],
    [
      "twice",
      { group_size: 1, groupSize: 2 },
      '"group_size" and "groupSize" in the recipe are the same key',
    ],
    [
      "skip and options",
      [{ match: "*", skip: true, bits: 4 }],
      "rules[0] skips its layers, so it cannot set bits",
    ],
    ["bits", { bits: 5 }, "expected 2, 3, 4 or 8 for bits but received 5"],
    ["bits as text", [{ match: "*", bits: "4" }], 'for rules[0].bits but received "4"'],
    [
      "group size",
      { groupSize: 0 },
      "expected -1 (one group a row) or an integer >= 1 for group_size but received 0",
    ],
    ["damping", { damp_percent: 1.5 }, "from 0 to 1"],
    ["NaN", { damp_percent: NaN }, "received NaN"],
    ["boolean as text", { sym: "false" }, 'expected true or false for sym but received "false"'],
    ["method", { method: "awq" }, 'expected "gptq" or "rtn" for method but received "awq"'],
    ["no match", [{ bits: 4 }], "for rules[0].match but received nothing"],
    ["empty match", [{ match: {} }], "for rules[0].match but received Object"],
    ["empty list", [{ match: [] }], "for rules[0].match but received []"],
    [
      "bad regular expression",
      [{ match: "re:(" }],
      'a regular expression after "re:" for rules[0].match',
    ],
    ["rule is no object", [4], "expected { match, ... } for rules[0] but received 4"],
    ["rules is no list", { rules: {} }, "expected a list of rules for rules"],
    ["text", "bits", 'but received "bits"'],
    ["null", null, "but received null"],
  ])("%s", (_name, input, message) => {
    expect(() => parseRecipe(input as Recipe)).toThrow(RecipeError);
    expect(() => parseRecipe(input as Recipe)).toThrow(message);
  });
});

describe("files", () => {
  const YAML = `
# a comment
bits: 4
group_size: 32
desc_act: true
true_sequential: false
rules:
  - match: { depthwise: true }
    skip: true
  - { match: "op:Conv", bits: 8 }
`;

  test("YAML and JSON give the same recipe, and it survives being written", () => {
    const recipe = parseRecipeText(YAML);
    expect(recipe.options).toEqual({ bits: 4, groupSize: 32, descAct: true });
    expect(recipe.rules).toEqual([
      { match: { depthwise: true }, skip: true },
      { match: "op:Conv", bits: 8 },
    ]);
    expect(parseRecipeText(JSON.stringify(recipeValue(recipe)))).toEqual(recipe);
    expect(parseRecipeText(recipeText(recipe))).toEqual(recipe);
    expect(recipeText(recipe)).toContain("group_size: 32");
  });

  test("the recipe of the documentation is one", () => {
    const page = readFileSync(join(__dirname, "../../docs/quantize-onnx.md"), "utf8");
    const [, text = ""] = /```yaml\n(.*?)```/s.exec(page) ?? [];
    const recipe = parseRecipeText(text);
    expect(recipe.rules).toHaveLength(3);
    expect(Object.keys(recipe.options)).toHaveLength(8);
  });

  test.each([
    ["not YAML", "bits: [", /expected YAML or JSON in .*\.yaml/],
    ["a key twice", "bits: 4\nbits: 8", /expected YAML or JSON/],
    ["empty", "", /but received null \(in /],
    ["a wrong key", "bitts: 4", /did you mean "bits".*\(in .*\.yaml\)/],
  ])("%s names the file", async (_name, text, message) => {
    const folder = await mkdtemp(join(tmpdir(), "osculate-recipe-"));
    try {
      await writeFile(join(folder, "r.yaml"), text);
      await expect(readRecipe(join(folder, "r.yaml"))).rejects.toThrow(message);
      await expect(readRecipe(join(folder, "none.yaml"))).rejects.toMatchObject({ code: "IO" });
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});
