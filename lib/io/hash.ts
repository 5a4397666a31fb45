/** SHA-256 of bytes, of files read in pieces, and of plain values in one canonical spelling. */
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { throwIfAborted, toIoError } from "./fs-errors.js";

/** SHA-256 in hexadecimal of bytes or of UTF-8 text. */
export function sha256(data: Uint8Array | string): string {
  return createHash("sha256").update(data).digest("hex");
}

/** SHA-256 in hexadecimal of bytes in memory, giving way to the event loop every 4 MiB. */
export async function sha256InPieces(data: Uint8Array): Promise<string> {
  const piece = 4 << 20;
  const hash = createHash("sha256");
  for (let at = 0; at < data.length; at += piece) {
    if (at > 0) await new Promise(setImmediate);
    hash.update(data.subarray(at, at + piece));
  }
  return hash.digest("hex");
}

/**
 * SHA-256 in hexadecimal of a file, read in pieces.
 *
 * @throws IoError when the file cannot be read, OsculateError "ABORTED".
 */
export async function sha256File(
  path: string,
  options: { signal?: AbortSignal | undefined } = {},
): Promise<string> {
  const hash = createHash("sha256");
  try {
    for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) {
      throwIfAborted("sha256File", options.signal);
      hash.update(chunk as Uint8Array);
    }
  } catch (cause) {
    throw toIoError("sha256File", "read", path, cause);
  }
  return hash.digest("hex");
}

/** JSON with sorted keys and no spaces: equal values have equal text. Keys set to undefined are left out. */
export function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_key, entry: unknown) => {
    if (entry === null || typeof entry !== "object" || Array.isArray(entry)) return entry;
    const sorted = Object.entries(entry).sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
    return Object.fromEntries(sorted);
  });
}

/** SHA-256 of a plain value, independent of the order of its keys. */
export function fingerprint(value: unknown): string {
  return sha256(canonicalJson(value));
}
