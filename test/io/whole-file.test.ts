import { promises as fs } from "node:fs";
import { mkdtemp, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { IoError, OsculateError } from "../../lib/errors.js";
import { checkWritable, writeWhole, writeWholeFiles } from "../../lib/io/index.js";
import { failWrites } from "../helpers/failing-disk.js";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "osculate-io-"));
});
afterEach(async () => {
  jest.restoreAllMocks();
  await rm(folder, { recursive: true, force: true });
});

describe("writeWhole", () => {
  test.each([
    ["text", "héllo\n", Buffer.from("héllo\n")],
    ["bytes", new Uint8Array([1, 2, 3]), Buffer.from([1, 2, 3])],
    ["nothing", "", Buffer.alloc(0)],
    ["pieces", ["ab", new Uint8Array([99])], Buffer.from("abc")],
  ])("writes %s and leaves nothing else", async (_name, data, want) => {
    await writeWhole(join(folder, "a"), data);
    expect(await readFile(join(folder, "a"))).toEqual(want);
    expect(await readdir(folder)).toEqual(["a"]);
  });

  test("replaces a file, and keeps the old one when the source throws half way", async () => {
    const path = join(folder, "a");
    await writeFile(path, "old");
    async function* broken(): AsyncGenerator<string> {
      yield await Promise.resolve("new");
      throw new Error("source failed");
    }
    await expect(writeWhole(path, broken())).rejects.toThrow("source failed");
    expect(await readFile(path, "utf8")).toBe("old");
    await writeWhole(path, "new");
    expect(await readFile(path, "utf8")).toBe("new");
    expect(await readdir(folder)).toEqual(["a"]);
  });

  test.each([
    ["ENOSPC", "the disk is full"],
    ["EDQUOT", "quota"],
    ["EIO", "input/output"],
  ])("%s is an IoError that says why; nothing half-written stays", async (code, reason) => {
    await writeFile(join(folder, "model"), "old");
    failWrites(code, 2);
    const write = writeWholeFiles([
      { path: join(folder, "data"), data: "1" },
      { path: join(folder, "model"), data: "2" },
    ]);
    const error: unknown = await write.catch((cause: unknown) => cause);
    expect(error).toBeInstanceOf(IoError);
    expect((error as IoError).message).toContain(join(folder, "model"));
    expect((error as IoError).message).toContain(reason);
    expect(await readdir(folder)).toEqual(["model"]);
    expect(await readFile(join(folder, "model"), "utf8")).toBe("old");
  });

  test("an abort and a failing last check change nothing", async () => {
    const path = join(folder, "a");
    const aborted = writeWhole(path, "x", { signal: AbortSignal.abort() });
    await expect(aborted).rejects.toMatchObject({ code: "ABORTED" });
    const checked = writeWhole(path, "x", {
      beforeCommit: () => Promise.reject(new OsculateError("LOCKED", "lost")),
    });
    await expect(checked).rejects.toThrow("lost");
    expect(await readdir(folder)).toEqual([]);
  });

  test("temporary files can lie in another folder", async () => {
    const staging = join(folder, "staging");
    await fs.mkdir(staging);
    const seen: string[][] = [];
    await writeWhole(join(folder, "a"), "x", {
      staging,
      beforeCommit: async () => {
        seen.push(await readdir(staging), await readdir(folder));
      },
    });
    expect(seen[0]).toHaveLength(1);
    expect(seen[1]).toEqual(["staging"]);
    expect(await readdir(staging)).toEqual([]);
  });
});

describe("checkWritable", () => {
  test("accepts a new file and leaves no trace", async () => {
    await checkWritable("t", join(folder, "new.onnx"));
    expect(await readdir(folder)).toEqual([]);
  });

  test.each([
    ["a missing folder", "no/where/x.onnx", "does not exist"],
    ["a file as folder", "file/x.onnx", "is not a folder"],
    ["a folder as file", "sub", "it is a folder"],
  ])("refuses %s", async (_name, path, reason) => {
    await writeFile(join(folder, "file"), "");
    await fs.mkdir(join(folder, "sub"));
    const check = checkWritable("t", join(folder, path));
    await expect(check).rejects.toBeInstanceOf(IoError);
    await expect(check).rejects.toThrow(reason);
  });

  test("refuses a folder that takes no files, even as root", async () => {
    await expect(checkWritable("t", "/proc/x.onnx")).rejects.toBeInstanceOf(IoError);
  });
});
