import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { project } from "./tree.js";

const folder = mkdtempSync(join(tmpdir(), "osculate fashion "));
afterAll(() => {
  rmSync(folder, { recursive: true });
});

function setUp() {
  const script = join(project, "scripts", "setup-fashion-mnist.sh");
  const env = { ...process.env, OSCULATE_SETUP_INSTALL: "0" };
  return spawnSync("bash", [script, folder], { encoding: "utf8", env });
}

test("prints the command as long as a file is missing, and is silent when all are there", () => {
  const names = ["train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"];
  for (const name of names) {
    const { status, stderr } = setUp();
    expect(status).toBe(1);
    expect(stderr).toContain("sudo apt-get install -y dataset-fashion-mnist\n");
    writeFileSync(join(folder, `${name}-ubyte.gz`), "x");
  }
  expect(setUp()).toMatchObject({ status: 0, stdout: "", stderr: "" });
});
