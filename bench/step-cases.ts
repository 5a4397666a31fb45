import { adaHessianStep } from "../lib/ops/adahessian-step.js";
import { sophiaStep } from "../lib/ops/sophia-step.js";
import { Tensor } from "../lib/tensor/index.js";
import type { Case, Shape } from "./cases.js";
import { type Exchange, makeNumbers } from "./inputs.js";

/** Fused optimizer steps over one weight matrix, given the gradient and the estimate of curvature. */
export const stepNames = ["adahessian_step", "sophia_step"] as const;
export type StepName = (typeof stepNames)[number];

/** Bytes of memory traffic an element has at least; the peers are told, since the fused AdamW moves another number. */
export const stepBytes: Readonly<Record<StepName, number>> = {
  adahessian_step: 32,
  sophia_step: 24,
};

/** The published defaults; both sides get these numbers. */
const options = {
  adahessian_step: { lr: 0.15, betas: [0.9, 0.999], eps: 1e-4, weightDecay: 0.01, step: 10 },
  sophia_step: { lr: 1e-4, beta1: 0.965, rho: 0.04, weightDecay: 0.1, batch: 5120 },
} as const;

/** State before the step, the same in the files of the peers: theta and averages of either sign, averaged squares positive. */
const vectors = {
  adahessian_step: ["theta", "grad", "diagonal", "m", "v"],
  sophia_step: ["theta", "grad", "h", "m"],
} as const;

const scales: Readonly<Record<string, number>> = { h: 1e-4, m: 0.1 };

export function stepCase(name: StepName, size: Shape, shape: string, exchange: Exchange): Case {
  const count = size.out * size.in;
  const arrays = new Map<string, Float32Array>();
  const files: Record<string, string> = {};
  vectors[name].forEach((vector, stream) => {
    const values = makeNumbers(stream, count, scales[vector] ?? 1);
    if (vector === "v" || vector === "h") values.forEach((x, i) => (values[i] = Math.abs(x)));
    arrays.set(vector, values);
    files[vector] = exchange.write(`${name}-${vector}.f32`, values);
  });
  const make = () => {
    const tensors: Record<string, Tensor> = {};
    for (const [vector, values] of arrays) tensors[vector] = Tensor.from(values);
    return tensors as Record<"theta" | "grad" | "diagonal" | "h" | "m" | "v", Tensor>;
  };
  const step = async (tensors: ReturnType<typeof make>): Promise<void> => {
    if (name === "adahessian_step") {
      const segments = [{ size: count, block: size.in }]; // rows are averaged, as published
      await adaHessianStep(tensors, { ...options[name], segments });
    } else {
      const { batch, ...rest } = options[name];
      await sophiaStep(tensors, { ...rest, curvature: { batch } });
    }
  };
  const dispose = (tensors: object) => {
    for (const tensor of Object.values(tensors) as Tensor[]) tensor.dispose();
  };
  const timed = make();
  return {
    name,
    shape,
    size,
    job: {
      kind: name,
      ...size,
      files,
      options: options[name],
      peers: name === "adahessian_step" ? ["r", "f"] : ["r"],
    },
    run: () => step(timed),
    writeResult: async () => {
      const fresh = make();
      await step(fresh);
      const written: Record<string, string> = {};
      for (const vector of ["theta", "m", "v"] as const) {
        if (!arrays.has(vector)) continue;
        written[vector] = exchange.write(`result-${vector}.f32`, await fresh[vector].data());
      }
      dispose(fresh);
      return written;
    },
    dispose: () => {
      dispose(timed);
    },
  };
}
