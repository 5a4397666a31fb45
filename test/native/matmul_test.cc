// matmul over every layout and around the tile size, in memory of exactly its size.
#include <doctest/doctest.h>

#include <cmath>

#include "kernels.h"
#include "owned.h"

using namespace osc;
using namespace osc::test;

namespace {

// op(X)[i, j] of a matrix stored plain or transposed.
template <class Real>
double at(const Owned<Real>& x, bool trans, int64_t rows, int64_t columns, int64_t i, int64_t j) {
  return static_cast<double>(trans ? x[j * rows + i] : x[i * columns + j]);
}

template <class Real>
Tensor view(const Owned<Real>& x, bool trans, int64_t rows, int64_t columns) {
  Tensor t = x.view();
  t.shape[0] = rows;
  t.shape[1] = columns;
  t.strides[0] = trans ? 1 : columns;
  t.strides[1] = trans ? rows : 1;
  return t;
}

template <class Real>
void check(int64_t m, int64_t k, int64_t n, bool ta, bool tb) {
  Random random(static_cast<uint64_t>(m + 7 * k + 31 * n));
  const auto draw = [&](int64_t) { return random.next(); };
  Owned<Real> a({m, k}), b({k, n}), c({m, n}), before({m, n});
  a.fill(draw), b.fill(draw), before.fill(draw);
  c.fill([&](int64_t i) { return before[i]; });
  MatmulArgs args;
  args.a = view(a, ta, m, k);
  args.b = view(b, tb, k, n);
  args.c = c.view();
  args.alpha = 2;
  args.beta = -1;
  REQUIRE(run("matmul", args).code == OSC_OK);
  const double eps = sizeof(Real) == 4 ? 0x1p-23 : 0x1p-52;
  for (int64_t i = 0; i < m; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      double sum = 0, size = 1;
      for (int64_t p = 0; p < k; ++p) {
        const double term = at(a, ta, m, k, i, p) * at(b, tb, k, n, p, j);
        sum += term;
        size += 2 * std::fabs(term);
      }
      const double reference = 2 * sum - static_cast<double>(before[i * n + j]);
      REQUIRE(std::fabs(static_cast<double>(c[i * n + j]) - reference) <= static_cast<double>(k + 2) * eps * size);
    }
  }
}

}  // namespace

TEST_CASE("matmul: layouts and sizes") {
  const int64_t sizes[][3] = {{1, 1, 1}, {2, 0, 3}, {1, 9, 5}, {5, 9, 1}, {17, 3, 33}, {257, 5, 259}, {3, 4097, 2}};
  for (const auto& [m, k, n] : sizes) {
    for (int flags = 0; flags < 4; ++flags) {
      check<float>(m, k, n, flags & 1, flags & 2);
      check<double>(m, k, n, flags & 1, flags & 2);
    }
  }
}

TEST_CASE("matmul: refuses what it could not read") {
  Owned<float> a({4, 4}), b({4, 4}), c({4, 4});
  MatmulArgs args;
  args.a = a.view(), args.b = b.view(), args.c = c.view();
  args.alpha = 1;
  args.c.strides[1] = 0;
  CHECK(run("matmul", args).code == OSC_ARGUMENT);
  args.c = c.view();
  args.a.strides[0] = 3;  // rows that overlap
  CHECK(run("matmul", args).code == OSC_ARGUMENT);
  args.a = a.view();
  args.b.shape[0] = 3;
  CHECK(run("matmul", args).code == OSC_ARGUMENT);
  args.b = b.view();
  args.b.dtype = OSC_INT32;
  CHECK(run("matmul", args).code == OSC_ARGUMENT);
  args.b = b.view();
  const std::atomic<int32_t> stop{1};
  CHECK(run("matmul", args, &stop).code == OSC_ABORTED);
}
