// Kernels with one mistake each, and the same kernels without it.
//   planted_faults NAME faulty|correct
// Exit code 0 and "right" when the launch succeeds and its result is the expected one. faults_test.cc runs this under each
// kind of check and says which must notice.
#include <cmath>
#include <cstdio>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "common/gpu.cuh"
#include "common/memory.h"

using namespace osc;

namespace {

constexpr int kThreads = 64;

// Every kernel fills out[0..kThreads) of one block, or of two, with the value i + 1.
using Kernel = void (*)(float*, const float*);

// A tile in shared memory is read by another thread than the one that wrote it.
template <bool faulty>
OSC_GLOBAL missing_syncthreads(float* out, const float* in) {
  OSC_SHARED(float, tile, [kThreads]);
  const int t = static_cast<int>(threadIdx.x);
  tile[t] = in[t];
  if (!faulty) __syncthreads();
  out[kThreads - 1 - t] = tile[kThreads - 1 - t];
}

// The same, but shuffles happen to bring all threads to one place first: no order of execution shows it. Shuffles order
// no memory.
template <bool faulty>
OSC_GLOBAL missing_syncthreads_behind_shuffles(float* out, const float* in) {
  OSC_SHARED(float, tile, [32]);
  const int t = static_cast<int>(threadIdx.x);
  if (t >= 32) return;
  tile[t] = in[t];
  const float own = __shfl_sync(0xFFFFFFFFu, in[t + 32], t);
  if (!faulty) __syncthreads();
  out[31 - t] = tile[31 - t];
  out[t + 32] = own;
}

// The barrier after the tile was used is as needed as the one before.
template <bool faulty>
OSC_GLOBAL missing_syncthreads_before_reuse(float* out, const float* in) {
  OSC_SHARED(float, tile, [kThreads / 2]);
  const int t = static_cast<int>(threadIdx.x), half = kThreads / 2;
  for (int round = 0; round < 2; ++round) {
    if (t < half) tile[t] = in[round * half + t];
    __syncthreads();
    if (t < half) out[round * half + half - 1 - t] = tile[half - 1 - t];
    if (!faulty) __syncthreads();
  }
}

template <bool faulty>
OSC_GLOBAL missing_syncwarp(float* out, const float* in) {
  OSC_SHARED(float, cells, [kThreads]);
  const int t = static_cast<int>(threadIdx.x);
  cells[t] = in[t];
  if (!faulty) __syncwarp();
  out[t ^ 31] = cells[t ^ 31];
}

template <bool faulty>
OSC_GLOBAL shared_index_out_of_bounds(float* out, const float* in) {
  OSC_SHARED(float, cells, [kThreads]);
  const int t = static_cast<int>(threadIdx.x);
  cells[t] = in[t];
  __syncthreads();
  const int last = static_cast<int>(blockDim.x) - (faulty ? 0 : 1);
  out[t] = t == kThreads - 1 ? cells[last] : cells[t];
  if (faulty && t == kThreads - 1) out[t] = in[t];  // the result is right all the same
}

template <bool faulty>
OSC_GLOBAL dynamic_shared_overrun(float* out, const float* in) {
  float* cells = osc_dyn_smem<float>();
  const int t = static_cast<int>(threadIdx.x);
  cells[t] = in[t];
  if (faulty && t == 0) cells[kThreads] = 1;
  __syncthreads();
  out[t] = cells[t];
}

template <bool faulty>
OSC_GLOBAL two_blocks_one_address(float* out, const float* in) {
  const int t = static_cast<int>(threadIdx.x);
  if (faulty) out[t] = in[t];
  else if (blockIdx.x == 0) out[t] = in[t];
}

template <bool faulty>
OSC_GLOBAL missing_copy_wait(float* out, const float* in) {
  OSC_SHARED(float, cells, [kThreads]);
  const int t = static_cast<int>(threadIdx.x);
  cp_async4(&cells[t], &in[t]);
  cp_commit();
  if (!faulty) cp_wait<0>();
  __syncthreads();
  out[t] = cells[t];
}

template <bool faulty>
OSC_GLOBAL unwritten_shared_read(float* out, const float* in) {
  OSC_SHARED(float, cells, [kThreads]);
  const int t = static_cast<int>(threadIdx.x);
  if (!faulty || t != 7) cells[t] = in[t];
  __syncthreads();
  out[t] = cells[t];
}

template <bool faulty>
OSC_GLOBAL global_overrun(float* out, const float* in) {
  const int t = static_cast<int>(threadIdx.x);
  out[t] = in[t];
  if (faulty && t == 0) out[kThreads] = 1;
}

template <bool faulty>
OSC_GLOBAL divergent_barrier(float* out, const float* in) {
  const int t = static_cast<int>(threadIdx.x);
  if (faulty && t < 32) {
    __syncthreads();
  } else {
    __syncthreads();
  }
  out[t] = in[t];
}

template <bool faulty>
OSC_GLOBAL lane_not_in_mask(float* out, const float* in) {
  const int t = static_cast<int>(threadIdx.x);
  out[t] = __shfl_sync(faulty ? 0x7FFFFFFFu : 0xFFFFFFFFu, in[t], t % 32);
}

template <bool faulty>
OSC_GLOBAL deadlock(float* out, const float* in) {
  const int t = static_cast<int>(threadIdx.x);
  if (faulty && t == 3) __syncwarp(0x0000000Fu);
  __syncthreads();
  out[t] = in[t];
}

OSC_GLOBAL copy_in_to_out(float* out, const float* in) { out[threadIdx.x] = in[threadIdx.x]; }

struct Fault {
  const char* name;
  Kernel faulty, correct;
  unsigned blocks = 1;
};

#define OSC_FAULT(name) \
  { #name, name<true>, name<false> }
const Fault kFaults[] = {
    OSC_FAULT(missing_syncthreads),
    OSC_FAULT(missing_syncthreads_behind_shuffles),
    OSC_FAULT(missing_syncthreads_before_reuse),
    OSC_FAULT(missing_syncwarp),
    OSC_FAULT(shared_index_out_of_bounds),
    OSC_FAULT(dynamic_shared_overrun),
    {"two_blocks_one_address", two_blocks_one_address<true>, two_blocks_one_address<false>, 2},
    OSC_FAULT(missing_copy_wait),
    OSC_FAULT(unwritten_shared_read),
    OSC_FAULT(global_overrun),
    OSC_FAULT(divergent_barrier),
    OSC_FAULT(lane_not_in_mask),
    OSC_FAULT(deadlock),
    {"too_much_shared_memory", copy_in_to_out, copy_in_to_out},
    {"bad_launch_shape", copy_in_to_out, copy_in_to_out},
    {"host_reads_device_memory", copy_in_to_out, copy_in_to_out},
    {"unset_device_memory", copy_in_to_out, copy_in_to_out},
};
#undef OSC_FAULT

Status run(const Fault& fault, bool faulty, std::vector<float>& result) {
  const std::string name = fault.name;
  const int64_t bytes = kThreads * static_cast<int64_t>(sizeof(float));
  std::vector<float> values(kThreads);
  for (int i = 0; i < kThreads; ++i) values[static_cast<size_t>(i)] = static_cast<float>(i + 1);
  {
    DeviceBuffer<float> in(kThreads), out(kThreads);
    if (!in || !out) return in.status();
    if (!faulty || name != "unset_device_memory") OSC_TRY(copy_to_device(in.get(), values.data(), bytes));
    unsigned threads = kThreads;
    size_t shared = kThreads * sizeof(float);
    if (faulty && name == "too_much_shared_memory") shared = 300 << 10;
    if (faulty && name == "bad_launch_shape") threads = 2048;
    OSC_TRY(launch(faulty ? fault.faulty : fault.correct, fault.blocks, threads, shared, out.get(), static_cast<const float*>(in.get())));
    if (faulty && name == "host_reads_device_memory") std::printf("%f\n", static_cast<double>(*out.get()));
    result.resize(kThreads);
    OSC_TRY(copy_to_host(result.data(), out.get(), bytes));
  }
  return synchronize();  // the buffers are back: whoever wrote behind them is found
}

}  // namespace

int main(int count, char** words) {
  if (count != 3) return 2;
  for (const Fault& fault : kFaults) {
    if (std::strcmp(fault.name, words[1]) != 0) continue;
    std::vector<float> result;
    const Status status = run(fault, std::strcmp(words[2], "faulty") == 0, result);
    if (status.code != OSC_OK) {
      std::printf("status: %s\n", status.message);
      return 1;
    }
    for (int i = 0; i < kThreads; ++i) {
      if (result[static_cast<size_t>(i)] == static_cast<float>(i + 1)) continue;
      std::printf("wrong: %f at %d\n", static_cast<double>(result[static_cast<size_t>(i)]), i);
      return 1;
    }
    std::printf("right\n");
    return 0;
  }
  std::printf("no such fault\n");
  return 2;
}
