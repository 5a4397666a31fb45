import { promises as fs } from "node:fs";
import { FormatError } from "../../errors.js";
import { fingerprint, sha256InPieces, systemCode, toIoError, writeWhole } from "../../io/index.js";
import type { Parameter } from "../../nn/parameter.js";
import type { LayerSensitivity } from "./layer-sensitivities.js";

export interface SensitivityCache {
  /** A JSON file of ours; written whole. */
  readonly path: string;
  /** What the loss is made of that weights and options do not tell: the data and its version. */
  readonly key: string;
}

const FORMAT = "osculate-sensitivities";
const VERSION = 1;

interface CacheFile {
  readonly format: string;
  readonly version: number;
  readonly fingerprint: string;
  readonly layers: readonly LayerSensitivity[];
}

/** What `measure` returns, or what it returned before for the same weights, settings and key. */
export async function cachedSensitivities(
  fn: string,
  cache: SensitivityCache | undefined,
  list: readonly Parameter[],
  settings: object,
  measure: () => Promise<LayerSensitivity[]>,
): Promise<{ layers: readonly LayerSensitivity[]; cached: boolean }> {
  if (cache === undefined) return { layers: await measure(), cached: false };
  const before = await readCache(fn, cache.path);
  const weights: unknown[] = [];
  for (const { name, tensor } of list) {
    const data = await tensor.data();
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    weights.push([name, tensor.dtype, tensor.shape, await sha256InPieces(bytes)]);
  }
  const current = fingerprint({ version: VERSION, key: cache.key, settings, weights });
  if (before?.fingerprint === current) return { layers: before.layers, cached: true };
  const layers = await measure();
  const file: CacheFile = { format: FORMAT, version: VERSION, fingerprint: current, layers };
  await writeWhole(cache.path, `${JSON.stringify(file, undefined, 1)}\n`);
  return { layers, cached: false };
}

/** Undefined when there is no file. @throws FormatError rather than overwrite what is no cache. */
async function readCache(fn: string, path: string): Promise<CacheFile | undefined> {
  let text: string;
  try {
    text = await fs.readFile(path, "utf8");
  } catch (cause) {
    if (systemCode(cause) === "ENOENT") return undefined;
    throw toIoError(fn, "read", path, cause);
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new FormatError(`${fn}: expected sensitivities in ${path}, but it is not JSON`, {
      cause,
    });
  }
  const file = value as Partial<CacheFile> | null;
  if (file?.format !== FORMAT || !Array.isArray(file.layers))
    throw new FormatError(`${fn}: expected sensitivities in ${path}, but it is something else`);
  return file as CacheFile;
}
