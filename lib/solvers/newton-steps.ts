/** How far to go along Newton's direction, from the Newton decrement G = sqrt(<g, H^-1 g>) alone. */
import { checkNumber } from "./run.js";

/**
 * Step-size rules of `newton`. G is the Newton decrement.
 * - `classic`: a constant, default 1.
 * - `aicn`: 2 / (1 + sqrt(1 + 2 L G)) (Hanzely, Kamzolov, Pasechnyuk, Gasnikov, Richtarik, Takac, 2022); L default 1.
 * - `rn`: 1 / (1 + (9 M)^(1/(q-1)) G^((q-2)/(q-1))) (Hanzely, Abdukhakimov, Takac, 2024, from memory: the constant 9 was not
 *   checked against the paper); order q from 2 to 4, default 3; M default 1.
 * - `mn`: the positive root of M G^(q-2) a^(q-1) + a = 1, the exact minimum of the model behind `rn`. With q = 3, M = L / 2 it
 *   is `aicn`. Ours.
 * - `grls`: the lowest f on (0, 1], by golden section with 40 narrowings.
 * - `un`: 1 / (1 + s G^b), s found by backtracking: needs no constant. The default. The rule of acceptance is that of the
 *   super-universal Newton method (Doikov, Mishchenko, Nesterov, 2022) with regularizer s H.
 * - `gradReg`: a full step with H + sqrt(L ||g||) I (Mishchenko, 2021; Doikov, Nesterov, 2021); L default 1. Unlike the others
 *   it depends on the coordinates.
 */
export type NewtonStep =
  | { readonly rule: "classic"; readonly step?: number | undefined }
  | { readonly rule: "aicn"; readonly lipschitz?: number | undefined }
  | {
      readonly rule: "rn" | "mn";
      readonly order?: number | undefined;
      readonly lipschitz?: number | undefined;
    }
  | { readonly rule: "grls" }
  | {
      readonly rule: "un";
      /** The first s, > 0; default 1. */
      readonly sigma?: number | undefined;
      /** Of s when a step is refused, > 1; default 4. */
      readonly growth?: number | undefined;
      /** Divides s after a step, >= 1; default 4. */
      readonly shrink?: number | undefined;
      /** b, from 0 to 1; default 2/3. */
      readonly exponent?: number | undefined;
    }
  | { readonly rule: "gradReg"; readonly lipschitz?: number | undefined };

/** A step size as a function of the decrement. */
type StepSize = (decrement: number) => number;

/** AICN's step; this form keeps its digits when L G is tiny. */
export function aicnStep(lipschitz: number): StepSize {
  return (decrement) => 2 / (1 + Math.sqrt(1 + 2 * lipschitz * decrement));
}

export function rnStep(lipschitz: number, order: number): StepSize {
  const factor = (9 * lipschitz) ** (1 / (order - 1));
  return (decrement) => 1 / (1 + factor * decrement ** ((order - 2) / (order - 1)));
}

export function mnStep(lipschitz: number, order: number): StepSize {
  return (decrement) => {
    const c = lipschitz * decrement ** (order - 2);
    if (c === Infinity) return 0;
    // Convex and rising on (0, 1]: Newton's method from the right end comes down to the root and never passes it.
    let a = 1;
    for (let last = Infinity; a < last;) {
      last = a;
      a -= (c * a ** (order - 1) + a - 1) / (c * (order - 1) * a ** (order - 2) + 1);
    }
    return a;
  };
}

/** The rules that need nothing but the decrement; undefined for the others. @throws ArgumentError */
export function stepSize(fn: string, step: NewtonStep): StepSize | undefined {
  switch (step.rule) {
    case "classic": {
      const size = checkNumber(fn, "step", step.step ?? 1, { min: 0, open: true });
      return () => size;
    }
    case "gradReg":
      return () => 1;
    case "aicn":
      return aicnStep(checkNumber(fn, "lipschitz", step.lipschitz ?? 1, { min: 0 }));
    case "rn":
    case "mn": {
      const lipschitz = checkNumber(fn, "lipschitz", step.lipschitz ?? 1, { min: 0 });
      const order = checkNumber(fn, "order", step.order ?? 3, { min: 2, max: 4 });
      return step.rule === "rn" ? rnStep(lipschitz, order) : mnStep(lipschitz, order);
    }
    default:
      return undefined;
  }
}
