import { newArray, Tensor } from "../tensor/index.js";

/** Zeros of the shape, dtype and device of a tensor. */
export function zerosLike(x: Tensor): Tensor {
  return Tensor.zeros(x.shape, { dtype: x.dtype, device: x.device });
}

/** A number as a tensor of one element, of the dtype and device of `like`. */
export function numberLike(value: number, like: Tensor, shape: readonly number[] = []): Tensor {
  const array = newArray(like.dtype as "float64", 1).fill(value);
  return Tensor.from(array, shape, { dtype: like.dtype, device: like.device });
}

/** Tensors by tensors, in their order. */
export function mapOf(keys: readonly Tensor[], values: readonly Tensor[]): Map<Tensor, Tensor> {
  const map = new Map<Tensor, Tensor>();
  values.forEach((value, i) => {
    const key = keys[i];
    if (key !== undefined) map.set(key, value);
  });
  return map;
}
