import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  encodeManifest,
  type Manifest,
  MANIFEST_FORMAT,
  MANIFEST_VERSION,
  manifestPath,
  readManifest,
  resolveManifestFile,
} from "../../lib/io/index.js";

const manifest: Manifest = {
  format: MANIFEST_FORMAT,
  version: MANIFEST_VERSION,
  job: "quantize",
  environment: { osculate: "0.1.0" },
  inputs: [{ role: "model", file: "m.onnx", bytes: 1, sha256: "0".repeat(64) }],
  outputs: [{ file: "q.onnx", bytes: 2, sha256: "1".repeat(64) }],
  layers: [{ name: "a" }],
};

let output: string;
let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "osculate-manifest-"));
  output = join(folder, "q.onnx");
});
afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

test("reads what it wrote", async () => {
  await writeFile(manifestPath(output), encodeManifest(manifest));
  expect(await readManifest(output)).toEqual(manifest);
});

test.each([
  ["no file", undefined, "was not written by osculate"],
  ["not JSON", "{", "is not JSON"],
  ["null", "null", "not a manifest"],
  ["another JSON file", "{}", "not a manifest"],
  ["a newer version", JSON.stringify({ ...manifest, version: 9 }), "has version 9"],
  ["no outputs", JSON.stringify({ ...manifest, outputs: [] }), "damaged"],
  [
    "a wrong hash",
    JSON.stringify({ ...manifest, inputs: [{ file: "a", bytes: 1, sha256: "x" }] }),
    "damaged",
  ],
])("%s is a clear error", async (_name, text, message) => {
  if (text !== undefined) await writeFile(manifestPath(output), text);
  await expect(readManifest(output)).rejects.toThrow(message);
});

test.each(["../x", "a/b", "..", "/etc/passwd", ""])("file name %j is refused", (file) => {
  expect(() => resolveManifestFile(output, file)).toThrow("plain file name");
});
