import { findPeer } from "../io/peer.js";

/**
 * Finds the entry file of onnxruntime-node, an optional peer.
 * Errors: BindingError with every place tried and the command that installs it.
 */
export function findOnnxRuntime(fn: string, name = "onnxruntime-node"): string {
  return findPeer(
    fn,
    name,
    `It is an optional peer of osculate; only ONNX calibration and verification need it. Install it with\n` +
      `  npm install ${name}@1.30 --ignore-scripts\n` +
      `or, where install scripts must run, with ONNXRUNTIME_NODE_INSTALL=skip in the environment:\n` +
      `its own script would try to download GPU libraries, which are not needed.`,
  );
}
