import { scope, type Tensor } from "../tensor/index.js";
import { Module } from "./module.js";

/** A step of a Sequential: a part with `forward`, or a function. */
export type Stage = (Module & { forward(x: Tensor): Tensor }) | ((x: Tensor) => Tensor);

/** Parts one after the other. Parameters are named by place: `stages.0.weight`. */
export class Sequential extends Module {
  readonly stages: readonly Stage[];

  constructor(...stages: readonly Stage[]) {
    super();
    this.stages = stages;
  }

  forward(x: Tensor): Tensor {
    return scope(() =>
      this.stages.reduce(
        (y, stage) => (typeof stage === "function" ? stage(y) : stage.forward(y)),
        x,
      ),
    );
  }
}
