// The emulator itself: what CUDA promises holds in every order, and what CUDA forbids is an error that says where.
#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "common/gpu.cuh"
#include "common/memory.h"
#include "on_device.h"

using namespace osc;
using namespace osc::test;

namespace {

std::string message(const Status& status) {
  CHECK(status.code == OSC_INTERNAL);
  return status.message;
}

bool contains(const std::string& text, const char* part) { return text.find(part) != std::string::npos; }

// ---- what must work

OSC_GLOBAL write_indices(uint3* out) {
  const unsigned block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
  const unsigned thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
  out[block * (blockDim.x * blockDim.y * blockDim.z) + thread] = {threadIdx.x + 100 * blockIdx.x, threadIdx.y + 100 * blockIdx.y,
                                                                  threadIdx.z + 100 * blockIdx.z};
}

// Reverses each block's part through shared memory, twice, with a thread that leaves early.
template <class T>
OSC_GLOBAL reverse(T* data, int threads) {
  OSC_SHARED(T, tile, [1024]);
  const int t = static_cast<int>(threadIdx.x);
  if (t >= threads) return;
  T* part = data + static_cast<int64_t>(blockIdx.x) * threads;
  for (int round = 0; round < 3; ++round) {
    tile[t] = part[t];
    __syncthreads();
    part[t] = tile[threads - 1 - t];
    __syncthreads();
  }
}

OSC_GLOBAL votes(int* out) {
  const int t = static_cast<int>(threadIdx.x);
  const int odd = __syncthreads_count(t % 2);
  const int any = __syncthreads_or(t == 17), none = __syncthreads_or(0);
  const int all = __syncthreads_and(1), not_all = __syncthreads_and(t != 3);
  out[t] = odd * 10000 + any * 1000 + none * 100 + all * 10 + not_all;
}

OSC_GLOBAL warp_operations(int* out) {
  const int lane = static_cast<int>(threadIdx.x % 32), base = static_cast<int>(threadIdx.x);
  int* row = out + threadIdx.x * 12;
  constexpr unsigned full = 0xFFFFFFFFu;
  row[0] = __shfl_sync(full, base, 5);
  row[1] = __shfl_sync(full, base, 3, 8);
  row[2] = __shfl_xor_sync(full, base, 9);
  row[3] = __shfl_up_sync(full, base, 3);
  row[4] = __shfl_down_sync(full, base, 3, 16);
  row[5] = static_cast<int>(__ballot_sync(full, lane % 3 == 0));
  row[6] = __any_sync(full, lane == 31) * 2 + __all_sync(full, lane < 31);
  row[7] = static_cast<int>(__reduce_add_sync(full, static_cast<unsigned>(lane)));
  row[8] = __reduce_min_sync(full, 7 - lane);
  double value = lane * 0.5;
  for (int step = 16; step > 0; step /= 2) value += __shfl_xor_sync(full, value, step);
  row[9] = static_cast<int>(value * 2);
  if (lane % 2 == 0) row[10] = __shfl_sync(0x55555555u, base, 4);  // half of the lanes, their own operation
  else row[10] = __reduce_max_sync(0xAAAAAAAAu, base);
  __syncwarp();
  row[11] = __shfl_sync(full, row[10], (lane + 1) % 32);
}

OSC_GLOBAL atomics(int* ints, unsigned long long* longs, float* floats) {
  const int i = static_cast<int>(global_thread());
  atomicAdd(&ints[0], i);
  atomicMin(&ints[1], -i);
  atomicMax(&ints[2], i);
  atomicOr(&ints[3], 1 << i % 31);
  atomicAdd(&longs[0], 1ull << 33);
  atomicAdd(&floats[0], 0.25f);
  int seen = 0, wanted;
  do {
    wanted = seen;
    seen = atomicCAS(&ints[4], wanted, wanted + 2);
  } while (seen != wanted);
}

OSC_GLOBAL pipeline(const float* from, float* to, int tiles) {
  float* buffer = osc_dyn_smem<float>();  // two tiles of 4 floats a thread
  const int t = static_cast<int>(threadIdx.x), width = static_cast<int>(blockDim.x) * 4;
  cp_async16(buffer + t * 4, from + t * 4);
  cp_commit();
  for (int tile = 0; tile < tiles; ++tile) {
    if (tile + 1 < tiles) cp_async16(buffer + (tile + 1) % 2 * width + t * 4, from + (tile + 1) * width + t * 4, tile == 1 ? 8 : 16);
    cp_commit();
    cp_wait<1>();
    __syncthreads();
    const int other = static_cast<int>(blockDim.x) - 1 - t;
    for (int i = 0; i < 4; ++i) to[tile * width + t * 4 + i] = buffer[tile % 2 * width + other * 4 + i];
    __syncthreads();
  }
}

template <class F>
OSC_GLOBAL multiply(const float* a, const float* b, float* d, F product) {
  const int lane = static_cast<int>(threadIdx.x), g = lane / 4, t = lane % 4;
  float sum[4] = {1, 2, 3, 4};
  product(sum, a, b, g, t);
  for (int i = 0; i < 4; ++i) d[(g + 8 * (i / 2)) * 8 + 2 * t + i % 2] = sum[i];
}

OSC_GLOBAL unwritten(float* out, int* counts) {
  OSC_SHARED(float, cells, [4]);
  OSC_SHARED(int, count);
  out[0] = cells[2];
  counts[0] = count;
}

}  // namespace

TEST_CASE("indices of all three dimensions") {
  const dim3 grid(3, 2, 2), block(4, 3, 2);
  OnDevice<uint3> out(12 * 24);
  REQUIRE(launch(write_indices, grid, block, 0, out.get()).code == OSC_OK);
  const std::vector<uint3> got = out.values();
  size_t i = 0;
  for (unsigned bz = 0; bz < 2; ++bz)
    for (unsigned by = 0; by < 2; ++by)
      for (unsigned bx = 0; bx < 3; ++bx)
        for (unsigned z = 0; z < 2; ++z)
          for (unsigned y = 0; y < 3; ++y)
            for (unsigned x = 0; x < 4; ++x, ++i) {
              CHECK(got[i].x == x + 100 * bx);
              CHECK(got[i].y == y + 100 * by);
              CHECK(got[i].z == z + 100 * bz);
            }
}

TEST_CASE("barriers in a loop, with threads that have left") {
  for (const int threads : {1, 31, 32, 33, 500, 1024}) {
    std::vector<double> values(static_cast<size_t>(threads) * 7);
    for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<double>(i * i);
    OnDevice<double> data(values);
    REQUIRE(launch(reverse<double>, 7, 1024, 0, data.get(), threads).code == OSC_OK);
    const std::vector<double> got = data.values();
    for (int b = 0; b < 7; ++b) {
      for (int t = 0; t < threads; ++t) {
        CHECK(got[static_cast<size_t>(b * threads + t)] == values[static_cast<size_t>(b * threads + threads - 1 - t)]);
      }
    }
  }
}

TEST_CASE("barriers that count") {
  OnDevice<int> out(70);
  REQUIRE(launch(votes, 1, 70, 0, out.get()).code == OSC_OK);
  for (const int value : out.values()) CHECK(value == 351010);
}

TEST_CASE("warp operations") {
  OnDevice<int> out(64 * 12);
  REQUIRE(launch(warp_operations, 1, 64, 0, out.get()).code == OSC_OK);
  const std::vector<int> got = out.values();
  for (int t = 0; t < 64; ++t) {
    const int lane = t % 32, first = t - lane;
    const int* row = got.data() + t * 12;
    CHECK(row[0] == first + 5);
    CHECK(row[1] == first + lane / 8 * 8 + 3);
    CHECK(row[2] == (t ^ 9));
    CHECK(row[3] == (lane >= 3 ? t - 3 : t));
    CHECK(row[4] == (lane % 16 < 13 ? t + 3 : t));
    CHECK(row[5] == 0x49249249);
    CHECK(row[6] == 2);
    CHECK(row[7] == 496);
    CHECK(row[8] == -24);
    CHECK(row[9] == 496);
    CHECK(row[10] == (lane % 2 ? first + 31 : first + 4));
    CHECK(row[11] == (lane % 2 ? first + 4 : first + 31));
  }
}

TEST_CASE("atomics over blocks") {
  OnDevice<int> ints(std::vector<int>{0, 0, 0, 0, 0});
  OnDevice<unsigned long long> longs(std::vector<unsigned long long>{0});
  OnDevice<float> floats(std::vector<float>{0});
  REQUIRE(launch(atomics, 40, 128, 0, ints.get(), longs.get(), floats.get()).code == OSC_OK);
  CHECK(ints.values() == std::vector<int>{5120 * 5119 / 2, -5119, 5119, 0x7FFFFFFF, 10240});
  CHECK(longs.values()[0] == 5120ull << 33);
  CHECK(floats.values()[0] == 1280.0f);
}

TEST_CASE("asynchronous copies, two tiles in flight, the tail of one zero") {
  const int threads = 48, tiles = 5, width = threads * 4;
  std::vector<float> from(static_cast<size_t>(width * tiles));
  for (size_t i = 0; i < from.size(); ++i) from[i] = static_cast<float>(i + 1);
  OnDevice<float> source(from), target(width * tiles);
  REQUIRE(launch(pipeline, 1, threads, size_t{2} * width * sizeof(float), source.get(), target.get(), tiles).code == OSC_OK);
  const std::vector<float> got = target.values();
  for (int tile = 0; tile < tiles; ++tile) {
    for (int t = 0; t < threads; ++t) {
      for (int i = 0; i < 4; ++i) {
        const float expected = tile == 2 && i >= 2 ? 0 : from[static_cast<size_t>(tile * width + (threads - 1 - t) * 4 + i)];
        CHECK(got[static_cast<size_t>(tile * width + t * 4 + i)] == expected);
      }
    }
  }
}

TEST_CASE("tensor core products, fragment by fragment") {
  std::vector<float> a(16 * 16), b(16 * 8);
  for (int i = 0; i < 256; ++i) a[static_cast<size_t>(i)] = static_cast<float>(i % 23 - 11);
  for (int i = 0; i < 128; ++i) b[static_cast<size_t>(i)] = static_cast<float>(i % 17 - 8);
  OnDevice<float> on_a(a), on_b(b), on_d(16 * 8);
  const auto check = [&](int depth) {
    const std::vector<float> got = on_d.values();
    for (int row = 0; row < 16; ++row) {
      for (int column = 0; column < 8; ++column) {
        float sum = static_cast<float>(1 + row / 8 * 2 + column % 2);
        for (int k = 0; k < depth; ++k) sum += a[static_cast<size_t>(row * 16 + k)] * b[static_cast<size_t>(k * 8 + column)];
        CHECK(got[static_cast<size_t>(row * 8 + column)] == sum);
      }
    }
  };
  const auto sixteen = [](auto to_bits, auto product) {
    return [=](float (&d)[4], const float* x, const float* y, int g, int t) {
      const auto pair = [&](float low, float high) { return static_cast<uint32_t>(to_bits(low)) | static_cast<uint32_t>(to_bits(high)) << 16; };
      uint32_t fa[4], fb[2];
      for (int i = 0; i < 4; ++i) {
        const int row = g + 8 * (i % 2), column = 2 * t + 8 * (i / 2);
        fa[i] = pair(x[row * 16 + column], x[row * 16 + column + 1]);
      }
      for (int i = 0; i < 2; ++i) fb[i] = pair(y[(2 * t + 8 * i) * 8 + g], y[(2 * t + 8 * i + 1) * 8 + g]);
      product(d, fa, fb);
    };
  };
  const auto bf16 = sixteen(float_to_bfloat16, [](auto& d, auto& x, auto& y) { mma_bf16_16816(d, x, y); });
  REQUIRE(launch(multiply<decltype(bf16)>, 1, 32, 0, on_a.get(), on_b.get(), on_d.get(), bf16).code == OSC_OK);
  check(16);
  const auto f16 = sixteen(float_to_half, [](auto& d, auto& x, auto& y) { mma_f16_16816(d, x, y); });
  REQUIRE(launch(multiply<decltype(f16)>, 1, 32, 0, on_a.get(), on_b.get(), on_d.get(), f16).code == OSC_OK);
  check(16);
  const auto tf32 = [](float (&d)[4], const float* x, const float* y, int g, int t) {
    uint32_t fa[4], fb[2];
    for (int i = 0; i < 4; ++i) fa[i] = to_tf32(x[(g + 8 * (i % 2)) * 16 + t + 4 * (i / 2)]);
    for (int i = 0; i < 2; ++i) fb[i] = to_tf32(y[(t + 4 * i) * 8 + g]);
    mma_tf32_1688(d, fa, fb);
  };
  REQUIRE(launch(multiply<decltype(tf32)>, 1, 32, 0, on_a.get(), on_b.get(), on_d.get(), tf32).code == OSC_OK);
  check(8);
}

TEST_CASE("memory begins as NaN, on the device and in a block") {
  OnDevice<double> fresh(33);
  for (const double value : fresh.values()) CHECK(std::isnan(value));
  OnDevice<uint16_t> halves(5);
  for (const uint16_t value : halves.values()) CHECK(std::isnan(half_to_float(value)));
  OnDevice<float> out(1);
  OnDevice<int> counts(1);
  REQUIRE(launch(unwritten, 1, 1, 0, out.get(), counts.get()).code == OSC_OK);
  CHECK(std::isnan(out.values()[0]));
  CHECK(std::abs(counts.values()[0]) > 1000000);
}

// ---- what must be refused

namespace {

OSC_GLOBAL divergent_barrier(int* out) {
  if (threadIdx.x < 5) {
    out[threadIdx.x] = 1;
    __syncthreads();
  } else {
    __syncthreads();
  }
}

OSC_GLOBAL lane_not_in_mask(int* out) { out[threadIdx.x] = __shfl_sync(0x0000FFFFu, 1, 0); }

OSC_GLOBAL lane_has_returned(int* out) {
  if (threadIdx.x == 9) return;
  out[threadIdx.x] = __any_sync(0xFFFFFFFFu, 1);
}

OSC_GLOBAL lanes_in_two_operations(int* out) {
  if (threadIdx.x < 16) out[threadIdx.x] = __any_sync(0xFFFFFFFFu, 1);
  else out[threadIdx.x] = __all_sync(0xFFFFFFFFu, 1);
}

OSC_GLOBAL reads_outside_mask(int* out) {
  if (threadIdx.x < 16) out[threadIdx.x] = __shfl_sync(0x0000FFFFu, 1, 20);
}

OSC_GLOBAL warp_waits_for_block(int* out) {
  if (threadIdx.x < 8) __syncwarp(0x0000FFFFu);
  else __syncthreads();
  out[threadIdx.x] = 1;
}

OSC_GLOBAL too_much_shared(int* out) {
  OSC_SHARED(int, cells, [13000]);
  cells[threadIdx.x] = 1;
  out[threadIdx.x] = cells[threadIdx.x];
}

OSC_GLOBAL unaligned_copy(const float* from, float* to) {
  OSC_SHARED(float, cells, [64]);
  cp_async16(cells, from + 1);
  to[0] = cells[0];
}

OSC_GLOBAL nothing(int*) {}
OSC_GLOBAL fails_in_block_7(int* out) {
  if (blockIdx.x == 7 && threadIdx.x == 3) __trap();
  __syncthreads();
  if (blockIdx.x == 0) out[threadIdx.x] = 1;
}

}  // namespace

TEST_CASE("mistakes end the launch with an error that says where") {
  OnDevice<int> out(1024);
  CHECK(contains(message(launch(divergent_barrier, 1, 64, 0, out.get())), "divergent __syncthreads: lines"));
  CHECK(contains(message(launch(lane_not_in_mask, 1, 32, 0, out.get())), "is not in its own mask 0000ffff in __shfl_sync"));
  const std::string returned = message(launch(lane_has_returned, 1, 32, 0, out.get()));
  CHECK((contains(returned, "thread (9,0,0) returned while lanes wait for it in __any_sync") ||
         contains(returned, "lane 9 of mask ffffffff in __any_sync")));
  CHECK(contains(message(launch(lanes_in_two_operations, 1, 32, 0, out.get())), "lanes of mask ffffffff are in"));
  CHECK(contains(message(launch(reads_outside_mask, 1, 32, 0, out.get())), "a lane reads a lane that is not in the mask"));
  const std::string deadlock = message(launch(warp_waits_for_block, 1, 32, 0, out.get()));
  CHECK(contains(deadlock, "deadlock: "));
  CHECK(contains(deadlock, "(0,0,0) in __syncwarp at emulator_test.cc:"));
  CHECK(contains(deadlock, "(8,0,0) in __syncthreads at emulator_test.cc:"));
  CHECK(contains(message(launch(too_much_shared, 1, 32, 0, out.get())), "52000 bytes of shared memory"));
  CHECK(contains(message(launch(nothing, 1, 32, 228 * 1024, out.get())), "bytes of dynamic shared memory"));
  CHECK(contains(message(launch(nothing, 1, 1025, 0, out.get())), "a block of 1025 x 1 x 1 threads"));
  CHECK(contains(message(launch(nothing, 1, dim3(1, 1, 65), 0, out.get())), "a block of 1 x 1 x 65 threads"));
  CHECK(contains(message(launch(nothing, 0, 32, 0, out.get())), "a grid of 0 x 1 x 1 blocks"));
  CHECK(contains(message(launch(nothing, dim3(1, 65536), 32, 0, out.get())), "a grid of 1 x 65536 x 1 blocks"));
  OnDevice<float> values(std::vector<float>(16, 1.0f)), copied(1);
  CHECK(contains(message(launch(unaligned_copy, 1, 1, 0, values.get(), copied.get())), "not aligned to 16"));
  CHECK(contains(message(launch(fails_in_block_7, 20, 64, 0, out.get())), "__trap: thread (3,0,0)"));
  // And none of it is in the way of what comes next.
  OnDevice<double> data(std::vector<double>{1, 2, 3});
  REQUIRE(launch(reverse<double>, 1, 1024, 0, data.get(), 3).code == OSC_OK);
  CHECK(data.values() == std::vector<double>{3, 2, 1});
}

TEST_CASE("a copy outside of an allocation is refused") {
  OnDevice<float> data(4);
  std::vector<float> host(100000);
  CHECK(copy_to_device(data.get(), host.data(), 400000).code == OSC_DEVICE);
  CHECK(copy_to_device(host.data(), host.data(), 4).code == OSC_DEVICE);
  CHECK(copy_to_host(host.data(), host.data(), 4).code == OSC_DEVICE);
  CHECK(set_zero(host.data(), 4).code == OSC_DEVICE);
}
