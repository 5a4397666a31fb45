/** Files: whole writes, hashes, lock, journal, manifest. */
export { kindOf, checkWritable, writeWhole, writeWholeFiles, syncFolder } from "./whole-file.js";
export type { FileData, WholeFile, WriteOptions } from "./whole-file.js";
export { canonicalJson, fingerprint, sha256, sha256File, sha256InPieces } from "./hash.js";
export { acquireLock, Lock } from "./lock.js";
export type { LockOwner } from "./lock.js";
export { Journal, removeFolder } from "./journal.js";
export type { JournalState } from "./journal.js";
export { decodePayload, encodePayload } from "./payload.js";
export type { Payload, PayloadArray } from "./payload.js";
export {
  encodeManifest,
  externalDataPath,
  MANIFEST_FORMAT,
  MANIFEST_VERSION,
  manifestPath,
  partialPath,
  readManifest,
  resolveManifestFile,
} from "./manifest.js";
export type { Manifest, ManifestFile } from "./manifest.js";
export { systemCode, throwIfAborted, toIoError } from "./fs-errors.js";
