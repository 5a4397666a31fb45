#include <algorithm>
#include <cmath>

#include "../dense/iterative_root.h"
#include "../dense/spectral_root.h"
#include "../kernels.h"
#include "dense_checks.h"

namespace osc {
namespace {

// One matrix in one precision: In is the dtype of the tensors, Real that of the computation.
template <class In, class Real>
class InverseRoot {
 public:
  InverseRoot(const MatrixInverseRootArgs& args, int64_t n, int64_t item)
      : args_(args), n_(n), ld_(padded_stride(n)), item_(item), problem_{n, args.p, args.ridge, args.tolerance, args.max_iterations} {}

  Status run(const Context& context, RootOutcome& outcome) {
    if (n_ == 0) return ok();
    const auto a = workspace<Real>(n_ * ld_);
    OSC_TRY(load(a.get(), context));
    In* root = data<In>(args_.root) + item_ * n_ * n_;
    Buffer<Real> wide;  // the root, when it is not computed in its place
    Real* x;
    int64_t ldx = n_;
    if constexpr (std::is_same_v<In, Real>) {
      x = root;
    } else {
      wide = workspace<Real>(n_ * ld_);
      x = wide.get();
      ldx = ld_;
    }
    outcome = compute(a.get(), x, ldx, context);
    if (outcome.code == OSC_ABORTED || cancelled(context)) return aborted();
    if (outcome.code != OSC_OK) {
      std::fill_n(root, n_ * n_, In(NAN));
      outcome.residual = NAN;
      return ok();
    }
    if constexpr (!std::is_same_v<In, Real>) {
      for (int64_t i = 0; i < n_; ++i) {
        for (int64_t j = 0; j < n_; ++j) x[i * ldx + j] = root[i * n_ + j] = static_cast<In>(x[i * ldx + j]);
      }
    }
    outcome.residual = root_residual(a.get(), ld_, args_.ridge * outcome.largest, x, ldx, n_, args_.p, context);
    if (!(outcome.residual <= args_.tolerance)) outcome.code = OSC_NOT_CONVERGED;
    return cancelled(context) ? aborted() : ok();
  }

 private:
  // a = the matrix, symmetric to the last bit.
  Status load(Real* a, const Context& context) const {
    const In* source = data<In>(args_.a) + item_ * n_ * n_;
    if constexpr (std::is_same_v<In, Real>) {
      return copy_symmetric(source, n_, n_, item_ * n_ * n_, a, ld_, context);
    } else {
      const auto narrow = workspace<In>(n_ * n_);
      OSC_TRY(copy_symmetric(source, n_, n_, item_ * n_ * n_, narrow.get(), n_, context));
      const bool done = for_rows(n_, context, [&](int64_t i) { std::copy_n(narrow.get() + i * n_, n_, a + i * ld_); });
      return done ? ok() : aborted();
    }
  }

  RootOutcome compute(const Real* a, Real* x, int64_t ldx, const Context& context) const {
    switch (args_.method) {
      case kNewton: return newton_root(problem_, a, ld_, x, ldx, context);
      case kPolynomial: return polynomial_root(problem_, a, ld_, x, ldx, context);
      case kWarm: return from_basis(a, x, ldx, context);
      default: break;
    }
    const auto copy = workspace<Real>(n_ * ld_);
    std::copy_n(a, n_ * ld_, copy.get());
    if (args_.method == kTridiagonal) return tridiagonal_root(problem_, copy.get(), ld_, x, ldx, context);
    const auto e = workspace<Real>(n_ * ld_);
    const RootOutcome outcome = eigen_root(problem_, copy.get(), ld_, x, ldx, e.get(), ld_, context);
    if (size_of(args_.vectors) > 0) {
      In* v = data<In>(args_.vectors) + item_ * n_ * n_;
      for_rows(n_, context, [&](int64_t i) {
        for (int64_t j = 0; j < n_; ++j) v[i * n_ + j] = static_cast<In>(e[j * ld_ + i]);
      });
    }
    return outcome;
  }

  RootOutcome from_basis(const Real* a, Real* x, int64_t ldx, const Context& context) const {
    const In* basis = data<In>(args_.basis) + item_ * n_ * n_;
    if constexpr (std::is_same_v<In, Real>) {
      return warm_root(problem_, a, ld_, basis, n_, x, ldx, context);
    } else {
      const auto v = workspace<Real>(n_ * ld_);
      for (int64_t i = 0; i < n_; ++i) std::copy_n(basis + i * n_, n_, v.get() + i * ld_);
      return warm_root(problem_, a, ld_, v.get(), ld_, x, ldx, context);
    }
  }

  const MatrixInverseRootArgs& args_;
  int64_t n_, ld_, item_;
  RootProblem problem_;
};

template <class In>
Status root_of(const MatrixInverseRootArgs& args, int64_t n, int64_t item, const Context& context) {
  RootOutcome outcome;
  bool wide = args.precision == 64 || std::is_same_v<In, double>;
  Status status = wide ? InverseRoot<In, double>(args, n, item).run(context, outcome)
                       : InverseRoot<In, In>(args, n, item).run(context, outcome);
  if (status.code == OSC_OK && outcome.code != OSC_OK && args.retry && !wide) {
    const int64_t before = outcome.iterations;
    wide = true;
    status = InverseRoot<In, double>(args, n, item).run(context, outcome);
    outcome.iterations += before;
  }
  if (status.code == OSC_ABORTED || status.code == OSC_OUT_OF_MEMORY) return status;
  double* report = data<double>(args.report) + item * kRootReport;
  if (status.code != OSC_OK) {  // the input itself is at fault
    std::fill_n(data<In>(args.root) + item * n * n, n * n, In(NAN));
    outcome = RootOutcome{static_cast<OscCode>(status.code), status.index, 0, NAN};
  }
  const double facts[kRootReport] = {static_cast<double>(outcome.code), static_cast<double>(outcome.iterations), outcome.residual,
                                 outcome.largest, wide ? 64.0 : 32.0};
  std::copy_n(facts, kRootReport, report);
  return ok();
}

}  // namespace

Status matrix_inverse_root(MatrixInverseRootArgs& args, const Context& context) {
  OSC_TRY(check(args));
  const Tensor& a = args.a;
  const int64_t n = order_of(a), batch = batch_of(a);
  return for_each_matrix(batch, context, [&](int64_t item) {
    return a.dtype == OSC_FLOAT32 ? root_of<float>(args, n, item, context) : root_of<double>(args, n, item, context);
  });
}

}  // namespace osc
