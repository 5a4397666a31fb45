// Checks the imports of lib/ and the includes of native/ against scripts/layers.mjs.
//   node scripts/check-layers.mjs [ROOT]     prints one line a violation, exit code 1 when there is one
import { readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import ts from "typescript";
import { filesBelow, finish } from "./check-files.mjs";
import { layers, nativeLayers, reachable } from "./layers.mjs";

const root = resolve(process.argv[2] ?? ".");
const lib = join(root, "lib");
const native = join(root, "native");
const violations = [];

/** Room of a file below lib/: its first folder, or its own name for lib/errors.ts and lib/index.ts. */
function roomOf(path) {
  return relative(lib, path)
    .split(/[\\/]/)[0]
    .replace(/\.[cm]?[jt]s$/, "");
}

/**
 * Every module a source names, with its line: import, export from, import(), require(), import("x").Type,
 * and new URL("./x.js", ...), which is how a worker thread is started.
 */
function modulesNamed(path) {
  const source = ts.createSourceFile(
    path,
    readFileSync(path, "utf8"),
    ts.ScriptTarget.Latest,
    true,
  );
  const found = [];
  const add = (node) => {
    if (node && ts.isStringLiteralLike(node)) {
      found.push({
        name: node.text,
        line: source.getLineAndCharacterOfPosition(node.pos).line + 1,
      });
    }
  };
  const visit = (node) => {
    if (ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) add(node.moduleSpecifier);
    else if (ts.isExternalModuleReference(node)) add(node.expression);
    else if (ts.isImportTypeNode(node)) add(node.argument.literal);
    else if (
      ts.isCallExpression(node) &&
      (node.expression.kind === ts.SyntaxKind.ImportKeyword ||
        (ts.isIdentifier(node.expression) && node.expression.text === "require"))
    ) {
      add(node.arguments[0]);
    } else if (ts.isNewExpression(node) && node.expression.getText() === "URL") {
      const [first] = node.arguments ?? [];
      if (first && ts.isStringLiteralLike(first) && /\.[cm]?[jt]s$/.test(first.text)) add(first);
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  return found;
}

for (const path of filesBelow(lib, /\.[cm]?ts$/)) {
  const room = roomOf(path);
  const where = relative(root, path);
  if (!(room in layers)) {
    violations.push(`${where}: "${room}" is no room of scripts/layers.mjs`);
    continue;
  }
  const allowed = reachable(room);
  for (const { name, line } of modulesNamed(path)) {
    if (!name.startsWith(".")) {
      // A room that names the package reaches every other room through the front door.
      if (/^osculate($|\/)/.test(name))
        violations.push(`${where}:${line}: imports the package itself`);
      continue;
    }
    const target = resolve(dirname(path), name);
    if (!target.startsWith(lib)) {
      if (!target.endsWith("package.json"))
        violations.push(`${where}:${line}: imports "${name}" from outside lib/`);
      continue;
    }
    const other = roomOf(target);
    if (!allowed.has(other))
      violations.push(`${where}:${line}: ${room} may not import ${other} ("${name}")`);
  }
}

for (const path of filesBelow(native, /\.(cc|cpp|h|hpp|inc)$/)) {
  const folder = relative(native, path).split(/[\\/]/)[0];
  const allowed = nativeLayers[folder];
  const where = relative(root, path);
  if (!allowed && relative(native, dirname(path)) !== "") {
    violations.push(`${where}: "${folder}" is no folder of scripts/layers.mjs`);
  }
  readFileSync(path, "utf8")
    .split("\n")
    .forEach((text, index) => {
      const [, included] = /^\s*#\s*include\s*[<"]([^>"]+)[>"]/.exec(text) ?? [];
      if (!included) return;
      const line = `${where}:${index + 1}`;
      if (/^(napi|node_api|js_native_api)[\w-]*\.h$/.test(included)) {
        if (folder !== "binding")
          violations.push(`${line}: ${included} belongs in native/binding/ only`);
        return;
      }
      const other = nativeFolderOf(path, included);
      if (allowed && other && !allowed.includes(other)) {
        violations.push(`${line}: ${folder} may not include ${other} ("${included}")`);
      }
    });
}

/** The folder of native/ that an include leads to; undefined for system headers and files of native/ itself. */
function nativeFolderOf(from, included) {
  const target = included.startsWith(".")
    ? relative(native, resolve(dirname(from), included))
    : included;
  const [first, ...rest] = target.replace(/^native\//, "").split("/");
  return rest.length && first in nativeLayers ? first : undefined;
}

finish("check-layers", violations);
