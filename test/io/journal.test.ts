import { appendFile, mkdtemp, readdir, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { decodePayload, encodePayload, Journal } from "../../lib/io/index.js";

let folder: string;
let file: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "osculate-journal-"));
  file = join(folder, "journal.jsonl");
});
afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

const payload = (value: number) => ({
  meta: { value, name: "a/b\n\u2028" },
  arrays: {
    codes: new Uint8Array([1, 2, value]),
    scales: new Float32Array([0.5, value]),
    index: new Int32Array([-1]),
    empty: new Float64Array(0),
  },
});

async function three(): Promise<void> {
  const journal = await Journal.create(folder, "f1", { total: 3 });
  for (const key of ["a", "b/../..", "c"]) await journal.add(key, payload(key.length));
  await journal.close();
}

describe("payload", () => {
  test("round trip, and every cut is noticed", () => {
    const bytes = encodePayload(payload(7));
    expect(decodePayload(bytes)).toEqual(payload(7));
    expect(encodePayload(payload(7))).toEqual(bytes);
    for (let cut = 0; cut < bytes.length; cut += 1) {
      expect(() => decodePayload(bytes.subarray(0, cut))).toThrow("decodePayload");
    }
    expect(() => decodePayload(Buffer.concat([bytes, bytes.subarray(0, 8)]))).toThrow("left over");
  });
});

describe("Journal", () => {
  test("remembers items, notes and the fingerprint", async () => {
    await three();
    const journal = (await Journal.open(folder))!;
    await journal.setNote("calibration", { sha256: "x" });
    expect([journal.fingerprint, journal.info, journal.keys]).toEqual([
      "f1",
      { total: 3 },
      ["a", "b/../..", "c"],
    ]);
    expect(await journal.get("b/../..")).toEqual(payload(7));
    expect(await journal.get("d")).toBeUndefined();
    await journal.add("d", payload(4));
    await journal.close();
    const state = (await Journal.peek(folder))!;
    expect(state.keys).toEqual(["a", "b/../..", "c", "d"]);
    expect(state.notes.get("calibration")).toEqual({ sha256: "x" });
  });

  test("a torn last record is forgotten and the next one is whole", async () => {
    await three();
    const whole = await readFile(file);
    const lastStart = whole.lastIndexOf(10, whole.length - 2) + 1;
    for (const cut of [lastStart + 1, lastStart + 30, whole.length - 1]) {
      await writeFile(file, whole.subarray(0, cut));
      const journal = (await Journal.open(folder))!;
      expect(journal.keys).toEqual(["a", "b/../.."]);
      await journal.add("c", payload(1));
      await journal.close();
      expect(await readFile(file)).toEqual(whole);
    }
  });

  test("nothing after a damaged record counts", async () => {
    await three();
    const text = await readFile(file, "utf8");
    await writeFile(file, text.replace("b/../..", "b/../.!"));
    expect((await Journal.peek(folder))!.keys).toEqual(["a"]);
  });

  test("an item whose file is damaged or gone does not count", async () => {
    await three();
    const journal = (await Journal.open(folder))!;
    for (const name of await readdir(join(folder, "items"))) {
      await truncate(join(folder, "items", name), 20);
    }
    expect(await journal.get("a")).toBeUndefined();
    await rm(join(folder, "items"), { recursive: true });
    expect(await journal.get("a")).toBeUndefined();
    await journal.close();
  });

  test("no journal, an empty one, a garbage one: undefined; another format: an error", async () => {
    expect(await Journal.open(folder)).toBeUndefined();
    expect(await Journal.peek(join(folder, "none"))).toBeUndefined();
    await writeFile(file, "");
    expect(await Journal.open(folder)).toBeUndefined();
    await appendFile(file, "garbage\n");
    expect(await Journal.open(folder)).toBeUndefined();
  });

  test("create forgets the old journal", async () => {
    await three();
    await (await Journal.create(folder, "f2")).close();
    expect(await Journal.peek(folder)).toMatchObject({ fingerprint: "f2", keys: [] });
    expect(await readdir(join(folder, "items"))).toEqual([]);
  });
});
