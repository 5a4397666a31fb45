import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { canonicalJson, fingerprint, sha256, sha256File } from "../../lib/io/index.js";

// FIPS 180-2, appendix B.
const ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
const EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

test("sha256 and sha256File agree with the published vectors", async () => {
  const folder = await mkdtemp(join(tmpdir(), "osculate-hash-"));
  try {
    for (const [text, want] of [
      ["abc", ABC],
      ["", EMPTY],
    ] as const) {
      await writeFile(join(folder, "f"), text);
      expect(sha256(text)).toBe(want);
      expect(sha256(Buffer.from(text))).toBe(want);
      expect(await sha256File(join(folder, "f"))).toBe(want);
    }
    const big = Buffer.alloc(3 * 1024 * 1024 + 1, 7);
    await writeFile(join(folder, "f"), big);
    expect(await sha256File(join(folder, "f"))).toBe(sha256(big));
    await expect(sha256File(join(folder, "none"))).rejects.toMatchObject({ code: "IO" });
    const aborted = sha256File(join(folder, "f"), { signal: AbortSignal.abort() });
    await expect(aborted).rejects.toMatchObject({ code: "ABORTED" });
  } finally {
    await rm(folder, { recursive: true });
  }
});

test("canonicalJson ignores key order and undefined, not array order", () => {
  expect(canonicalJson({ b: 1, a: { d: [2, 1], c: undefined } })).toBe('{"a":{"d":[2,1]},"b":1}');
  expect(fingerprint({ a: 1, b: 2 })).toBe(fingerprint({ b: 2, a: 1 }));
  expect(fingerprint([1, 2])).not.toBe(fingerprint([2, 1]));
});
