// When a matrix counts as symmetric.
#pragma once
#include <limits>

namespace osc {

// No |a_ij - a_ji| exceeds this times the largest |a_ij| of the lower half. (docs/numerics.md)
template <class Real>
constexpr Real kAsymmetry = Real(256) * std::numeric_limits<Real>::epsilon();

}  // namespace osc
