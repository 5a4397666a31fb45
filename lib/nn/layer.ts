import type { Tensor } from "../tensor/index.js";
import { Module } from "./module.js";

/** Sees what goes into a layer and comes out of it; what it returns goes on instead of the output. */
export type LayerHook = (input: Tensor, output: Tensor) => Tensor;

/** A part that maps a tensor to one of another size by a weight; statistics of both sides can be taken through `hook`. */
export abstract class Layer extends Module {
  hook: LayerHook | undefined;

  protected hooked(input: Tensor, output: Tensor): Tensor {
    return this.hook === undefined ? output : this.hook(input, output);
  }
}
