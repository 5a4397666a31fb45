import { createRequire } from "node:module";
import { join } from "node:path";
import { BindingError } from "../errors.js";

/**
 * Finds the entry file of onnxruntime-node, an optional peer: first where osculate itself is
 * installed, then from the working folder (a linked or global osculate used inside a project).
 * Errors: BindingError with every place tried and the command that installs it.
 */
export function findOnnxRuntime(fn: string, name = "onnxruntime-node"): string {
  const attempts: string[] = [];
  for (const from of [import.meta.url, join(process.cwd(), "package.json")]) {
    try {
      return createRequire(from).resolve(name);
    } catch (error) {
      attempts.push(`${from}: ${(error as Error).message.split("\n")[0] ?? ""}`);
    }
  }
  throw new BindingError(
    `${fn}: expected the package ${name} to be installed but it was not found.\n` +
      `It is an optional peer of osculate; only ONNX calibration and verification need it. Install it with\n` +
      `  npm install ${name}@1.30 --ignore-scripts\n` +
      `or, where install scripts must run, with ONNXRUNTIME_NODE_INSTALL=skip in the environment:\n` +
      `its own script would try to download GPU libraries, which are not needed.`,
    { details: { attempts } },
  );
}
