/** Architectures by name. */
export { cnn, CNN, type CNNOptions } from "./cnn.js";
export { mlp, MLP, type MLPOptions } from "./mlp.js";
export { siren, Siren, type SirenOptions } from "./siren.js";
export { transformerLM, TransformerLM, type TransformerLMOptions } from "./transformer-lm.js";
