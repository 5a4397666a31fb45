/** Jest runs the TypeScript sources as CommonJS through swc; one suite runs the built package instead. */
module.exports = {
  testEnvironment: "node",
  roots: ["<rootDir>/test"],
  testMatch: ["**/*.test.ts"],
  transform: {
    "^.+\\.ts$": [
      "@swc/jest",
      { jsc: { parser: { syntax: "typescript" }, target: "es2022" }, module: { type: "commonjs" } },
    ],
  },
  moduleNameMapper: { "^(\\.{1,2}/.*)\\.js$": "$1" },
  // The emulator runs every GPU thread as a fiber: beside other work some of its tests take half a minute.
  testTimeout: 120000,
  // Test files leave modules behind; a worker that has grown is replaced, for collections of a large heap slow down what follows.
  workerIdleMemoryLimit: "600MB",
};
