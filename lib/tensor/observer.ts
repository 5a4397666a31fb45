import type { Tensor } from "./tensor.js";

/** How a method of a tensor made another one of it. */
export type Derivation =
  | { readonly kind: "reshape" }
  | { readonly kind: "permute"; readonly order: readonly number[] }
  | { readonly kind: "expand" }
  | { readonly kind: "slice"; readonly axis: number; readonly start: number; readonly end: number }
  | { readonly kind: "convert" };

/** Told what happens to tensors outside of operations: `autodiff` follows views and frees what belongs to a tensor. */
export interface TensorObserver {
  derived(derivation: Derivation, from: Tensor, to: Tensor): void;
  disposed(tensor: Tensor): void;
}

let observer: TensorObserver | undefined;

/** @internal One observer for the whole environment, set when `autodiff` is loaded. */
export function setObserver(to: TensorObserver): void {
  observer = to;
}

/** @internal */
export function derived<T extends Tensor>(derivation: Derivation, from: Tensor, to: T): T {
  observer?.derived(derivation, from, to);
  return to;
}

/** @internal */
export function disposed(tensor: Tensor): void {
  observer?.disposed(tensor);
}
