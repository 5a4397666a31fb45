// Times kernels of a device through the C table, without Node, and writes one JSON object to standard output.
//   bench_kernels cuda build/libosculate_cuda.so            real sizes
//   bench_kernels emulator libosculate_emulator.so 32       every dimension divided by 32, to try the program
//   bench_kernels cpu - 8
// Each row is warmed up once and run until it has taken a second or 20 runs; best and median in milliseconds, between two
// synchronizations. The bounds are measured first: a copy for bandwidth, a large product for arithmetic; `fraction` is the
// best time's share of the one that applies. That results are right is the business of the tests, which run before.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "backend/devices.h"
#include "kernels.h"

using namespace osc;

namespace {

const OscKernelTable* table;
int64_t divisor = 1;
int64_t scaled(int64_t size) { return std::max<int64_t>(1, size / divisor); }

[[noreturn]] void stop(const std::string& what, const Status& status) {
  std::fprintf(stderr, "%s: %s\n", what.c_str(), status.message);
  std::exit(1);
}

void require(const std::string& what, const Status& status) {
  if (status.code != OSC_OK) stop(what, status);
}

template <class Args>
Status call(const char* name, Args& args) {
  const Context context{nullptr, nullptr, nullptr};
  return table->kernels[kernel_index(name)].run(&args, &context);
}

bool has(const char* name) { return table->kernels[kernel_index(name)].run != nullptr; }
Status synchronize() { return table->memory ? table->memory->synchronize() : ok(); }

// A tensor on the device, filled by its own kernel.
class OnDevice {
 public:
  OnDevice(std::vector<int64_t> shape, int32_t dtype) : view_{} {
    int64_t size = 1;
    view_.dtype = dtype;
    view_.rank = static_cast<int32_t>(shape.size());
    for (int d = view_.rank - 1; d >= 0; --d) {
      view_.shape[d] = shape[static_cast<size_t>(d)];
      view_.strides[d] = size;
      size *= view_.shape[d];
    }
    bytes_ = size * item_bytes(dtype);
    if (table->memory) {
      require("memory", table->memory->allocate(bytes_, &view_.data));
    } else {
      host_ = std::make_unique<char[]>(static_cast<size_t>(bytes_));
      view_.data = host_.get();
    }
  }
  OnDevice(const OnDevice&) = delete;
  OnDevice& operator=(const OnDevice&) = delete;
  ~OnDevice() {
    if (table->memory) table->memory->release(view_.data, bytes_);
  }

  OnDevice& filled(double value) {
    FillArgs args;
    args.y = view_;
    args.value = value;
    require("fill", call("fill", args));
    return *this;
  }
  OnDevice& random(double scale, double shift = 0) {  // float32
    RandomFillArgs args;
    args.y = view_;
    args.kind = 0, args.seed = 1, args.scale = scale, args.shift = shift;
    require("random_fill", call("random_fill", args));
    return *this;
  }
  const Tensor& view() const { return view_; }
  int64_t bytes() const { return bytes_; }

 private:
  Tensor view_;
  int64_t bytes_ = 0;
  std::unique_ptr<char[]> host_;
};

struct Times {
  double best, median;  // milliseconds
  size_t runs;
};

template <class F>
Times measure(const std::string& name, F&& run) {
  using Clock = std::chrono::steady_clock;
  require(name, run());
  require(name, synchronize());
  std::vector<double> times;
  for (double total = 0; times.empty() || (total < 1000 && times.size() < 20); total += times.back()) {
    const auto start = Clock::now();
    require(name, run());
    require(name, synchronize());
    times.push_back(std::chrono::duration<double, std::milli>(Clock::now() - start).count());
  }
  std::sort(times.begin(), times.end());
  return {times.front(), times[times.size() / 2], times.size()};
}

double peak_bytes = 0, peak_flops = 0;  // a second
bool first_row = true;

// bytes or flops 0: the row has no such rate.
void row(const std::string& name, const Times& times, double bytes, double flops) {
  const double seconds = times.best / 1e3;
  std::printf("%s\n    {\"name\": \"%s\", \"best_ms\": %.4f, \"median_ms\": %.4f, \"runs\": %zu", first_row ? "" : ",", name.c_str(),
              times.best, times.median, times.runs);
  if (bytes > 0) std::printf(", \"gb_per_s\": %.2f", bytes / seconds / 1e9);
  if (flops > 0) std::printf(", \"tflop_per_s\": %.4f", flops / seconds / 1e12);
  const double peak = flops > 0 ? peak_flops : peak_bytes, rate = flops > 0 ? flops : bytes;
  if (peak > 0 && rate > 0) std::printf(", \"fraction\": %.3f", rate / seconds / peak);
  std::printf("}");
  std::fflush(stdout);
  first_row = false;
}

void missing(const std::string& name, const char* kernel) {
  std::printf("%s\n    {\"name\": \"%s\", \"missing\": \"%s\"}", first_row ? "" : ",", name.c_str(), kernel);
  first_row = false;
}

std::string by(int64_t a, int64_t b) { return std::to_string(a) + "x" + std::to_string(b); }

void copy_rate() {
  const int64_t size = scaled(int64_t{1} << 28);
  OnDevice x({size}, OSC_FLOAT32), y({size}, OSC_FLOAT32);
  x.filled(1);
  ConvertArgs args;
  args.x = x.view(), args.y = y.view();
  const Times times = measure("copy", [&] { return call("convert", args); });
  const double bytes = 2.0 * static_cast<double>(x.bytes());
  peak_bytes = bytes / (times.best / 1e3);
  row("copy " + std::to_string(size) + " float32", times, bytes, 0);
}

void product_rate() {
  const int64_t n = scaled(8192);
  if (!has("matmul")) return missing("product " + by(n, n), "matmul");
  OnDevice a({n, n}, OSC_FLOAT32), b({n, n}, OSC_FLOAT32), c({n, n}, OSC_FLOAT32);
  a.random(1), b.random(1);
  MatmulArgs args;
  args.a = a.view(), args.b = b.view(), args.c = c.view(), args.alpha = 1;
  const Times times = measure("product", [&] { return call("matmul", args); });
  const double flops = 2.0 * static_cast<double>(n) * static_cast<double>(n) * static_cast<double>(n);
  peak_flops = flops / (times.best / 1e3);
  row("product " + by(n, n) + " float32", times, 0, flops);
}

void adahessian() {
  const int64_t size = scaled(100'000'000);
  const std::string name = "adahessian_step " + std::to_string(size);
  if (!has("adahessian_step")) return missing(name, "adahessian_step");
  OnDevice grad({size}, OSC_FLOAT32), diagonal({size}, OSC_FLOAT32), theta({size}, OSC_FLOAT32), m({size}, OSC_FLOAT32),
      v({size}, OSC_FLOAT32);
  grad.random(2, -1), diagonal.random(2, -1), theta.random(2, -1), m.filled(0), v.filled(0);
  AdahessianStepArgs args;
  args.segments.rank = 1;  // absent
  args.grad = grad.view(), args.diagonal = diagonal.view(), args.theta = theta.view(), args.m = m.view(), args.v = v.view();
  args.lr = 1e-6, args.beta1 = 0.9, args.beta2 = 0.999, args.eps = 1e-4, args.hessian_power = 1, args.step = 1;
  row(name, measure(name, [&] { return call("adahessian_step", args); }), 32.0 * static_cast<double>(size), 0);
}

void gram() {
  const int64_t n = scaled(4096), tokens = 4 * 2048;
  const std::string name = "input_gram " + by(tokens, n);
  if (!has("input_gram")) return missing(name, "input_gram");
  OnDevice x({tokens, n}, OSC_FLOAT32), staging({2048, n}, OSC_FLOAT32), sums({n, n}, n <= 2048 ? OSC_FLOAT64 : OSC_FLOAT32);
  x.random(2, -1), staging.filled(0), sums.filled(0);
  InputGramArgs args;
  args.x = x.view(), args.staging = staging.view(), args.accumulator = sums.view();
  const double flops = static_cast<double>(n) * static_cast<double>(n) * static_cast<double>(tokens);
  row(name, measure(name, [&] { return call("input_gram", args); }), 0, flops);
}

// Positive definite matrices with both halves: 1/2 everywhere, about n on the diagonal.
void fill_definite(const OnDevice& matrix, int64_t n) {
  const Tensor& view = matrix.view();
  std::vector<char> bytes(static_cast<size_t>(matrix.bytes()));
  const auto write = [&](auto zero) {
    using T = decltype(zero);
    T* values = reinterpret_cast<T*>(bytes.data());
    const int64_t size = size_of(view);
    std::fill(values, values + size, T(0.5));
    for (int64_t start = 0; start < size; start += n * n) {
      for (int64_t i = 0; i < n; ++i) values[start + i * (n + 1)] = static_cast<T>(n + i % 7);
    }
  };
  if (view.dtype == OSC_FLOAT64) write(0.0);
  else write(0.0F);
  if (table->memory) require("copy", table->memory->copy_in(view.data, bytes.data(), matrix.bytes()));
  else std::memcpy(view.data, bytes.data(), bytes.size());
}

void gptq() {
  const int64_t n = scaled(4096);
  OnDevice hessian({n, n}, OSC_FLOAT64), factor({n, n}, OSC_FLOAT32), diagonal({n}, OSC_FLOAT64), order({n}, OSC_INT32), dead({n}, OSC_UINT8);
  if (!has("gptq_factor")) return missing("gptq_factor " + by(n, n), "gptq_factor");
  fill_definite(hessian, n);
  for (const int64_t precision : {64, 32}) {
    GptqFactorArgs args;
    args.gram = hessian.view(), args.factor = factor.view(), args.diagonal = diagonal.view(), args.order = order.view();
    args.dead = dead.view(), args.damp_percent = 0.01, args.precision = precision;
    const std::string name = "gptq_factor " + by(n, n) + " float" + std::to_string(precision);
    const double cube = static_cast<double>(n) * static_cast<double>(n) * static_cast<double>(n);
    row(name, measure(name, [&] { return call("gptq_factor", args); }), 0, cube / 3);
  }
  for (const int64_t rows : {scaled(4096), scaled(11008)}) {
    const std::string name = "gptq_quantize_columns " + by(rows, n) + " 4 bits";
    if (!has("gptq_quantize_columns")) {
      missing(name, "gptq_quantize_columns");
      continue;
    }
    const int64_t group = std::min<int64_t>(128, n), groups = (n + group - 1) / group;
    OnDevice weight({rows, n}, OSC_FLOAT32), codes({rows, n}, OSC_UINT8), scales({groups, rows}, OSC_FLOAT32), zeros({groups, rows}, OSC_UINT8),
        index({n}, OSC_INT32);
    weight.random(2, -1);
    GptqQuantizeColumnsArgs args;
    args.weight = weight.view(), args.factor = factor.view(), args.diagonal = diagonal.view(), args.order = order.view();
    args.dead = dead.view(), args.codes = codes.view(), args.scales = scales.view(), args.zeros = zeros.view();
    args.group_index = index.view(), args.bits = 4, args.group_size = group, args.block_size = 128, args.float16_scales = 1;
    const double flops = static_cast<double>(rows) * static_cast<double>(n) * static_cast<double>(n);
    row(name, measure(name, [&] { return call("gptq_quantize_columns", args); }), 0, flops);
  }
}

void factorizations() {
  for (const int64_t order : {1024, 2048, 4096}) {
    const int64_t n = scaled(order);
    const std::string name = "cholesky " + by(n, n) + " float32";
    if (!has("cholesky")) {
      missing(name, "cholesky");
      continue;
    }
    OnDevice a({n, n}, OSC_FLOAT32), factor({n, n}, OSC_FLOAT32);
    fill_definite(a, n);
    CholeskyArgs args;
    args.a = a.view(), args.factor = factor.view();
    const double cube = static_cast<double>(n) * static_cast<double>(n) * static_cast<double>(n);
    row(name, measure(name, [&] { return call("cholesky", args); }), 0, cube / 3);
  }
}

// A^(-1/4) of four matrices at once, by the tridiagonal method, beside PyTorch's eigendecomposition route.
void inverse_roots() {
  constexpr int64_t kBatch = 4;
  for (const int64_t order : {1024, 2048, 4096}) {
    const int64_t n = scaled(order);
    const std::string name = "matrix_inverse_root 4x" + by(n, n) + " p=4";
    if (!has("matrix_inverse_root")) {
      missing(name, "matrix_inverse_root");
      continue;
    }
    OnDevice a({kBatch, n, n}, OSC_FLOAT32), root({kBatch, n, n}, OSC_FLOAT32), vectors({0}, OSC_FLOAT32), report({kBatch, 5}, OSC_FLOAT64);
    fill_definite(a, n);
    MatrixInverseRootArgs args;
    args.a = a.view(), args.root = root.view(), args.vectors = vectors.view(), args.report = report.view();
    args.basis.rank = 1;  // absent
    args.p = 4, args.method = 0, args.ridge = 1e-6, args.tolerance = 1e-3, args.max_iterations = 100;
    const double cube = static_cast<double>(n) * static_cast<double>(n) * static_cast<double>(n);
    row(name, measure(name, [&] { return call("matrix_inverse_root", args); }), 0, kBatch * 10.0 / 3.0 * cube);
  }
}

}  // namespace

int main(int count, char** words) {
  if (count < 3) {
    std::fprintf(stderr, "bench_kernels DEVICE PLUGIN [DIVISOR]\n");
    return 2;
  }
  if (count > 3) divisor = std::max<int64_t>(1, std::atoll(words[3]));
  const Device* device = std::strcmp(words[1], "cpu") == 0 ? find_device("cpu") : nullptr;
  if (!device) require("open", open_device(words[1], words[2], &device));
  table = device->table;
  std::printf("{\n  \"device\": \"%s\", \"processor\": \"%s\", \"versions\": \"%s\", \"divisor\": %lld,\n  \"rows\": [", table->device,
              device->info.name, device->info.versions, static_cast<long long>(divisor));
  copy_rate();
  product_rate();
  adahessian();
  gram();
  gptq();
  factorizations();
  inverse_roots();
  std::printf("\n  ]\n}\n");
  return 0;
}
