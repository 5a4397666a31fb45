// Who may import whom in lib/. This table is the one source; docs/architecture.md draws it.
// A room may import the rooms in its row and, through them, everything below.
export const layers = {
  errors: [],
  binding: ["errors"],
  tensor: ["binding"],
  ops: ["tensor"],
  autodiff: ["ops"],
  nn: ["autodiff"],
  linalg: ["ops", "autodiff"],
  io: ["errors"],
  formats: ["ops", "io"],
  curvature: ["nn", "linalg", "formats"],
  optim: ["curvature"],
  solvers: ["curvature"],
  graph: ["formats", "nn"],
  compress: ["curvature", "graph"],
  models: ["nn", "formats"],
  data: ["nn", "formats"],
  report: ["errors"],
  // The two roofs: the public entry re-exports, the command line wires rooms that may not meet.
  index: ["optim", "solvers", "compress", "models", "data", "report"],
  cli: ["index"],
};

/** The rooms that `room` may import: its row and everything those may import. Itself included. */
export function reachable(room) {
  const seen = new Set();
  const visit = (name) => {
    if (seen.has(name)) return;
    seen.add(name);
    layers[name].forEach(visit);
  };
  visit(room);
  return seen;
}

// The same for native/, as the folders an #include "..." may name. napi.h stays in binding/.
export const nativeLayers = {
  core: ["core"],
  simd: ["core", "simd"],
  dense: ["core", "simd", "dense"],
  kernels: ["core", "simd", "dense", "kernels"],
  backend: ["core", "kernels", "backend"],
  binding: ["core", "kernels", "backend", "binding"],
};
