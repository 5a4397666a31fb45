/** float16 and bfloat16 bit patterns to and from float32. */
import { Tensor } from "../tensor/index.js";

/** float16 bit patterns to float32, exactly. */
export function float16ToFloat32(halves: Uint16Array): Float32Array {
  return widen(halves, "float16");
}

/** bfloat16 bit patterns to float32, exactly. */
export function bfloat16ToFloat32(patterns: Uint16Array): Float32Array {
  return widen(patterns, "bfloat16");
}

function widen(patterns: Uint16Array, dtype: "float16" | "bfloat16"): Float32Array {
  using narrow = Tensor.from(patterns, [patterns.length], { dtype, borrow: true });
  using wide = narrow.toDType("float32");
  return wide.dataSync();
}

/** float32 to float16 bit patterns, rounded half to even; above 65519 it is an infinity. */
export function float32ToFloat16(values: Float32Array): Uint16Array {
  using wide = Tensor.from(values, [values.length], { borrow: true });
  using narrow = wide.toDType("float16");
  return narrow.dataSync();
}
