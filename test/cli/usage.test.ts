import { readFileSync } from "node:fs";
import { join } from "node:path";
import { errorText, exitCodeOf } from "../../lib/cli/exit-codes.js";
import {
  ArgumentError,
  BindingError,
  DeviceError,
  FormatError,
  IoError,
  LockedError,
  NumericalError,
  OsculateError,
  RecipeError,
} from "../../lib/errors.js";
import { cli } from "../helpers/run-cli.js";

const VERSION = (
  JSON.parse(readFileSync(join(__dirname, "../../package.json"), "utf8")) as { version: string }
).version;

describe("usage", () => {
  test("--version is that of package.json", async () => {
    expect(await cli(["--version"])).toEqual({ code: 0, stdout: `${VERSION}\n`, stderr: "" });
  });

  test.each([[["--help"]], [["help"]], [["quantize", "--help"]], [["help", "verify"]]])(
    "%j goes to stdout and succeeds",
    async (args) => {
      const { code, stdout, stderr } = await cli(args);
      expect([code, stderr]).toEqual([0, ""]);
      expect(stdout).toContain("Usage: osculate");
    },
  );

  test("every command shows examples, and every example is one of ours", async () => {
    for (const command of ["quantize", "inspect", "verify", "plan"]) {
      const { stdout } = await cli([command, "--help"]);
      const examples = stdout.match(/\$ osculate .*/g) ?? [];
      expect(examples.length).toBeGreaterThan(0);
      const flags = stdout
        .match(/^ {2}(?:-\w, )?--[\w-]+/gm)!
        .map((flag) => flag.replace(/.*--/, "--"));
      for (const example of examples) {
        expect(example).toContain(`osculate ${command}`);
        for (const flag of example.match(/--[\w-]+/g) ?? []) expect(flags).toContain(flag);
      }
    }
  });

  test.each([
    [[], /Usage: osculate/],
    [["quantise"], /osculate: unknown command 'quantise'\n.*quantize/],
    [["quantize", "-o", "q"], /osculate: missing required argument 'model'/],
    [["quantize", "m.onnx"], /osculate: required option '-o, --output <file>' not specified/],
    [["quantize", "m.onnx", "-o", "q", "--bit", "4"], /unknown option '--bit'\n.*--bits/],
    [["quantize", "m.onnx", "-o", "q", "--bits", "5"], /Allowed choices are 2, 3, 4, 8/],
    [
      ["quantize", "m.onnx", "-o", "q", "--group-size", "0"],
      /-1 \(one group a row\) or an integer/,
    ],
    [["quantize", "m.onnx", "-o", "q", "--damp-percent", "1%"], /a number from 0 to 1/],
    [["quantize", "m.onnx", "-o", "q", "--method", "awq"], /Allowed choices are gptq, rtn/],
    [["plan", "m.onnx", "--tokens", "many"], /It takes an integer/],
    [["verify", "a", "b"], /too many arguments/],
  ])("%j is a usage error", async (args, message) => {
    const { code, stdout, stderr } = await cli(args);
    expect(code).toBe(2);
    expect(stdout).toBe("");
    expect(stderr).toMatch(message);
  });
});

describe("exit codes", () => {
  test.each<[Error, number]>([
    [new ArgumentError("x"), 2],
    [new ArgumentError("x", { details: { reason: "calibration" } }), 3],
    [new RecipeError("x"), 3],
    [new FormatError("x"), 3],
    [new IoError("x"), 3],
    [new LockedError("x"), 3],
    [new NumericalError("NOT_POSITIVE_DEFINITE", "x"), 4],
    [new NumericalError("NON_FINITE", "x"), 4],
    [new NumericalError("NO_TOKENS", "x"), 4],
    [new DeviceError("DEVICE_UNAVAILABLE", "x"), 5],
    [new DeviceError("OUT_OF_MEMORY", "x"), 5],
    [new BindingError("x"), 5],
    [new RangeError("Array buffer allocation failed"), 5],
    [new OsculateError("ABORTED", "x"), 130],
    [new OsculateError("INTERNAL", "x"), 1],
    [new TypeError("x"), 1],
  ])("%p gives %d", (error, code) => {
    expect(exitCodeOf(error)).toBe(code);
  });
});

describe("messages", () => {
  const error = new FormatError("readOnnx: no", { cause: new Error("deep") });
  afterEach(() => {
    delete process.env["OSCULATE_DEBUG"];
  });

  test("one line without a stack; all of it with OSCULATE_DEBUG", () => {
    expect(errorText(error)).toBe("osculate: readOnnx: no");
    expect(errorText(new TypeError("oops"))).toMatch(
      /^osculate: oops \(TypeError; .*OSCULATE_DEBUG=1/,
    );
    process.env["OSCULATE_DEBUG"] = "1";
    expect(errorText(error)).toMatch(
      /FormatError: readOnnx: no\n {4}at .*caused by: Error: deep\n/s,
    );
  });
});
