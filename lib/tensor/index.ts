/** Tensors: dtype, shape, device, memory. */
export { Tensor, nativeArray, type FromOptions, type TensorOptions } from "./tensor.js";
export { type ArrayOf, type DType, bytesPerElement, dtypes, newArray } from "./dtype.js";
export { contiguousStrides, isContiguous, sameShape, sizeOf } from "./shape.js";
export { closeScope, keep, openScope, scope, track, type TensorScope } from "./scope.js";
export { setObserver, type Derivation } from "./observer.js";
