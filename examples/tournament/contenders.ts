/** The optimizers of the examples, each with the learning rates it may choose from. */
import {
  AdaHessian,
  AdamW,
  KFAC,
  MFAC,
  Muon,
  SGD,
  Shampoo,
  SOAP,
  Sophia,
} from "../../lib/optim/index.js";
import type { Contender } from "./tournament.js";

const sgd: Contender = {
  name: "SGD, momentum 0.9",
  rates: [0.01, 0.03, 0.1],
  make: (params, lr) => new SGD(params, { lr }),
};
const adamW: Contender = {
  name: "AdamW",
  rates: [0.001, 0.003, 0.01],
  make: (params, lr) => new AdamW(params, { lr, weightDecay: 0 }),
};
const adaHessian: Contender = {
  name: "AdaHessian",
  rates: [0.03, 0.1, 0.3],
  make: (params, lr, seed) => new AdaHessian(params, { lr, seed, eps: 1e-3 }),
};
const mfac: Contender = {
  name: "M-FAC, 32 gradients",
  rates: [0.003, 0.01, 0.03],
  make: (params, lr) => new MFAC(params, { lr, gradients: 32, momentum: 0.9 }),
};
const kfac: Contender = {
  name: "K-FAC",
  rates: [0.01, 0.03, 0.1],
  make: (params, lr, _, model) => new KFAC(params, { model, lr, weightDecay: 0 }),
};
const sophia: Contender = {
  name: "Sophia-H",
  rates: [0.001, 0.003, 0.01],
  make: (params, lr, seed) =>
    new Sophia(params, { lr, seed, weightDecay: 0, curvature: "hutchinson", rho: 0.1 }),
};

const shampoo: Contender = {
  name: "Shampoo",
  rates: [0.001, 0.003, 0.01],
  make: (params, lr) => new Shampoo(params, { lr, graft: "adam" }),
};
const soap: Contender = {
  name: "SOAP",
  rates: [0.001, 0.003, 0.01],
  make: (params, lr) => new SOAP(params, { lr, weightDecay: 0 }),
};
// Embeddings, and what is no matrix, take AdamW's step, as published.
const muon: Contender = {
  name: "Muon",
  rates: [0.003, 0.01, 0.03],
  make: (params, lr) =>
    new Muon(params, {
      lr,
      adamw: { lr: 0.003, weightDecay: 0 },
      groups: [{ match: /^(tokens|positions|output)\./, method: "adamw" }],
    }),
};

export const imageContenders: readonly Contender[] = [sgd, adamW, adaHessian, shampoo, kfac, mfac];
export const textContenders: readonly Contender[] = [adamW, sophia, soap, shampoo, muon];
