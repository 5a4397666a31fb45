// The loops over flat vectors, with a code path per instruction set: flat_*.cc compile the bodies *_body.inc once per path.
// Results have the same bits on every path: each operation is rounded once, multiply-adds are written out, and sums have
// one order.
#pragma once
#include <cstdint>

#include "../core/hutchinson.h"
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

// Elements first, first + 1, ... of a matrix with rows of `width`, one number for each row and each column. rows null: none.
struct MatrixPart {
  const float *rows, *columns;
  int64_t first, width;
};

struct FlatSimd {
  // y[i] = shift + scale * number i of the kind and key, i in [first, first + count).
  void (*random)(RandomKind kind, const RandomKey& key, int64_t first, int64_t count, float scale, float shift, float* y);
  // Adds to counts [2048] how many scores have each value of a digit, among those that share the higher digits of prefix.
  void (*count_digits)(const float* scores, int64_t count, bool absolute, int digit, uint32_t prefix, uint32_t* counts);
  void (*prune_row)(const PruneRow& row);
  PruneCount (*prune_run)(const PruneRun& run);

  // d from h = H z: z h, |h| or h^2. Without z, signs are drawn: element i has number first + i of the key.
  void (*diagonal)(DiagonalKind kind, const RandomKey& key, int64_t first, const float* h, const float* z, float* d,
                   int64_t count);
  // Every run of `block` elements becomes its mean, summed in float64; block divides count.
  void (*average)(float* d, int64_t count, int64_t block);

  void (*ema)(const Ema& rule, const float* d, float* average, int64_t count);
  void (*moments)(const RunningMoments& rule, const float* d, float* mean, float* m2, int64_t count);  // m2 may be null

  // Fused steps (core/optimizer_step.h), over fewer than 2^31 elements.
  void (*sgd)(const SgdStep& step, const float* g, float* theta, float* buffer, int64_t count);
  void (*adamw)(const AdamwStep& step, const float* g, float* theta, float* m, float* v, int64_t count);
  void (*adahessian)(const AdaHessianStep& step, const float* g, const float* d, float* theta, float* m, float* v,
                     int64_t count);
  int64_t (*sophia)(const SophiaStep& step, const float* g, const float* h, float* theta, float* m, int64_t count);
  void (*innaprop)(const InnapropStep& step, const float* g, float* theta, float* lag, float* v, int64_t count);
  void (*oasis)(const OasisStep& step, const float* g, const float* d, float* theta, float* m, float* curvature,
                int64_t count);  // m may be null
  void (*adafisher)(const AdafisherStep& step, const float* g, const MatrixPart& part, float* theta, float* m, int64_t count);

  bool (*all_finite)(const float* x, int64_t count);
};

// Reductions and updates of vectors of T, float or double. Sums are in float64: sixteen lanes, element i in lane i mod 16, then
// a tree over the lanes.
template <class T>
struct VectorSimd {
  double (*sum)(const T* x, int64_t count);
  double (*dot)(const T* x, const T* y, int64_t count);
  double (*largest)(const T* x, int64_t count);                        // |x|, NaN when there is one
  void (*axpby)(T a, const T* x, T b, T* y, int64_t count);            // y = a x + b y; b y without x, a x for b = 0
  void (*add_scaled)(double a, const T* x, double* sum, int64_t count);  // sum += a x
  // x += alpha p, r -= alpha ap; the sum of the new r^2.
  double (*cg_update)(T alpha, const T* p, const T* ap, T* x, T* r, int64_t count);
};

template <class T>
const VectorSimd<T>& vector_simd();  // of cpu_path()

const FlatSimd& flat_simd();  // of cpu_path()

extern const FlatSimd kFlatPortable;
extern const VectorSimd<float> kFloatPortable;
extern const VectorSimd<double> kDoublePortable;
#if defined(__x86_64__)
extern const FlatSimd kFlatAvx2, kFlatAvx512;
extern const VectorSimd<float> kFloatAvx2, kFloatAvx512;
extern const VectorSimd<double> kDoubleAvx2, kDoubleAvx512;
#endif

}  // namespace osc
