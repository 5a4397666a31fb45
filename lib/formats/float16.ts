/** float16 and bfloat16 bit patterns to and from float32. */

const float = new Float32Array(1);
const bits = new Uint32Array(float.buffer);

function fromBits(pattern: number): number {
  bits[0] = pattern;
  return float[0] ?? 0;
}

function toBits(value: number): number {
  float[0] = value;
  return bits[0] ?? 0;
}

/** One float16 bit pattern as a number, exactly. */
function halfToNumber(half: number): number {
  const exponent = (half >> 10) & 31;
  const mantissa = half & 1023;
  const sign = half & 0x8000 ? -1 : 1;
  if (exponent === 31) return mantissa === 0 ? sign * Infinity : NaN;
  return exponent === 0
    ? sign * mantissa * 2 ** -24
    : sign * (1024 + mantissa) * 2 ** (exponent - 25);
}

/** A float32 rounded to float16, half to even; above 65519 it is an infinity. */
function numberToHalf(value: number): number {
  const pattern = toBits(value);
  const sign = (pattern >>> 16) & 0x8000;
  const magnitude = pattern & 0x7fffffff;
  if (magnitude > 0x7f800000) return sign | 0x7e00;
  if (magnitude >= 0x477ff000) return sign | 0x7c00;
  // Below 2^-14 the sum with 0.5 puts the mantissa in place, rounded half to even.
  if (magnitude < 0x38800000) return sign | (toBits(fromBits(magnitude) + 0.5) - 0x3f000000);
  const odd = (magnitude >>> 13) & 1;
  return sign | ((magnitude - 0x38000000 + 0xfff + odd) >>> 13);
}

/** float16 bit patterns to float32, exactly. */
export function float16ToFloat32(halves: Uint16Array): Float32Array {
  return Float32Array.from(halves, halfToNumber);
}

/** float32 to float16 bit patterns, rounded half to even. */
export function float32ToFloat16(values: Float32Array): Uint16Array {
  return Uint16Array.from(values, numberToHalf);
}

/** bfloat16 bit patterns to float32, exactly. */
export function bfloat16ToFloat32(patterns: Uint16Array): Float32Array {
  return new Float32Array(Uint32Array.from(patterns, (pattern) => pattern << 16).buffer);
}
