// The vector types of CUDA, with its sizes and alignments.
#pragma once

struct uint3 {
  unsigned x, y, z;
};
struct dim3 {
  unsigned x = 1, y = 1, z = 1;
  constexpr dim3() = default;
  constexpr dim3(unsigned x_, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};

#define OSC_EMULATOR_VECTORS(type, name)                                          \
  struct alignas(2 * sizeof(type)) name##2 {                                      \
    type x, y;                                                                    \
  };                                                                              \
  struct alignas(4 * sizeof(type) < 16 ? 4 * sizeof(type) : 16) name##4 {         \
    type x, y, z, w;                                                              \
  };                                                                              \
  inline name##2 make_##name##2(type x, type y) { return {x, y}; }                \
  inline name##4 make_##name##4(type x, type y, type z, type w) { return {x, y, z, w}; }
OSC_EMULATOR_VECTORS(float, float)
OSC_EMULATOR_VECTORS(double, double)
OSC_EMULATOR_VECTORS(int, int)
OSC_EMULATOR_VECTORS(unsigned, uint)
OSC_EMULATOR_VECTORS(signed char, char)
OSC_EMULATOR_VECTORS(unsigned char, uchar)
OSC_EMULATOR_VECTORS(short, short)
OSC_EMULATOR_VECTORS(unsigned short, ushort)
#undef OSC_EMULATOR_VECTORS
