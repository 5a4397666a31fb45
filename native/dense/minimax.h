// The quadratic q for which x^(1/p) q(x) stays closest to 1 on an interval: one step of a polynomial iteration.
#pragma once
#include <algorithm>
#include <cmath>
#include <utility>

namespace osc {

struct RootStep {
  double a, b, c;  // q(x) = a + b x + c x^2
  double error;    // max |x^(1/p) q(x) - 1| on the interval
};

namespace detail {

// Solves a 4 x 4 system, with pivoting; rows hold the right-hand side last.
inline void solve4(double rows[4][5]) {
  for (int c = 0; c < 4; ++c) {
    int pivot = c;
    for (int r = c + 1; r < 4; ++r) {
      if (std::fabs(rows[r][c]) > std::fabs(rows[pivot][c])) pivot = r;
    }
    for (int k = 0; k < 5; ++k) std::swap(rows[c][k], rows[pivot][k]);
    for (int r = 0; r < 4; ++r) {
      if (r == c) continue;
      const double factor = rows[r][c] / rows[c][c];
      for (int k = c; k < 5; ++k) rows[r][k] -= factor * rows[c][k];
    }
  }
}

}  // namespace detail

// The minimax q on [low, high], 0 < low < high, by exchange (Remez, 1934): at the ends and at the two places between where
// the derivative of x^(1/p) q(x) is zero, a quadratic equation, the error is +-error in turn. For square roots this is the
// odd polynomial of degree 5 of Polar Express (Amsel et al., 2025). Close to low = high, where the equations degenerate, the
// Taylor polynomial of x^(-1/p) at the middle.
inline RootStep minimax_step(double low, double high, int p) {
  const double power = 1.0 / p, middle = (low + high) / 2, radius = (high - low) / (high + low);
  if (radius < 1e-3) {
    // x^-power = m^-power (1 - power e + power (power + 1) e^2 / 2 - ..), e = x / m - 1
    const double scale = std::pow(middle, -power), second = power * (power + 1) / 2;
    return {scale * (1 + power + second), -scale * (power + 2 * second) / middle, scale * second / (middle * middle),
            power * (power + 1) * (power + 2) / 6 * radius * radius * radius * 2};
  }
  double x[4] = {low, 0.75 * low + 0.25 * high, 0.25 * low + 0.75 * high, high};
  RootStep step{};
  for (int round = 0; round < 60; ++round) {
    // In t from -1 to 1: the powers of x are nearly dependent on a short interval.
    double rows[4][5];
    for (int i = 0; i < 4; ++i) {
      const double value = std::pow(x[i], power), t = (x[i] / middle - 1) / radius;
      rows[i][0] = value;
      rows[i][1] = value * t;
      rows[i][2] = value * t * t;
      rows[i][3] = i % 2 ? -1 : 1;
      rows[i][4] = 1;
    }
    detail::solve4(rows);
    const double constant = rows[0][4] / rows[0][0], linear = rows[1][4] / rows[1][1] / radius,
                 quadratic = rows[2][4] / rows[2][2] / (radius * radius);
    step = {constant - linear + quadratic, (linear - 2 * quadratic) / middle, quadratic / (middle * middle),
            std::fabs(rows[3][4] / rows[3][3])};
    // a / p + b (1 / p + 1) x + c (1 / p + 2) x^2 = 0
    const double u = step.c * (power + 2), v = step.b * (power + 1), w = step.a * power;
    const double root = std::sqrt(std::max(0.0, v * v - 4 * u * w));
    const double larger = (-v + root) / (2 * u), smaller = w / (u * larger);
    const double next[2] = {std::clamp(smaller, low, high), std::clamp(larger, low, high)};
    const bool settled = std::fabs(next[0] - x[1]) <= 1e-12 * high && std::fabs(next[1] - x[2]) <= 1e-12 * high;
    x[1] = next[0];
    x[2] = next[1];
    if (settled) break;
  }
  // What the exchange may have left: the true maximum over the four places.
  for (const double at : x) step.error = std::max(step.error, std::fabs(std::pow(at, power) * (step.a + at * (step.b + at * step.c)) - 1));
  return step;
}

}  // namespace osc
