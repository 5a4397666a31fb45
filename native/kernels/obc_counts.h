// How many weights each row loses when they are removed one at a time, always from the row whose next one costs least.
#pragma once
#include <cstdint>
#include <functional>
#include <queue>
#include <vector>

namespace osc {

// costs [rows, columns]: of the removals of each row, in the order of the row; `zeros` removals in all. Ties: the first row.
inline std::vector<int64_t> obc_counts(const std::vector<double>& costs, int64_t rows, int64_t columns, int64_t zeros) {
  struct Removal {
    double cost;
    int64_t row, step;
    bool operator>(const Removal& other) const { return cost > other.cost || (cost == other.cost && row > other.row); }
  };
  std::vector<int64_t> counts(static_cast<size_t>(rows));
  std::priority_queue<Removal, std::vector<Removal>, std::greater<Removal>> next;
  const auto push = [&](int64_t row, int64_t step) {
    if (step < columns) next.push({costs[static_cast<size_t>(row * columns + step)], row, step});
  };
  for (int64_t row = 0; row < rows; ++row) push(row, 0);
  for (int64_t left = zeros; left > 0 && !next.empty(); --left) {
    const Removal one = next.top();
    next.pop();
    counts[static_cast<size_t>(one.row)] = one.step + 1;
    push(one.row, one.step + 1);
  }
  return counts;
}

}  // namespace osc
