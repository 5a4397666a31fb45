#include "kernel_case.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <set>

#include "backend/devices.h"
#include "core/blas.h"
#include "core/scalar.h"

namespace osc::test {
namespace {

std::set<std::string>& covered() {
  static std::set<std::string> stems;
  return stems;
}

bool is_tensor(const Field& field) { return field.tensor != nullptr; }
bool is_output(const Field& field) { return field.kind == FieldKind::out || field.kind == FieldKind::inout; }

// Bytes from the first to the last element of a view.
int64_t span_bytes(const Tensor& t) {
  if (!t.data || size_of(t) == 0) return 0;
  int64_t last = 0;
  for (int d = 0; d < t.rank; ++d) last += (t.shape[d] - 1) * t.strides[d];
  return (last + 1) * item_bytes(t.dtype);
}

// Outputs begin with what no kernel writes by chance, so that an element that was left out differs.
std::vector<char> contents(const Field& field) {
  std::vector<char> bytes(static_cast<size_t>(span_bytes(*field.tensor)), 0x55);
  if (field.kind != FieldKind::out && !bytes.empty()) std::memcpy(bytes.data(), field.tensor->data, bytes.size());
  return bytes;
}

// Device memory of exactly the size of a view.
class DeviceCopy {
 public:
  explicit DeviceCopy(const std::vector<char>& bytes) : bytes_(static_cast<int64_t>(bytes.size())) {
    const OscDevice& memory = *device_under_test().memory;
    REQUIRE(memory.allocate(bytes_, &data_).code == OSC_OK);
    REQUIRE(memory.copy_in(data_, bytes.data(), bytes_).code == OSC_OK);
  }
  DeviceCopy(const DeviceCopy&) = delete;
  DeviceCopy& operator=(const DeviceCopy&) = delete;
  ~DeviceCopy() { device_under_test().memory->release(data_, bytes_); }
  void* get() const { return data_; }
  std::vector<char> bytes() const {
    std::vector<char> host(static_cast<size_t>(bytes_));
    REQUIRE(device_under_test().memory->copy_out(host.data(), data_, bytes_).code == OSC_OK);
    return host;
  }

 private:
  int64_t bytes_;
  void* data_ = nullptr;
};

double epsilon(int32_t dtype) {
  switch (dtype) {
    case OSC_FLOAT64: return 0x1p-52;
    case OSC_FLOAT16: return 0x1p-10;
    case OSC_BFLOAT16: return 0x1p-7;
    default: return 0x1p-23;
  }
}

bool is_float(int32_t dtype) {
  return dtype == OSC_FLOAT32 || dtype == OSC_FLOAT64 || dtype == OSC_FLOAT16 || dtype == OSC_BFLOAT16;
}

// The elements of a view in logical order. float64 holds every dtype but the largest int64, whose tests do not go there.
std::vector<double> elements(const Tensor& view, const std::vector<char>& bytes) {
  std::vector<double> values;
  const int64_t size = size_of(view);
  values.reserve(static_cast<size_t>(size));
  for (int64_t position = 0; position < size; ++position) {
    int64_t rest = position, offset = 0;
    for (int d = view.rank - 1; d >= 0; --d) {
      offset += rest % view.shape[d] * view.strides[d];
      rest /= view.shape[d];
    }
    values.push_back(with_type(view.dtype, [&](auto type) {
      decltype(type) value;
      std::memcpy(&value, bytes.data() + offset * item_bytes(view.dtype), sizeof value);
      return static_cast<double>(widen(value));
    }));
  }
  return values;
}

bool near(double got, double reference, double allowed) {
  if (std::isnan(reference)) return std::isnan(got);
  if (got == reference) return allowed > 0 || std::signbit(got) == std::signbit(reference);
  return std::abs(got - reference) <= allowed;
}

void compare_values(const char* name, int32_t dtype, const std::vector<double>& got, const std::vector<double>& reference,
                    const Tolerance& tolerance) {
  double largest = 0;
  for (const double value : reference) {
    if (std::isfinite(value)) largest = std::max(largest, std::abs(value));
  }
  const double allowed = is_float(dtype) ? tolerance.factor * epsilon(dtype) * largest + tolerance.absolute : 0;
  size_t differing = 0, first = 0;
  for (size_t i = 0; i < reference.size(); ++i) {
    if (near(got[i], reference[i], allowed)) continue;
    if (differing++ == 0) first = i;
  }
  INFO(name << "[" << first << "]: " << (got.empty() ? 0 : got[first]) << " instead of " << (got.empty() ? 0 : reference[first]) << ", "
            << differing << " of " << reference.size() << " differ by more than " << allowed);
  CHECK(static_cast<double>(differing) <= tolerance.ties * static_cast<double>(reference.size()));
}

Tolerance tolerance_of(const Tolerances& tolerances, const char* name) {
  const auto found = tolerances.find(name);
  return found == tolerances.end() ? Tolerance{} : found->second;
}

}  // namespace

const OscKernelTable& device_under_test() {
  static const OscKernelTable* table = [] {
    const char* path = std::getenv("OSCULATE_TEST_PLUGIN");
    const char* name = std::getenv("OSCULATE_TEST_DEVICE");
    const Device* device = nullptr;
    const Status status = open_device(name ? name : "emulator", path ? path : "", &device);
    if (status.code != OSC_OK) {
      std::fprintf(stderr, "OSCULATE_TEST_PLUGIN=%s: %s\n", path ? path : "", status.message);
      std::exit(2);
    }
    return device->table;
  }();
  return *table;
}

void detail::note_covered(const char* stem) { covered().insert(stem); }

CpuStatus detail::compare(const char* kernel, void* cpu_args, std::vector<Field> cpu_fields, void* device_args,
                        std::vector<Field> device_fields, const Tolerances& tolerances) {
  initialize_blas();  // its own threads are none of ours, and the sanitizers cannot see into them
  const int index = kernel_index(kernel);
  const OscKernel& device_kernel = device_under_test().kernels[index];
  // A hole: the CPU runs alone, so that the case itself is checked. The test of the table names the holes.
  const bool hole = device_kernel.run == nullptr;
  INFO("kernel " << kernel);
  std::vector<std::vector<char>> on_cpu(cpu_fields.size());
  std::vector<std::unique_ptr<DeviceCopy>> on_device(cpu_fields.size());
  for (size_t i = 0; i < cpu_fields.size(); ++i) {
    if (!is_tensor(cpu_fields[i])) continue;
    if (!cpu_fields[i].tensor->data) {  // absent, as the binding says it
      *cpu_fields[i].tensor = *device_fields[i].tensor = empty_tensor(cpu_fields[i].tensor->dtype);
      continue;
    }
    on_cpu[i] = contents(cpu_fields[i]);
    cpu_fields[i].tensor->data = on_cpu[i].data();
    if (hole) continue;
    on_device[i] = std::make_unique<DeviceCopy>(on_cpu[i]);
    device_fields[i].tensor->data = on_device[i]->get();
  }
  const Context context{nullptr, nullptr, nullptr};
  const Status expected = cpu_kernel_table().kernels[index].run(cpu_args, &context);
  if (hole) return {expected};
  Status got = device_kernel.run(device_args, &context);
  const Status after = device_under_test().memory->synchronize();
  if (got.code == OSC_OK) got = after;
  INFO("CPU: " << expected.message << "; device: " << got.message);
  CHECK(got.code == expected.code);
  CHECK(got.index == expected.index);
  if (expected.code != OSC_OK || got.code != OSC_OK) return {expected};
  for (size_t i = 0; i < cpu_fields.size(); ++i) {
    const Field& field = cpu_fields[i];
    const Tolerance tolerance = tolerance_of(tolerances, field.name);
    if (field.kind == FieldKind::ret_i64) {
      CHECK_MESSAGE(*device_fields[i].integer == *field.integer, field.name);
    } else if (field.kind == FieldKind::ret_f64) {
      compare_values(field.name, OSC_FLOAT64, {*device_fields[i].real}, {*field.real}, tolerance);
    } else if (is_tensor(field) && is_output(field) && on_device[i]) {
      compare_values(field.name, field.tensor->dtype, elements(*field.tensor, on_device[i]->bytes()),
                     elements(*field.tensor, on_cpu[i]), tolerance);
    }
  }
  on_device.clear();
  CHECK(device_under_test().memory->synchronize().code == OSC_OK);  // nobody wrote behind a buffer
  return {expected};
}

TEST_CASE("every kernel of the plug-in is compared with the CPU's") {
  const OscKernelTable& table = device_under_test();
  std::string holes;
  for (uint32_t i = 0; i < table.kernel_count; ++i) {
    const std::string stem = table.kernels[i].name;
    if (!table.kernels[i].run) {
      holes += " " + stem;
      continue;
    }
    INFO(stem << " has no KERNEL_TEST in test/native/cuda");
    CHECK(covered().count(stem) == 1);
  }
  if (!holes.empty()) MESSAGE("no version on this device:" << holes);
}

}  // namespace osc::test
