// The loops over flat vectors, with a code path per instruction set: flat_*.cc compile the bodies *_body.inc once per path.
// Results have the same bits on every path: operations are rounded one at a time, and multiply-adds are written out.
#pragma once
#include <cstdint>

#include "../core/order_key.h"
#include "../core/philox.h"

namespace osc {

// A row to prune by the smallest |weight| * scale: `zeros` of the whole row, or of each group of `group` columns.
struct PruneRow {
  int64_t count;
  const float* weight;
  const float* scale;        // [count], or null: 1
  int64_t zeros, group;      // group 0: the whole row
  const int32_t* following;  // [count] columns of its group after each column
  const int32_t* quota;      // [count] how many of its group are pruned
  uint32_t *keys, *work;     // [count + 1] workspace
  float* pruned;             // [count]
  uint8_t* mask;             // [count] 1: kept
};

// A run of weights to prune by a threshold.
struct PruneRun {
  int64_t count;
  const float *weight, *scores;
  bool absolute;       // keys of |score|
  uint32_t threshold;  // scores with a smaller key are pruned,
  int64_t ties;        // and the first of those with this key
  float* pruned;
  uint8_t* mask;
};
struct PruneCount {
  int64_t below, equal;
};

struct FlatSimd {
  // y[i] = shift + scale * number i of the kind and key, i in [first, first + count).
  void (*random)(RandomKind kind, const RandomKey& key, int64_t first, int64_t count, float scale, float shift, float* y);
  // Adds to counts [2048] how many scores have each value of a digit, among those that share the higher digits of prefix.
  void (*count_digits)(const float* scores, int64_t count, bool absolute, int digit, uint32_t prefix, uint32_t* counts);
  void (*prune_row)(const PruneRow& row);
  PruneCount (*prune_run)(const PruneRun& run);
};

const FlatSimd& flat_simd();  // of cpu_path()

extern const FlatSimd kFlatPortable;
#if defined(__x86_64__)
extern const FlatSimd kFlatAvx2, kFlatAvx512;
#endif

}  // namespace osc
