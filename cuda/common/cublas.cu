// blas_library.h under nvcc: cuBLAS and cuSOLVER, opened at run time with declarations of our own, so that neither headers nor
// libraries are needed to build or to load the plug-in.
//
// Their matrices are column-major: what is row-major here is the transpose there, hence the swapped operands below.
#if defined(__CUDACC__)

#include "common/blas_library.h"

#include <dlfcn.h>

#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <string>
#include <vector>

#include "common/device.h"
#include "common/memory.h"

namespace osc::library {
namespace {

// Of cublas_api.h and cusolver_common.h; checked against them below where they exist.
enum : int { kOpN = 0, kOpT = 1, kLower = 0, kUpper = 1, kLeft = 0, kRight = 1, kNonUnit = 0, kDefaultMath = 0, kVectors = 1 };

using Handle = void*;

// Functions by type, so that one template serves float and double.
template <class T>
struct Blas {
  int (*gemm)(Handle, int, int, int, int, int, const T*, const T*, int, long long, const T*, int, long long, const T*, T*, int,
              long long, int);
  int (*syrk)(Handle, int, int, int, int, const T*, const T*, int, const T*, T*, int);
  int (*trsm)(Handle, int, int, int, int, int, int, const T*, const T*, int, T*, int);
};
template <class T>
struct Solver {
  int (*potrf_size)(Handle, int, int, T*, int, int*);
  int (*potrf)(Handle, int, int, T*, int, T*, int, int*);
  int (*syevd_size)(Handle, int, int, int, const T*, int, const T*, int*);
  int (*syevd)(Handle, int, int, int, T*, int, T*, T*, int, int*);
};

// A shared library found by one of several names in one of several folders.
class SharedLibrary {
 public:
  SharedLibrary(const char* name, const std::vector<int>& majors) {
    for (const std::string& folder : folders()) {
      for (const int major : majors) {
        const std::string path = folder + name + ".so." + std::to_string(major);
        handle_ = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
        if (handle_) return;
      }
    }
    reason_ = std::string(name) + ".so was not found (set OSCULATE_CUDA_TOOLKIT to the folder that has it)";
  }

  template <class F>
  void find(const char* symbol, F** function) {
    *function = handle_ ? reinterpret_cast<F*>(dlsym(handle_, symbol)) : nullptr;
    if (handle_ && !*function) reject(std::string("it has no ") + symbol);
  }
  void reject(const std::string& reason) {
    if (handle_) reason_ = reason;
    handle_ = nullptr;
  }
  bool ready() const { return handle_ != nullptr; }
  const std::string& reason() const { return reason_; }

 private:
  // A toolkit, or the folder of the pip packages (site-packages/nvidia/cu13) that was named; then the loader's own search.
  static std::vector<std::string> folders() {
    std::vector<std::string> found;
    if (const char* named = std::getenv("OSCULATE_CUDA_TOOLKIT")) {
      for (const char* below : {"/", "/lib64/", "/lib/"}) found.push_back(std::string(named) + below);
    }
    if (const char* toolkit = std::getenv("CUDA_PATH")) found.push_back(std::string(toolkit) + "/lib64/");
    found.push_back("");
    found.push_back("/usr/local/cuda/lib64/");
    return found;
  }

  void* handle_ = nullptr;
  std::string reason_;
};

// Versions of the libraries that belong to a CUDA major version: cuBLAS counts with it, cuSOLVER one behind. Ours first.
std::vector<int> cublas_majors() { return __CUDACC_VER_MAJOR__ >= 13 ? std::vector<int>{13, 12} : std::vector<int>{12, 13}; }
std::vector<int> cusolver_majors() { return __CUDACC_VER_MAJOR__ >= 13 ? std::vector<int>{12, 11} : std::vector<int>{11, 12}; }

struct Libraries {
  SharedLibrary cublas{"libcublas", cublas_majors()}, cusolver{"libcusolver", cusolver_majors()};
  Blas<float> single_blas{};
  Blas<double> double_blas{};
  Solver<float> single_solver{};
  Solver<double> double_solver{};
  Handle blas = nullptr, solver = nullptr;
  std::mutex mutex;  // a handle serves one thread at a time
  std::string description;

  Libraries() {
    open_blas();
    open_solver();
    description += cusolver.ready() ? "cuSOLVER found" : cusolver.reason();
  }

  void open_blas() {
    int (*create)(Handle*) = nullptr;
    int (*set_stream)(Handle, cudaStream_t) = nullptr;
    int (*set_math)(Handle, int) = nullptr;
    int (*get_version)(Handle, int*) = nullptr;
    cublas.find("cublasCreate_v2", &create);
    cublas.find("cublasSetStream_v2", &set_stream);
    cublas.find("cublasSetMathMode", &set_math);
    cublas.find("cublasGetVersion_v2", &get_version);
    cublas.find("cublasSgemmStridedBatched", &single_blas.gemm);
    cublas.find("cublasDgemmStridedBatched", &double_blas.gemm);
    cublas.find("cublasSsyrk_v2", &single_blas.syrk);
    cublas.find("cublasDsyrk_v2", &double_blas.syrk);
    cublas.find("cublasStrsm_v2", &single_blas.trsm);
    cublas.find("cublasDtrsm_v2", &double_blas.trsm);
    int version = 0;
    // Default math: float32 products are float32 products, never tf32.
    if (cublas.ready() && (create(&blas) || set_stream(blas, stream()) || set_math(blas, kDefaultMath) || get_version(blas, &version))) {
      cublas.reject("cuBLAS could not be started");
    }
    char text[32];
    std::snprintf(text, sizeof text, "cuBLAS %d.%d, ", version / 10000, version % 10000 / 100);
    description = cublas.ready() ? text : cublas.reason() + ", ";
  }

  void open_solver() {
    int (*create)(Handle*) = nullptr;
    int (*set_stream)(Handle, cudaStream_t) = nullptr;
    cusolver.find("cusolverDnCreate", &create);
    cusolver.find("cusolverDnSetStream", &set_stream);
    cusolver.find("cusolverDnSpotrf_bufferSize", &single_solver.potrf_size);
    cusolver.find("cusolverDnDpotrf_bufferSize", &double_solver.potrf_size);
    cusolver.find("cusolverDnSpotrf", &single_solver.potrf);
    cusolver.find("cusolverDnDpotrf", &double_solver.potrf);
    cusolver.find("cusolverDnSsyevd_bufferSize", &single_solver.syevd_size);
    cusolver.find("cusolverDnDsyevd_bufferSize", &double_solver.syevd_size);
    cusolver.find("cusolverDnSsyevd", &single_solver.syevd);
    cusolver.find("cusolverDnDsyevd", &double_solver.syevd);
    if (cusolver.ready() && (create(&solver) || set_stream(solver, stream()))) cusolver.reject("cuSOLVER could not be started");
  }

  const Blas<float>& functions(float) const { return single_blas; }
  const Blas<double>& functions(double) const { return double_blas; }
  const Solver<float>& solvers(float) const { return single_solver; }
  const Solver<double>& solvers(double) const { return double_solver; }
};

Libraries& libraries() {
  static auto* instance = new Libraries;  // never closed: the process may end while they are in use
  return *instance;
}

Status answer(int code, const char* what) {
  return code == 0 ? ok() : fail(OSC_DEVICE, code, "%s failed with code %d", what, code);
}

int op(Transpose trans) { return trans == Transpose::kYes ? kOpT : kOpN; }

}  // namespace

bool has_blas() { return libraries().cublas.ready(); }
bool has_solver() { return libraries().cusolver.ready(); }
const char* description() { return libraries().description.c_str(); }

template <class T>
Status gemm_batched(Transpose ta, Transpose tb, int m, int n, int k, T alpha, const T* a, int lda, int64_t stride_a, const T* b,
                    int ldb, int64_t stride_b, T beta, T* c, int ldc, int64_t stride_c, int batch) {
  Libraries& all = libraries();
  const std::lock_guard<std::mutex> lock(all.mutex);
  return answer(all.functions(T()).gemm(all.blas, op(tb), op(ta), n, m, k, &alpha, b, ldb, stride_b, a, lda, stride_a, &beta, c,
                                        ldc, stride_c, batch),
                "cuBLAS gemm");
}

template <class T>
Status syrk(Transpose trans, int n, int k, T alpha, const T* a, int lda, T beta, T* c, int ldc) {
  Libraries& all = libraries();
  const std::lock_guard<std::mutex> lock(all.mutex);
  const int flipped = trans == Transpose::kYes ? kOpN : kOpT;
  return answer(all.functions(T()).syrk(all.blas, kUpper, flipped, n, k, &alpha, a, lda, &beta, c, ldc), "cuBLAS syrk");
}

template <class T>
Status trsm(Side side, Triangle triangle, Transpose trans, int m, int n, T alpha, const T* a, int lda, T* b, int ldb) {
  Libraries& all = libraries();
  const std::lock_guard<std::mutex> lock(all.mutex);
  return answer(all.functions(T()).trsm(all.blas, side == Side::kLeft ? kRight : kLeft,
                                        triangle == Triangle::kLower ? kUpper : kLower, op(trans), kNonUnit, n, m, &alpha, a, lda,
                                        b, ldb),
                "cuBLAS trsm");
}

template <class T>
Status potrf(int n, T* a, int lda, int32_t* info) {
  Libraries& all = libraries();
  const std::lock_guard<std::mutex> lock(all.mutex);
  int size = 0;
  OSC_TRY(answer(all.solvers(T()).potrf_size(all.solver, kUpper, n, a, lda, &size), "cuSOLVER potrf"));
  DeviceBuffer<T> work(size);
  if (!work) return work.status();
  return answer(all.solvers(T()).potrf(all.solver, kUpper, n, a, lda, work.get(), size, info), "cuSOLVER potrf");
}

template <class T>
Status syevd(int n, T* a, int lda, T* values, int32_t* info) {
  Libraries& all = libraries();
  const std::lock_guard<std::mutex> lock(all.mutex);
  int size = 0;
  OSC_TRY(answer(all.solvers(T()).syevd_size(all.solver, kVectors, kUpper, n, a, lda, values, &size), "cuSOLVER syevd"));
  DeviceBuffer<T> work(size);
  if (!work) return work.status();
  return answer(all.solvers(T()).syevd(all.solver, kVectors, kUpper, n, a, lda, values, work.get(), size, info), "cuSOLVER syevd");
}

#define OSC_INSTANTIATE(T)                                                                                       \
  template Status gemm_batched<T>(Transpose, Transpose, int, int, int, T, const T*, int, int64_t, const T*, int, \
                                  int64_t, T, T*, int, int64_t, int);                                            \
  template Status syrk<T>(Transpose, int, int, T, const T*, int, T, T*, int);                                    \
  template Status trsm<T>(Side, Triangle, Transpose, int, int, T, const T*, int, T*, int);                       \
  template Status potrf<T>(int, T*, int, int32_t*);                                                              \
  template Status syevd<T>(int, T*, int, T*, int32_t*);
OSC_INSTANTIATE(float)
OSC_INSTANTIATE(double)
#undef OSC_INSTANTIATE

}  // namespace osc::library

#if __has_include(<cublas_v2.h>) && __has_include(<cusolverDn.h>)
#include <cublas_v2.h>
#include <cusolverDn.h>
static_assert(CUBLAS_OP_N == osc::library::kOpN && CUBLAS_OP_T == osc::library::kOpT);
static_assert(CUBLAS_FILL_MODE_LOWER == osc::library::kLower && CUBLAS_FILL_MODE_UPPER == osc::library::kUpper);
static_assert(CUBLAS_SIDE_LEFT == osc::library::kLeft && CUBLAS_SIDE_RIGHT == osc::library::kRight);
static_assert(CUBLAS_DIAG_NON_UNIT == osc::library::kNonUnit && CUBLAS_DEFAULT_MATH == osc::library::kDefaultMath);
static_assert(CUSOLVER_EIG_MODE_VECTOR == osc::library::kVectors);
static_assert(CUBLAS_STATUS_SUCCESS == 0 && CUSOLVER_STATUS_SUCCESS == 0);
#endif

#endif  // __CUDACC__
