// Runs one call of a kernel on the CPU and on the device under test, and compares. The CPU kernels have oracles of their own
// (test/kernels, test/native); what is checked here is that the other implementation agrees with them, on every order of
// execution and under every sanitizer that scripts/test-cuda.sh runs this with.
//
//   KERNEL_TEST(fill) {
//     Owned<float> y({3, 5});
//     FillArgs args;
//     args.y = y.view();
//     args.value = 2;
//     CHECK(same_as_cpu(args) == OSC_OK);
//   }
//
// Sizes: small. Under ThreadSanitizer about 5e5 barriers and warp operations of single threads take a second.
#pragma once
#include <doctest/doctest.h>

#include <array>
#include <map>
#include <ostream>
#include <string>
#include <vector>

#include "backend/kernel_table.h"
#include "kernels.h"
#include "owned.h"

namespace osc::test {

// How far an output may be from the CPU's. Floats: factor * eps(dtype) * the largest |value| of the CPU's output, and `absolute`
// on top for results that are rounding errors themselves; 0 means the same bits, any NaN being a NaN. Integers: equal, but for
// the fraction `ties` of elements. A fraction of 1 leaves a float output to other tests.
struct Tolerance {
  double factor = 0;
  double ties = 0;
  double absolute = 0;
};
using Tolerances = std::map<std::string, Tolerance>;  // by field; fields without one: equal

enum class FieldKind { in, opt, out, inout, i64, f64, ret_i64, ret_f64 };

// A field of an argument struct. One of the three pointers is set.
struct Field {
  FieldKind kind;
  const char* name;
  Tensor* tensor = nullptr;
  int64_t* integer = nullptr;
  double* real = nullptr;
};

inline Field field(FieldKind kind, const char* name, Tensor& value) { return {kind, name, &value}; }
inline Field field(FieldKind kind, const char* name, int64_t& value) { return {kind, name, nullptr, &value}; }
inline Field field(FieldKind kind, const char* name, double& value) { return {kind, name, nullptr, nullptr, &value}; }

#define OSC_LIST_FIELD(kind, name) field(FieldKind::kind, #name, args.name),
#define OSC_KERNEL(stem, Type)                                                                           \
  inline const char* kernel_name(const Type##Args&) { return #stem; }                                    \
  inline std::vector<Field> fields_of(Type##Args& args) { return {OSC_FIELDS_##stem(OSC_LIST_FIELD)}; }
#include "kernels.def"
#undef OSC_KERNEL
#undef OSC_LIST_FIELD

// A view as another dtype of at most the same size.
inline Tensor as(int32_t dtype, Tensor view) {
  view.dtype = dtype;
  return view;
}

// A tensor of no elements, for outputs that are not wanted.
inline Tensor empty_tensor(int32_t dtype) {
  Tensor view{};
  view.dtype = dtype;
  view.rank = 1;
  view.strides[0] = 1;
  return view;
}

template <class T>
Owned<T> random_tensor(std::vector<int64_t> shape, uint64_t seed) {
  Random random(seed);
  Owned<T> tensor(std::move(shape));
  tensor.fill([&](int64_t) { return random.next(); });
  return tensor;
}

// The plug-in under test: OSCULATE_TEST_PLUGIN names its file, OSCULATE_TEST_DEVICE the device (default "emulator").
const OscKernelTable& device_under_test();

// What the CPU answered; compares as its code and prints with its message.
struct CpuStatus {
  Status status;
  bool operator==(OscCode code) const { return status.code == code; }
};
inline std::ostream& operator<<(std::ostream& out, const CpuStatus& cpu) {
  return out << cpu.status.code << " " << cpu.status.message;
}

namespace detail {
CpuStatus compare(const char* kernel, void* cpu_args, std::vector<Field> cpu_fields, void* device_args, std::vector<Field> device_fields,
                const Tolerances& tolerances);
void note_covered(const char* stem);
struct Covered {
  explicit Covered(const char* stem) { note_covered(stem); }
};
}  // namespace detail

// The CPU's status; the device's has the same code and index, and with OSC_OK the same outputs and results. The of args are not changed: both run on copies of exactly the bytes that the views span.
template <class Args>
CpuStatus same_as_cpu(const Args& args, const Tolerances& tolerances = {}) {
  Args on_cpu = args, on_device = args;
  return detail::compare(kernel_name(args), &on_cpu, fields_of(on_cpu), &on_device, fields_of(on_device), tolerances);
}

}  // namespace osc::test

#define KERNEL_TEST(stem)                                       \
  static const osc::test::detail::Covered covered_##stem(#stem); \
  TEST_CASE(#stem)
