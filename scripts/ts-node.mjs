// Lets node run TypeScript sources: `node --import ./scripts/ts-node.mjs file.ts`.
// (Plain `ts-node file.ts` fails in an ESM package on Node 20.)
import { register } from "node:module";
import { pathToFileURL } from "node:url";

process.env.TS_NODE_TRANSPILE_ONLY ??= "true";
register("ts-node/esm", pathToFileURL("./"));
