/** Runs the examples of the documentation: what `console.log(...); // this` prints must be this. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { ModuleKind, ScriptTarget, transpileModule } from "typescript";

import * as autodiff from "../../lib/autodiff/index.js";
import * as osculate from "../../lib/index.js";
import * as linalg from "../../lib/linalg/index.js";

const modules: Readonly<Record<string, unknown>> = {
  osculate,
  "osculate/autodiff": autodiff,
  "osculate/linalg": linalg,
};

interface Example {
  readonly title: string;
  readonly code: string;
}

function examplesOf(file: string): Example[] {
  const text = readFileSync(join(__dirname, "..", "..", "docs", file), "utf8");
  return text.split(/^## /m).flatMap((section) => {
    const title = section.split("\n", 1)[0] ?? "";
    return Array.from(section.matchAll(/^```ts\n(.*?)^```/gms), ([, code = ""]) => ({
      title,
      code,
    }));
  });
}

async function run(code: string): Promise<{ printed: string[]; expected: string[] }> {
  const printed: string[] = [];
  const body = code.replace(/^import (\{[^}]*\}) from ("[^"]*");$/gm, "const $1 = modules[$2];");
  const { outputText } = transpileModule(`const run = async () => {${body}};`, {
    compilerOptions: { target: ScriptTarget.ES2022, module: ModuleKind.CommonJS },
  });
  const log = (...values: unknown[]) => printed.push(values.map(String).join(" "));
  // eslint-disable-next-line @typescript-eslint/no-implied-eval, @typescript-eslint/no-unsafe-call -- it is our documentation
  await new Function("modules", "console", `${outputText} return run();`)(modules, { log });
  return {
    printed,
    expected: Array.from(
      code.matchAll(/console\.log\([^]*?\); \/\/ (.*)$/gm),
      ([, value = ""]) => value,
    ),
  };
}

describe.each(["linalg.md"])("docs/%s", (file) => {
  const examples = examplesOf(file);

  test.each(examples)("$title", async ({ code }) => {
    const { printed, expected } = await run(code);
    expect(expected.length).toBeGreaterThan(0);
    expect(printed).toEqual(expected);
  });

  test("every function is in an example, or is the blocking twin of one", () => {
    const code = examples.map((example) => example.code).join("\n");
    const missing = Object.keys(linalg).filter(
      (name) => !new RegExp(`\\b${name.replace(/Sync$/, "")}(Sync)?\\(`).test(code),
    );
    expect(missing).toEqual([]);
  });
});
