// One matrix of the batch after the other. The tridiagonal method is the one by eigenvectors here: what costs least on the CPU,
// a rational function of the tridiagonal form, is a long chain of small steps on a GPU.
#include <type_traits>
#include <vector>

#include "common/coupled_iteration.cuh"
#include "common/probes.cuh"
#include "common/spectral_root.cuh"
#include "common/symmetric.cuh"
#include "kernels.h"
#include "kernels/dense_checks.h"

namespace osc {
namespace {

template <class From, class To>
struct Convert {
  const From* source;
  To* target;
  __device__ void operator()(int64_t at) const { target[at] = static_cast<To>(source[at]); }
};

// One matrix in one precision: In is the dtype of the tensors, Real that of the computation.
template <class In, class Real>
class InverseRoot {
 public:
  InverseRoot(const MatrixInverseRootArgs& args, int64_t n, int64_t item, const Context& context)
      : args_(args),
        n_(n),
        offset_(item * n * n),
        context_(context),
        problem_{n, args.p, args.ridge, args.tolerance, args.max_iterations},
        a_(n * n),
        x_(n * n) {}

  // The status of the device; what the matrix is to blame for is in the outcome.
  Status run(RootOutcome* outcome) {
    if (!a_) return a_.status();
    if (!x_) return x_.status();
    std::vector<Status> verdicts;
    OSC_TRY(look_at_symmetric(data<const In>(args_.a) + offset_, n_, 1, a_.get(), &verdicts));
    if (verdicts[0].code != OSC_OK) {
      *outcome = RootOutcome{static_cast<OscCode>(verdicts[0].code), offset_ + verdicts[0].index, 0, NAN};
    } else {
      OSC_TRY(compute(outcome));
      if (cancelled(context_)) return aborted();
    }
    In* root = data<In>(args_.root) + offset_;
    if (outcome->code != OSC_OK) {
      outcome->residual = NAN;
      return set_bytes(root, 0xFF, n_ * n_ * static_cast<int64_t>(sizeof(In)));  // NaN
    }
    OSC_TRY(launch_each(Convert<Real, In>{x_.get(), root}, n_ * n_));
    if (!std::is_same_v<In, Real>) OSC_TRY(launch_each(Convert<In, Real>{root, x_.get()}, n_ * n_));
    OSC_TRY(residual_of(problem_.ridge * outcome->largest, &outcome->residual));
    if (!(outcome->residual <= args_.tolerance)) outcome->code = OSC_NOT_CONVERGED;
    return cancelled(context_) ? aborted() : ok();
  }

 private:
  Status compute(RootOutcome* outcome) {
    if (args_.method == kNewton || args_.method == kPolynomial) {
      CoupledIteration<Real> iteration(problem_, a_.get(), context_);
      OSC_TRY(iteration.status());
      *outcome = args_.method == kNewton ? newton_iterations<Real>(problem_, iteration)
                                         : polynomial_iterations<Real>(problem_, iteration);
      OSC_TRY(iteration.status());
      return outcome->code == OSC_OK ? iteration.finish(x_.get()) : ok();
    }
    DeviceBuffer<Real> v(n_ * n_);
    if (!v) return v.status();
    if (args_.method == kWarm) {
      OSC_TRY(launch_each(Convert<In, Real>{data<const In>(args_.basis) + offset_, v.get()}, n_ * n_));
      return warm_root(problem_, a_.get(), v.get(), x_.get(), outcome);
    }
    OSC_TRY(copy_on_device(v.get(), a_.get(), v.bytes()));
    OSC_TRY(eigen_root(problem_, v.get(), x_.get(), outcome));
    return size_of(args_.vectors) > 0 ? transpose_square(v.get(), n_, 1, data<In>(args_.vectors) + offset_) : ok();
  }

  // |X^p (A + shift I) - I|_F / sqrt(n).
  Status residual_of(double shift, double* residual) {
    const Probes<Real> probes(n_);
    OSC_TRY(probes.status());
    const int64_t k = probes.count();
    DeviceBuffer<Real> y(probes.size()), z(probes.size());
    if (!y) return y.status();
    if (!z) return z.status();
    OSC_TRY(copy_on_device(y.get(), probes.get(), y.bytes()));
    OSC_TRY(gemm(Transpose::kNo, Transpose::kNo, n_, k, n_, 1, a_.get(), n_, probes.get(), k, static_cast<Real>(shift), y.get(), k));
    for (int64_t i = 0; i < problem_.p; ++i) {
      OSC_TRY(gemm(Transpose::kNo, Transpose::kNo, n_, k, n_, 1, x_.get(), n_, y.get(), k, 0, z.get(), k));
      std::swap(y, z);
    }
    OSC_TRY(probes.norms(y.get(), 1, true, residual));
    *residual /= std::sqrt(static_cast<double>(n_));
    return ok();
  }

  const MatrixInverseRootArgs& args_;
  int64_t n_, offset_;  // of the matrix in its batch
  const Context& context_;
  RootProblem problem_;
  DeviceBuffer<Real> a_, x_;  // the matrix, symmetric to the last bit; its root
};

template <class In>
Status root_of(const MatrixInverseRootArgs& args, int64_t n, int64_t item, double* report, const Context& context) {
  RootOutcome outcome;
  bool wide = args.precision == 64 || std::is_same_v<In, double>;
  if (n > 0) {
    OSC_TRY((wide ? InverseRoot<In, double>(args, n, item, context).run(&outcome)
                  : InverseRoot<In, In>(args, n, item, context).run(&outcome)));
    const bool input = outcome.code == OSC_NON_FINITE || outcome.code == OSC_ARGUMENT;
    if (outcome.code != OSC_OK && !input && args.retry && !wide) {
      const int64_t before = outcome.iterations;
      wide = true;
      outcome = {};
      OSC_TRY((InverseRoot<In, double>(args, n, item, context).run(&outcome)));
      outcome.iterations += before;
    }
  }
  const double facts[kRootReport] = {static_cast<double>(outcome.code), static_cast<double>(outcome.iterations), outcome.residual,
                                     outcome.largest, wide ? 64.0 : 32.0};
  std::copy_n(facts, kRootReport, report);
  return ok();
}

}  // namespace

Status matrix_inverse_root(MatrixInverseRootArgs& args, const Context& context) {
  OSC_TRY(check(args));
  const int64_t n = order_of(args.a), batch = batch_of(args.a);
  if (batch == 0) return ok();
  std::vector<double> reports(static_cast<size_t>(batch * kRootReport));
  for (int64_t item = 0; item < batch; ++item) {
    if (cancelled(context)) return aborted();
    double* report = reports.data() + item * kRootReport;
    OSC_TRY(args.a.dtype == OSC_FLOAT32 ? root_of<float>(args, n, item, report, context)
                                        : root_of<double>(args, n, item, report, context));
  }
  return copy_to_device(args.report.data, reports.data(), batch * kRootReport * static_cast<int64_t>(sizeof(double)));
}

}  // namespace osc
