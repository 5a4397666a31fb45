// Philox4x32-10 against the known answers that its authors publish with it, and the numbers made of its bits.
#include <doctest/doctest.h>

#include <cmath>

#include "core/philox.h"
#include "kernels.h"
#include "owned.h"
#include "simd/flat.h"

using namespace osc;
using namespace osc::test;

TEST_CASE("philox4x32-10 gives its published known answers") {
  const struct {
    uint32_t counter[4], key[2], answer[4];
  } cases[] = {
      {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
      {{~0u, ~0u, ~0u, ~0u}, {~0u, ~0u}, {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
      {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
       {0xa4093822, 0x299f31d0},
       {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
  };
  for (const auto& c : cases) {
    const RandomBlock got =
        philox4x32_10(RandomBlock{{c.counter[0], c.counter[1], c.counter[2], c.counter[3]}}, c.key[0], c.key[1]);
    for (int i = 0; i < 4; ++i) CHECK(got.word[i] == c.answer[i]);
  }
}

TEST_CASE("normal numbers follow Box and Muller within their bound, at the ends too") {
  const auto check = [](uint32_t bits0, uint32_t bits1) {
    const double u = static_cast<float>(bits0 + 0.5) * 0x1p-32, a = 2 * M_PI * (bits1 * 0x1p-32);
    const double r = std::sqrt(-2 * std::log(u));
    const NormalPair got = random_normals(bits0, bits1);
    REQUIRE(std::abs(got.first - r * std::cos(a)) <= 3e-7 * r);
    REQUIRE(std::abs(got.second - r * std::sin(a)) <= 3e-7 * r);
  };
  for (uint64_t block = 0; block < 100000; ++block) {
    const RandomBlock bits = random_block(RandomKind::kNormal, RandomKey{1, 2, 3}, block);
    check(bits.word[0], bits.word[1]);
  }
  for (uint32_t i = 0; i < 300; ++i) {
    for (uint32_t turn = 0; turn < 8; ++turn) {
      const uint32_t angle = (turn << 29) + i - 150;  // around every change of octant
      check(i, angle);
      check(~i, angle);
      check(0xB504F333u + i - 150, angle);  // around sqrt(1/2)
    }
  }
}

TEST_CASE("every code path draws the same bits") {
  for (const RandomKind kind : {RandomKind::kUniform, RandomKind::kNormal, RandomKind::kRademacher}) {
    const RandomKey key{0x1F2F3F4F5F6F7ull, 4000000000u, 3000000000u};
    const int64_t first = (int64_t{1} << 40) + 3, count = 1001;
    Owned<float> path({count}), one({count});
    flat_simd().random(kind, key, first, count, 2.5F, -0.25F, &path[0]);
    kFlatPortable.random(kind, key, first, count, 2.5F, -0.25F, &one[0]);
    CHECK(path.same_bits(one));
  }
}
