/**
 * `npm run example -- NAME [options]`: runs `examples/NAME.ts`. Each prints a table, writes a page with pictures into
 * `example-out/`, and ends with one line of JSON: the figures of the table.
 */
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const folder = import.meta.dirname;
const names = readdirSync(folder)
  .filter((file) => file.endsWith(".ts") && file !== "run.ts")
  .map((file) => file.slice(0, -3));
const name = process.argv[2];

if (name === undefined || !names.includes(name)) {
  console.error(`usage: npm run example -- NAME [options]\n\nNAME  ${names.join(", ")}`);
  process.exit(name === undefined || name === "--help" ? 0 : 2);
}
process.argv.splice(2, 1);
await import(pathToFileURL(join(folder, `${name}.ts`)).href);
