/**
 * `OUT.manifest.json`: what made an output, so that anyone can check it later. It holds no time of
 * day and no duration, so the same job writes the same bytes whenever and however often it runs.
 */
import { promises as fs } from "node:fs";
import { basename, dirname, join } from "node:path";
import { FormatError, IoError } from "../errors.js";
import { systemCode, toIoError } from "./fs-errors.js";

export const MANIFEST_FORMAT = "osculate-manifest";
export const MANIFEST_VERSION = 1;

/** A file named relative to the manifest (outputs) or by its base name (inputs). */
export interface ManifestFile {
  readonly file: string;
  readonly bytes: number;
  readonly sha256: string;
}

export interface Manifest {
  readonly format: typeof MANIFEST_FORMAT;
  readonly version: typeof MANIFEST_VERSION;
  /** The command that made the output, such as "quantize". */
  readonly job: string;
  /** What can change the bits of the result: osculate, code path, BLAS, runtime of the calibration. */
  readonly environment: Readonly<Record<string, string>>;
  readonly inputs: readonly (ManifestFile & { readonly role: string })[];
  readonly outputs: readonly ManifestFile[];
  /** Everything else belongs to the job: recipe, layers, checks. */
  readonly [section: string]: unknown;
}

/** `OUT.manifest.json`. */
export function manifestPath(output: string): string {
  return `${output}.manifest.json`;
}

/** `OUT.data`, the external data of an ONNX output. */
export function externalDataPath(output: string): string {
  return `${output}.data`;
}

/** `OUT.partial`, the folder of a running or interrupted job. */
export function partialPath(output: string): string {
  return `${output}.partial`;
}

/** Text of a manifest: readable, key order as given, one final newline. */
export function encodeManifest(manifest: Manifest): string {
  return JSON.stringify(manifest, null, 2) + "\n";
}

/** Where a file of the manifest of `output` lies. @throws FormatError for a name that leaves the folder. */
export function resolveManifestFile(output: string, file: string): string {
  if (
    file === "" ||
    file !== basename(file) ||
    file === "." ||
    file === ".." ||
    file.includes("\0")
  ) {
    throw new FormatError(
      `readManifest: expected a plain file name for outputs but received ${JSON.stringify(file)}`,
      { details: { file } },
    );
  }
  return join(dirname(output), file);
}

function isFileList(value: unknown): value is ManifestFile[] {
  return (
    Array.isArray(value) &&
    value.every((entry: unknown) => {
      const file = entry as Partial<ManifestFile> | null;
      return (
        typeof file?.file === "string" &&
        typeof file.bytes === "number" &&
        typeof file.sha256 === "string" &&
        /^[0-9a-f]{64}$/.test(file.sha256)
      );
    })
  );
}

/**
 * The manifest beside `output`.
 *
 * @throws IoError when it is missing or cannot be read; FormatError when it is not a manifest.
 */
export async function readManifest(output: string): Promise<Manifest> {
  const path = manifestPath(output);
  let text: string;
  try {
    text = await fs.readFile(path, "utf8");
  } catch (cause) {
    if (systemCode(cause) === "ENOENT") {
      throw new IoError(
        `readManifest: ${path} does not exist; ${output} was not written by osculate, or its manifest was left behind`,
        { details: { path, errno: "ENOENT" }, cause },
      );
    }
    throw toIoError("readManifest", "read", path, cause);
  }
  let value: Partial<Manifest> | null;
  try {
    value = JSON.parse(text) as Partial<Manifest> | null;
  } catch (cause) {
    throw new FormatError(`readManifest: ${path} is not JSON`, { details: { path }, cause });
  }
  if (value?.format !== MANIFEST_FORMAT) {
    throw new FormatError(`readManifest: ${path} is not a manifest of osculate`, {
      details: { path },
    });
  }
  if (value.version !== MANIFEST_VERSION) {
    throw new FormatError(
      `readManifest: ${path} has version ${String(value.version)}, this osculate reads ${MANIFEST_VERSION}`,
      { details: { path } },
    );
  }
  if (!isFileList(value.inputs) || !isFileList(value.outputs) || value.outputs.length === 0) {
    throw new FormatError(`readManifest: the inputs or outputs of ${path} are damaged`, {
      details: { path },
    });
  }
  return value as Manifest;
}
