#include <limits>

#include "../core/memory.h"
#include "../core/parallel.h"
#include "../simd/rows.h"
#include "elementwise_check.h"

namespace osc {
namespace {

constexpr int64_t kBlockElements = 1 << 14;  // elements of x a tile should have at least
constexpr int64_t kColumns = 64;             // outputs of a block that is summed row by row
constexpr int64_t kMaxSegments = 64;

struct Sum {
  template <class E>
  using Kept = double;
  template <class E>
  static double start() { return 0; }
  template <class E>
  static double run(const RowLoops<E>& loops, const E* x, int64_t stride, int64_t count) {
    if (stride == 1) return loops.sum(x, count);
    double sum = 0;
    for (int64_t i = 0; i < count; ++i) sum += static_cast<double>(x[i * stride]);
    return sum;
  }
  template <class E>
  static void row(const RowLoops<E>& loops, double* kept, const E* x, int64_t count) { loops.add(kept, x, count); }
  static double combine(double a, double b) { return a + b; }
};

struct Max {
  template <class E>
  using Kept = E;
  template <class E>
  static E start() { return -std::numeric_limits<E>::infinity(); }
  template <class E>
  static E run(const RowLoops<E>& loops, const E* x, int64_t stride, int64_t count) {
    if (stride == 1) return loops.largest(x, count);
    E largest = x[0];
    for (int64_t i = 1; i < count; ++i) largest = combine(largest, x[i * stride]);
    return largest;
  }
  template <class E>
  static void row(const RowLoops<E>& loops, E* kept, const E* x, int64_t count) { loops.keep_largest(kept, x, count); }
  template <class E>
  static E combine(E a, E b) { return binary_formula<kMaximum>(a, b); }
};

template <class E, class Op>
class Reduction {
  using Kept = typename Op::template Kept<E>;

 public:
  Reduction(const Tensor& x, const Tensor& y, double scale, const Context& context)
      : x_(x), y_(y), scale_(scale), context_(context), loops_(rows().of<E>()) {
    const ReducedViews views(x, y);
    outputs_ = views.outputs;
    inputs_ = views.inputs;
    output_count_ = views.output_count;
    input_count_ = views.input_count;
    // Row by row where outputs are neighbours and the summed elements are not.
    by_rows_ = outputs_.inner_stride(0) == 1 && outputs_.inner() > 1 && inputs_.inner_stride(0) != 1;
    block_ = by_rows_ ? kColumns : std::max<int64_t>(1, kBlockElements / std::max<int64_t>(1, input_count_));
    blocks_ = (output_count_ + block_ - 1) / block_;
    const int64_t work = input_count_ * std::min(block_, output_count_);
    segments_ = std::clamp<int64_t>(work / kBlockElements, 1, std::max<int64_t>(1, kMaxSegments / std::max<int64_t>(1, blocks_)));
  }

  Status run() {
    if (segments_ == 1) {
      const bool done = parallel_for(blocks_, context_, [&](int64_t block) {
        Kept stack[kColumns];
        const int64_t begin = block * block_, end = std::min(output_count_, begin + block_);
        for (int64_t o = begin; o < end; o += kColumns) {
          const int64_t count = std::min(kColumns, end - o);
          segment(o, count, 0, input_count_, stack);
          for (int64_t i = 0; i < count; ++i) write(o + i, stack[i]);
        }
      });
      return done ? ok() : aborted();
    }
    Buffer<Kept> partial(segments_ * output_count_);
    if (!partial) return fail(OSC_OUT_OF_MEMORY, partial.bytes(), "no memory for partial results");
    const bool done = parallel_for(blocks_ * segments_, context_, [&](int64_t tile) {
      const int64_t s = tile % segments_, begin = tile / segments_ * block_;
      const int64_t end = std::min(output_count_, begin + block_);
      segment(begin, end - begin, input_count_ * s / segments_, input_count_ * (s + 1) / segments_,
              partial.get() + s * output_count_ + begin);
    });
    if (!done) return aborted();
    for (int64_t o = 0; o < output_count_; ++o) {
      Kept kept = partial[o];
      for (int64_t s = 1; s < segments_; ++s) kept = Op::combine(kept, partial[s * output_count_ + o]);
      write(o, kept);
    }
    return ok();
  }

 private:
  void write(int64_t output, Kept value) {
    data<E>(y_)[output] = static_cast<E>(static_cast<double>(value) * scale_);
  }

  // kept[0..count) = the reduction of inputs [begin, end) of outputs [first, first + count).
  void segment(int64_t first, int64_t count, int64_t begin, int64_t end, Kept* kept) {
    for (int64_t i = 0; i < count; ++i) kept[i] = Op::template start<E>();
    const E* x = data<E>(x_);
    const int64_t step = inputs_.inner_stride(0);
    outputs_.each_run(first, first + count, count, [&](int64_t position, int64_t run, const int64_t* at) {
      Kept* target = kept + (position - first);
      if (by_rows_) {
        inputs_.each_run(begin, end, input_count_, [&](int64_t, int64_t rows, const int64_t* from) {
          for (int64_t r = 0; r < rows; ++r) Op::row(loops_, target, x + at[0] + from[0] + r * step, run);
        });
        return;
      }
      for (int64_t i = 0; i < run; ++i) {
        const E* source = x + at[0] + i * outputs_.inner_stride(0);
        inputs_.each_run(begin, end, input_count_, [&](int64_t, int64_t length, const int64_t* from) {
          target[i] = Op::combine(target[i], Op::run(loops_, source + from[0], step, length));
        });
      }
    });
  }

  const Tensor &x_, &y_;
  double scale_;
  const Context& context_;
  const RowLoops<E>& loops_;
  Walk<1> outputs_, inputs_;
  int64_t output_count_, input_count_, block_, blocks_, segments_;
  bool by_rows_;
};

}  // namespace

Status reduce(ReduceArgs& args, const Context& context) {
  OSC_TRY(check(args));
  const Tensor &x = args.x, &y = args.y;
  return with_real(x.dtype, [&](auto zero) {
    using E = decltype(zero);
    if (args.op == kReduceSum) return Reduction<E, Sum>(x, y, args.scale, context).run();
    return Reduction<E, Max>(x, y, args.scale, context).run();
  });
}

}  // namespace osc
