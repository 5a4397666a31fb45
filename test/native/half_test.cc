#include "core/half.h"

#include <doctest/doctest.h>

#include <cmath>
#include <bit>
#include <limits>

#include "core/scalar.h"

using namespace osc;

TEST_CASE("every float16 survives the way to float32 and back") {
  for (uint32_t h = 0; h < 0x10000u; ++h) {
    const auto half = static_cast<uint16_t>(h);
    const float wide = half_to_float(half);
    if (std::isnan(wide)) CHECK(std::isnan(half_to_float(float_to_half(wide))));
    else REQUIRE(float_to_half(wide) == half);
  }
}

TEST_CASE("between two neighbours float16 rounds to the nearest, half to even") {
  for (uint16_t h = 0; h < 0x7BFFu; ++h) {
    const double low = half_to_float(h), high = half_to_float(static_cast<uint16_t>(h + 1));
    const auto middle = static_cast<float>((low + high) / 2);  // exact: float32 has 13 more bits
    REQUIRE(float_to_half(middle) == (h % 2 == 0 ? h : h + 1));
    REQUIRE(float_to_half(std::nextafter(middle, 0.0F)) == h);
    REQUIRE(float_to_half(std::nextafter(middle, 1e9F)) == h + 1);
  }
}

TEST_CASE("float16 overflows to infinity from 65520 on") {
  CHECK(float_to_half(65519.99F) == 0x7BFF);
  CHECK(float_to_half(65520.0F) == 0x7C00);
  CHECK(float_to_half(-std::numeric_limits<float>::infinity()) == 0xFC00);
}

TEST_CASE("bfloat16 rounds half to even and keeps NaN") {
  CHECK(float_to_bfloat16(std::bit_cast<float>(0x3F808000u)) == 0x3F80);
  CHECK(float_to_bfloat16(std::bit_cast<float>(0x3F818000u)) == 0x3F82);
  CHECK(float_to_bfloat16(std::bit_cast<float>(0x3F808001u)) == 0x3F81);
  CHECK(std::isnan(bfloat16_to_float(float_to_bfloat16(std::bit_cast<float>(0x7F800001u)))));
}

TEST_CASE("a double is rounded to float16 once") {
  // Through float32 this would round up twice: just above the middle of two float16, closer than float32 can say.
  const double above = 1.0 + std::ldexp(1.0, -11) + std::ldexp(1.0, -40);
  CHECK(convert_element<Half>(above).bits == 0x3C01);
  CHECK(convert_element<Half>(1.0 + std::ldexp(1.0, -11)).bits == 0x3C00);
}

TEST_CASE("real to integer truncates and saturates") {
  CHECK(convert_element<int32_t>(-1.9) == -1);
  CHECK(convert_element<uint8_t>(300.0F) == 255);
  CHECK(convert_element<uint8_t>(-1.0F) == 0);
  CHECK(convert_element<int64_t>(1e30) == std::numeric_limits<int64_t>::max());
  CHECK(convert_element<int32_t>(std::nan("")) == 0);
}
