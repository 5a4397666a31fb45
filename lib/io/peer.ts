/** Optional peer packages: found when they are needed, with a message that says how to install them. */
import { createRequire } from "node:module";
import { join } from "node:path";
import { BindingError } from "../errors.js";

/**
 * The path of `request` (a package, or a file of one): looked for where osculate itself is installed, then from the working
 * folder (a linked or global osculate used inside a project).
 *
 * @param hint what to do when it is missing, a sentence or two.
 * @throws BindingError with every place tried and the hint.
 */
export function findPeer(fn: string, request: string, hint: string): string {
  const attempts: string[] = [];
  for (const from of [import.meta.url, join(process.cwd(), "package.json")]) {
    try {
      return createRequire(from).resolve(request);
    } catch (error) {
      attempts.push(`${from}: ${(error as Error).message.split("\n")[0] ?? ""}`);
    }
  }
  const name = request.split("/", request.startsWith("@") ? 2 : 1).join("/");
  throw new BindingError(
    `${fn}: expected the package ${name} to be installed but it was not found.\n${hint}`,
    { details: { attempts } },
  );
}
