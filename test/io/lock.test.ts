import { spawn } from "node:child_process";
import { once } from "node:events";
import { promises as fs } from "node:fs";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { Worker } from "node:worker_threads";
import { LockedError } from "../../lib/errors.js";
import { acquireLock } from "../../lib/io/index.js";

let folder: string;
let path: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "osculate-lock-"));
  path = join(folder, "lock");
});
afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

const owner = (fields: object): string =>
  JSON.stringify({ pid: 1, host: hostname(), startedAt: "2020-01-01T00:00:00.000Z", ...fields });

test("is exclusive, names its owner and is free after release", async () => {
  const lock = await acquireLock(path);
  const second: unknown = await acquireLock(path).catch((cause: unknown) => cause);
  expect(second).toBeInstanceOf(LockedError);
  expect((second as LockedError).message).toContain(`this process (${process.pid})`);
  expect((second as LockedError).details).toMatchObject({ pid: process.pid, host: hostname() });
  lock.check();
  await lock.release();
  await lock.release();
  expect(await readdir(folder)).toEqual([]);
  await (await acquireLock(path)).release();
});

test("only one of many that ask at once gets it", async () => {
  await writeFile(path, owner({ pid: 2 ** 22 + 1 })); // dead: above the largest Linux process id
  const results = await Promise.allSettled(Array.from({ length: 8 }, () => acquireLock(path)));
  const held = results.filter((r) => r.status === "fulfilled").map((r) => r.value);
  expect(held).toHaveLength(1);
  held[0]!.check();
  await held[0]!.release();
  expect(await readdir(folder)).toEqual([]);
});

test.each([
  ["a process that is gone", { pid: 2 ** 22 + 1 }],
  ["a stranger with the same process id", { pid: process.pid }],
])("takes over the lock of %s", async (_name, fields) => {
  await writeFile(path, owner(fields));
  const lock = await acquireLock(path);
  expect(JSON.parse(await readFile(path, "utf8"))).toMatchObject({ pid: process.pid });
  await lock.release();
});

test("takes over a damaged lock", async () => {
  await writeFile(path, "{");
  await (await acquireLock(path)).release();
});

test("never takes a lock of another host", async () => {
  await writeFile(path, owner({ host: "elsewhere", pid: 2 ** 22 + 1 }));
  await expect(acquireLock(path)).rejects.toThrow(/on elsewhere.*delete/);
});

test("works on file systems without hard links", async () => {
  const error = Object.assign(new Error("EPERM: link"), { code: "EPERM" });
  jest.spyOn(fs, "link").mockRejectedValue(error);
  const lock = await acquireLock(path);
  lock.check();
  await expect(acquireLock(path)).rejects.toThrow("already working");
  await lock.release();
  expect(await readdir(folder)).toEqual([]);
  jest.restoreAllMocks();
});

test("check() notices a lock that was taken away", async () => {
  const lock = await acquireLock(path);
  await rm(path);
  expect(() => {
    lock.check();
  }).toThrow(LockedError);
  const next = await acquireLock(path);
  expect(() => {
    lock.check();
  }).toThrow("already working");
  await lock.release(); // must not remove the lock of the next owner
  next.check();
  await next.release();
});

// Holds the file open as an owner does, then writes that it is its own.
const HOLD = `
  const fs = require("node:fs");
  const path = require("node:worker_threads").workerData ?? process.argv[1];
  const handle = fs.openSync(path, "w"); // as Lock does
  fs.writeSync(handle, JSON.stringify({ pid: process.pid, host: require("node:os").hostname(), startedAt: "now", token: "t" }));
  console.log("ready");
  require("node:worker_threads").parentPort?.postMessage("ready");
  setInterval(() => {}, 1000);
`;

test("respects a living process and takes over when it is killed", async () => {
  const child = spawn(process.execPath, ["-e", HOLD, path], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  try {
    await once(child.stdout, "data");
    await expect(acquireLock(path)).rejects.toThrow(`process ${child.pid}, started now`);
  } finally {
    child.kill("SIGKILL");
    await once(child, "exit");
  }
  await (await acquireLock(path)).release();
});

test("takes over the lock of a terminated worker of this process", async () => {
  const worker = new Worker(HOLD, { eval: true, workerData: path, stdout: true });
  try {
    await once(worker, "message");
    await expect(acquireLock(path)).rejects.toBeInstanceOf(LockedError);
  } finally {
    await worker.terminate();
  }
  await (await acquireLock(path)).release();
});
