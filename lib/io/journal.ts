/**
 * What a long job has finished so far, so that it can go on after a crash.
 *
 * `journal.jsonl` is append-only: one line a record, each with a checksum of its own. A last line
 * torn by a crash is cut off and forgotten. The arrays of a record lie beside it in one file that was
 * written whole before the record was; a record whose file is missing or damaged does not count.
 */
import { promises as fs } from "node:fs";
import type { FileHandle } from "node:fs/promises";
import { join } from "node:path";
import { FormatError } from "../errors.js";
import { toIoError } from "./fs-errors.js";
import { sha256 } from "./hash.js";
import { decodePayload, encodePayload, type Payload } from "./payload.js";
import { syncFolder, writeWhole } from "./whole-file.js";

const FORMAT = 1;
const FILE = "journal.jsonl";
const CHECKSUM_LENGTH = 16;

type Line =
  | { kind: "start"; format: number; fingerprint: string; info: unknown }
  | { kind: "item"; key: string; file: string; sha256: string }
  | { kind: "note"; name: string; value: unknown };

function encodeLine(line: Line): string {
  const json = JSON.stringify(line);
  return `${sha256(json).slice(0, CHECKSUM_LENGTH)} ${json}\n`;
}

/** The good lines from the start of the journal, and how many bytes they take. */
function decodeLines(bytes: Buffer): { lines: Line[]; goodBytes: number } {
  const lines: Line[] = [];
  let at = 0;
  for (;;) {
    const end = bytes.indexOf(10, at);
    if (end < 0) break;
    const text = bytes.toString("utf8", at, end);
    const json = text.slice(CHECKSUM_LENGTH + 1);
    if (sha256(json).slice(0, CHECKSUM_LENGTH) !== text.slice(0, CHECKSUM_LENGTH)) break;
    lines.push(JSON.parse(json) as Line);
    at = end + 1;
  }
  return { lines, goodBytes: at };
}

export interface JournalState {
  readonly fingerprint: string;
  /** What `Journal.create` was given. */
  readonly info: unknown;
  /** Keys of finished items, in the order they were finished. */
  readonly keys: readonly string[];
  readonly notes: ReadonlyMap<string, unknown>;
}

/** A journal open for appending. Close it before the folder is removed. */
export class Journal {
  readonly folder: string;
  readonly fingerprint: string;
  readonly info: unknown;
  readonly #handle: FileHandle;
  readonly #items: Map<string, { file: string; sha256: string }>;
  readonly #notes: Map<string, unknown>;

  private constructor(
    folder: string,
    handle: FileHandle,
    start: { fingerprint: string; info: unknown },
    items: Map<string, { file: string; sha256: string }>,
    notes: Map<string, unknown>,
  ) {
    this.folder = folder;
    this.fingerprint = start.fingerprint;
    this.info = start.info;
    this.#handle = handle;
    this.#items = items;
    this.#notes = notes;
  }

  /** Start a new journal in `folder` (which must exist), forgetting an older one there. */
  static async create(folder: string, fingerprint: string, info: unknown = null): Promise<Journal> {
    try {
      await fs.rm(join(folder, FILE), { force: true });
      await fs.rm(join(folder, "items"), { recursive: true, force: true });
      await fs.mkdir(join(folder, "items"));
      // Whole, so that an interrupted start is "no journal" and never "a damaged one".
      const first = encodeLine({ kind: "start", format: FORMAT, fingerprint, info });
      await writeWhole(join(folder, FILE), first);
      const handle = await fs.open(join(folder, FILE), "a");
      return new Journal(folder, handle, { fingerprint, info }, new Map(), new Map());
    } catch (cause) {
      throw toIoError("Journal.create", "write", join(folder, FILE), cause);
    }
  }

  /** What the journal in `folder` says, without opening it for writing; undefined when there is none. */
  static async peek(folder: string): Promise<JournalState | undefined> {
    const read = await Journal.#read(folder);
    if (read === undefined) return undefined;
    const { start, items, notes } = read;
    return {
      fingerprint: start.fingerprint,
      info: start.info,
      keys: [...items.keys()],
      notes,
    };
  }

  /** Open the journal in `folder` to go on with it; undefined when there is none. */
  static async open(folder: string): Promise<Journal | undefined> {
    const read = await Journal.#read(folder);
    if (read === undefined) return undefined;
    try {
      const handle = await fs.open(join(folder, FILE), "a");
      // New records must not be glued to a torn line.
      await handle.truncate(read.goodBytes);
      await handle.sync();
      return new Journal(folder, handle, read.start, read.items, read.notes);
    } catch (cause) {
      throw toIoError("Journal.open", "write", join(folder, FILE), cause);
    }
  }

  static async #read(folder: string): Promise<
    | {
        start: { fingerprint: string; info: unknown };
        items: Map<string, { file: string; sha256: string }>;
        notes: Map<string, unknown>;
        goodBytes: number;
      }
    | undefined
  > {
    const path = join(folder, FILE);
    let bytes: Buffer;
    try {
      bytes = await fs.readFile(path);
    } catch (cause) {
      const error = toIoError("Journal.open", "read", path, cause);
      const missing = error.details["errno"] === "ENOENT" || error.details["errno"] === "ENOTDIR";
      if (missing) return undefined;
      throw error;
    }
    const { lines, goodBytes } = decodeLines(bytes);
    const start = lines[0];
    if (start?.kind !== "start") return undefined;
    if (start.format !== FORMAT) {
      throw new FormatError(
        `Journal.open: ${path} was written by another version of osculate (format ${start.format}, this one reads ${FORMAT}); delete ${folder} to start over`,
        { details: { path, format: start.format } },
      );
    }
    const items = new Map<string, { file: string; sha256: string }>();
    const notes = new Map<string, unknown>();
    for (const line of lines.slice(1)) {
      if (line.kind === "item") items.set(line.key, { file: line.file, sha256: line.sha256 });
      if (line.kind === "note") notes.set(line.name, line.value);
    }
    return { start, items, notes, goodBytes };
  }

  get keys(): readonly string[] {
    return [...this.#items.keys()];
  }

  note(name: string): unknown {
    return this.#notes.get(name);
  }

  /** Record a small fact durably. */
  async setNote(name: string, value: unknown): Promise<void> {
    await this.#append({ kind: "note", name, value });
    this.#notes.set(name, value);
  }

  /** Record a finished item durably: its file first, then the line that makes it count. */
  async add(key: string, payload: Payload): Promise<void> {
    const bytes = encodePayload(payload);
    // The name says nothing about the key: layer names may hold any character.
    const file = join("items", `${sha256(key).slice(0, 24)}.bin`);
    await writeWhole(join(this.folder, file), bytes);
    const entry = { file, sha256: sha256(bytes) };
    await this.#append({ kind: "item", key, ...entry });
    this.#items.set(key, entry);
  }

  /** The payload of a finished item; undefined when it is not there or its file is damaged. */
  async get(key: string): Promise<Payload | undefined> {
    const entry = this.#items.get(key);
    if (entry === undefined) return undefined;
    let bytes: Buffer;
    try {
      bytes = await fs.readFile(join(this.folder, entry.file));
    } catch {
      return undefined;
    }
    return sha256(bytes) === entry.sha256 ? decodePayload(bytes) : undefined;
  }

  async close(): Promise<void> {
    await this.#handle.close();
  }

  async #append(line: Line): Promise<void> {
    try {
      await this.#handle.appendFile(encodeLine(line));
      await this.#handle.datasync();
    } catch (cause) {
      throw toIoError("Journal", "write", join(this.folder, FILE), cause);
    }
  }
}

/** Remove a finished job's folder and make the removal durable. */
export async function removeFolder(folder: string): Promise<void> {
  try {
    await fs.rm(folder, { recursive: true, force: true });
    await syncFolder(join(folder, ".."));
  } catch (cause) {
    throw toIoError("removeFolder", "remove", folder, cause);
  }
}
