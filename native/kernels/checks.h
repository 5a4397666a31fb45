// The checks that keep kernels inside their tensors, one for every contract, shared by the CPU and the GPU version. Shapes,
// dtypes and options only: what is in the tensors is looked at by the kernels themselves.
#pragma once
#include <algorithm>

#include "../kernels.h"

namespace osc {

inline constexpr int64_t kGramChunk = 2048;  // tokens whose products are summed in float32

// Columns per grid and number of grids of a row; group_size -1, or larger than the row: one grid.
struct Groups {
  int64_t size, count;
  Groups(int64_t group_size, int64_t columns)
      : size(group_size < 0 || group_size > columns ? std::max<int64_t>(columns, 1) : group_size),
        count(columns == 0 ? 1 : (columns + size - 1) / size) {}
};

// [rows, columns] of dtype; each row contiguous, rows anywhere.
inline bool is_row_matrix(const Tensor& t, int32_t dtype) {
  return t.rank == 2 && t.dtype == dtype && (t.shape[1] <= 1 || t.strides[1] == 1);
}

inline bool is_square_matrix(const Tensor& t, int32_t dtype, int64_t n) {
  return is_row_matrix(t, dtype) && t.shape[0] == n && t.shape[1] == n;
}

inline bool is_flat(const Tensor& t, int32_t dtype, int64_t size) {
  return t.dtype == dtype && size_of(t) == size && is_contiguous(t);
}

inline int64_t packed_bits_bytes(int64_t columns, int64_t bits) { return (columns * bits + 7) / 8; }

inline Status check(const ConvertArgs& args) {
  bool same = args.x.rank == args.y.rank;
  for (int i = 0; same && i < args.x.rank; ++i) same = args.x.shape[i] == args.y.shape[i];
  return same && is_contiguous(args.y) ? ok() : fail(OSC_ARGUMENT, 0, "x and y must have one shape, y contiguous");
}

inline Status check(const FindNonFiniteArgs& args) {
  if (!is_contiguous(args.x)) return fail(OSC_ARGUMENT, 0, "x must be contiguous");
  const bool real = args.x.dtype == OSC_FLOAT32 || args.x.dtype == OSC_FLOAT64;
  return real ? ok() : fail(OSC_ARGUMENT, 0, "x must be float32 or float64");
}

// `groups` leading dimensions of one are left out.
inline Status check_gram_state(const Tensor& staging, const Tensor& accumulator, int64_t groups, int64_t in, int64_t staged) {
  if (!is_flat(staging, OSC_FLOAT32, groups * kGramChunk * in)) {
    return fail(OSC_ARGUMENT, 0, "staging must be float32, contiguous, 2048 rows of %lld columns a group",
                static_cast<long long>(in));
  }
  if (!is_flat(accumulator, OSC_FLOAT32, groups * in * in) && !is_flat(accumulator, OSC_FLOAT64, groups * in * in)) {
    return fail(OSC_ARGUMENT, 0, "accumulator must be float32 or float64, contiguous, %lld x %lld a group",
                static_cast<long long>(in), static_cast<long long>(in));
  }
  if (staged < 0 || staged >= kGramChunk) return fail(OSC_ARGUMENT, staged, "staged must be 0 to 2047");
  return ok();
}

inline Status check(const InputGramArgs& args) {
  if (!is_row_matrix(args.x, OSC_FLOAT32)) return fail(OSC_ARGUMENT, 0, "x must be float32 [tokens, in] with contiguous rows");
  return check_gram_state(args.staging, args.accumulator, 1, args.x.shape[1], args.staged);
}

inline Status check(const GramMatrixArgs& args) {
  const Tensor& matrix = args.matrix;
  if (matrix.rank != 2 || matrix.shape[0] != matrix.shape[1] || !is_contiguous(matrix) ||
      matrix.dtype != args.accumulator.dtype) {
    return fail(OSC_ARGUMENT, 0, "matrix must be square, contiguous and of the accumulator's dtype");
  }
  return check_gram_state(args.staging, args.accumulator, 1, matrix.shape[0], args.staged);
}

// An image and the patches of a convolution over it, for unfold_gram.
struct PatchGeometry {
  const float* x = nullptr;
  int64_t batch = 0, channels = 0, height = 0, width = 0;  // channels of one group
  int64_t groups = 0, out_height = 0, out_width = 0, columns = 0;
  int64_t kernel_h = 0, kernel_w = 0, stride_h = 0, stride_w = 0, pad_top = 0, pad_left = 0, dilation_h = 0, dilation_w = 0;

  int64_t patches() const { return batch * out_height * out_width; }
};

inline Status check(const UnfoldGramArgs& args, PatchGeometry& g) {
  const Tensor& x = args.x;
  if (x.dtype != OSC_FLOAT32 || x.rank != 4 || !is_contiguous(x)) {
    return fail(OSC_ARGUMENT, 0, "x must be float32 [batch, channels, height, width], contiguous");
  }
  if (args.groups < 1 || x.shape[1] % args.groups != 0) return fail(OSC_ARGUMENT, args.groups, "groups must divide channels");
  if (std::min({args.kernel_h, args.kernel_w, args.stride_h, args.stride_w, args.dilation_h, args.dilation_w}) < 1 ||
      std::min({args.pad_top, args.pad_left, args.pad_bottom, args.pad_right}) < 0) {
    return fail(OSC_ARGUMENT, 0, "kernel, stride and dilation must be positive, padding not negative");
  }
  g = {data<float>(x), x.shape[0],      x.shape[1] / args.groups, x.shape[2],    x.shape[3],    args.groups,
       0,              0,               0,                        args.kernel_h, args.kernel_w, args.stride_h,
       args.stride_w,  args.pad_top,    args.pad_left,            args.dilation_h, args.dilation_w};
  const int64_t free_h = g.height + args.pad_top + args.pad_bottom - g.dilation_h * (g.kernel_h - 1) - 1;
  const int64_t free_w = g.width + args.pad_left + args.pad_right - g.dilation_w * (g.kernel_w - 1) - 1;
  g.out_height = free_h < 0 ? 0 : free_h / g.stride_h + 1;
  g.out_width = free_w < 0 ? 0 : free_w / g.stride_w + 1;
  g.columns = g.channels * g.kernel_h * g.kernel_w;
  return check_gram_state(args.staging, args.accumulator, g.groups, g.columns, args.staged);
}

// What NON_FINITE says of position `bad` in the image.
inline Status image_not_finite(const PatchGeometry& g, int64_t bad) {
  const int64_t line = bad / g.width, plane = line / g.height, channels = g.groups * g.channels;
  return fail(OSC_NON_FINITE, bad, "activation [%lld, %lld, %lld, %lld] is not finite",
              static_cast<long long>(plane / channels), static_cast<long long>(plane % channels),
              static_cast<long long>(line % g.height), static_cast<long long>(bad % g.width));
}

inline Status check(const GptqFactorArgs& args) {
  const Tensor &gram = args.gram, &factor = args.factor;
  if ((!is_row_matrix(gram, OSC_FLOAT32) && !is_row_matrix(gram, OSC_FLOAT64)) || gram.shape[0] != gram.shape[1]) {
    return fail(OSC_ARGUMENT, 0, "gram must be float32 or float64 [n, n] with contiguous rows");
  }
  const int64_t n = gram.shape[0];
  if (!is_row_matrix(factor, OSC_FLOAT32) || factor.shape[0] != n || factor.shape[1] != n) {
    return fail(OSC_ARGUMENT, 0, "factor must be float32 [n, n] with contiguous rows");
  }
  if (!is_flat(args.diagonal, OSC_FLOAT64, n) || !is_flat(args.order, OSC_INT32, n) || !is_flat(args.dead, OSC_UINT8, n)) {
    return fail(OSC_ARGUMENT, 0, "diagonal, order and dead must have n elements");
  }
  return ok();
}

// The grids and codes of a layer: codes [out, in], scales and zeros [groups, out].
inline Status check_codes(const Tensor& weight, const Tensor& codes, const Tensor& scales, const Tensor& zeros, int64_t bits,
                          int64_t group_size) {
  if (!is_row_matrix(weight, OSC_FLOAT32)) return fail(OSC_ARGUMENT, 0, "weight must be [out, in] float32 with contiguous rows");
  if (bits < 1 || bits > 8 || group_size == 0) return fail(OSC_ARGUMENT, 0, "bits or group_size out of range");
  const int64_t rows = weight.shape[0], columns = weight.shape[1], grids = Groups(group_size, columns).count * rows;
  const bool fit = is_flat(codes, OSC_UINT8, rows * columns) && is_flat(scales, OSC_FLOAT32, grids) &&
                   is_flat(zeros, OSC_UINT8, grids);
  return fit ? ok() : fail(OSC_ARGUMENT, 0, "codes, scales or zeros have the wrong size");
}

inline Status check(const GptqQuantizeColumnsArgs& args) {
  OSC_TRY(check_codes(args.weight, args.codes, args.scales, args.zeros, args.bits, args.group_size));
  const int64_t columns = args.weight.shape[1];
  const bool fit = is_row_matrix(args.factor, OSC_FLOAT32) && args.factor.shape[0] == columns &&
                   args.factor.shape[1] == columns && is_flat(args.diagonal, OSC_FLOAT64, columns) &&
                   is_flat(args.order, OSC_INT32, columns) && is_flat(args.dead, OSC_UINT8, columns) &&
                   is_flat(args.group_index, OSC_INT32, columns);
  if (!fit) return fail(OSC_ARGUMENT, 0, "the factor is not of this layer's width");
  if (args.correction.data && !is_square_matrix(args.correction, OSC_FLOAT32, columns)) {
    return fail(OSC_ARGUMENT, 0, "correction must be float32 [in, in] with contiguous rows");
  }
  return ok();
}

inline Status check(const RoundToNearestArgs& args) {
  return check_codes(args.weight, args.codes, args.scales, args.zeros, args.bits, args.group_size);
}

inline Status check(const QuantizationErrorArgs& args) {
  const Tensor &gram = args.gram, &scales = args.scales;
  const int64_t n = size_of(args.group_index), out = args.weight.rank == 2 ? args.weight.shape[0] : 0;
  const bool fit = (is_row_matrix(gram, OSC_FLOAT32) || is_row_matrix(gram, OSC_FLOAT64)) && gram.shape[0] == n &&
                   gram.shape[1] == n && is_row_matrix(args.weight, OSC_FLOAT32) && args.weight.shape[1] == n &&
                   is_flat(args.codes, OSC_UINT8, out * n) && scales.rank == 2 && scales.shape[1] == out &&
                   is_flat(scales, OSC_FLOAT32, size_of(scales)) && is_flat(args.zeros, OSC_UINT8, size_of(scales)) &&
                   is_flat(args.group_index, OSC_INT32, n) && is_flat(args.rows, OSC_INT32, size_of(args.rows));
  return fit ? ok() : fail(OSC_ARGUMENT, 0, "tensors do not fit the contract of quantization_error");
}

inline Status check(const PackBitsArgs& args) {
  const Tensor &codes = args.codes, &packed = args.packed;
  if (codes.rank != 2 || codes.dtype != OSC_UINT8) return fail(OSC_ARGUMENT, 0, "codes must be uint8 [rows, columns]");
  const int64_t rows = codes.shape[0], columns = codes.shape[1];
  if (args.bits < 1 || args.bits > 8) return fail(OSC_ARGUMENT, 0, "bits must be 1 to 8");
  if (args.padded_columns < columns) return fail(OSC_ARGUMENT, 0, "padded_columns must be at least columns");
  if (args.fill.data != nullptr && !is_flat(args.fill, OSC_UINT8, rows)) return fail(OSC_ARGUMENT, 0, "fill must be uint8 [rows]");
  if (packed.rank != 2 || (packed.dtype != OSC_UINT8 && packed.dtype != OSC_INT32) || !is_contiguous(packed)) {
    return fail(OSC_ARGUMENT, 0, "packed must be uint8 or int32 [rows, words], contiguous");
  }
  const int64_t row_bytes = packed.shape[1] * item_bytes(packed.dtype);
  if (packed.shape[0] != rows || row_bytes < packed_bits_bytes(args.padded_columns, args.bits)) {
    return fail(OSC_ARGUMENT, 0, "packed is too small");
  }
  return ok();
}

inline Status check(const UnpackBitsArgs& args) {
  const Tensor &packed = args.packed, &codes = args.codes;
  if (codes.rank != 2 || codes.dtype != OSC_UINT8 || !is_contiguous(codes)) {
    return fail(OSC_ARGUMENT, 0, "codes must be uint8 [rows, columns], contiguous");
  }
  if (args.bits < 1 || args.bits > 8) return fail(OSC_ARGUMENT, 0, "bits must be 1 to 8");
  if (packed.rank != 2 || (packed.dtype != OSC_UINT8 && packed.dtype != OSC_INT32)) {
    return fail(OSC_ARGUMENT, 0, "packed must be uint8 or int32 [rows, words]");
  }
  const int64_t row_bytes = packed.shape[1] * item_bytes(packed.dtype);
  if (packed.shape[0] != codes.shape[0] || row_bytes < packed_bits_bytes(codes.shape[1], args.bits)) {
    return fail(OSC_ARGUMENT, 0, "packed is too small");
  }
  return ok();
}

inline Status check(const DequantizeArgs& args) {
  const Tensor &codes = args.codes, &scales = args.scales;
  if (codes.rank != 2 || codes.dtype != OSC_UINT8) return fail(OSC_ARGUMENT, 0, "codes must be uint8 [out, in]");
  const int64_t rows = codes.shape[0], columns = codes.shape[1];
  if (scales.rank != 2 || scales.shape[1] != rows || !is_flat(scales, OSC_FLOAT32, size_of(scales))) {
    return fail(OSC_ARGUMENT, 0, "scales must be float32 [groups, out], contiguous");
  }
  if (!is_flat(args.zeros, OSC_UINT8, scales.shape[0] * rows)) {
    return fail(OSC_ARGUMENT, 0, "zeros must be uint8 [groups, out], contiguous");
  }
  if (!is_flat(args.group_index, OSC_INT32, columns)) return fail(OSC_ARGUMENT, 0, "group_index must be int32 [in], contiguous");
  if (!is_flat(args.weight, OSC_FLOAT32, rows * columns)) {
    return fail(OSC_ARGUMENT, 0, "weight must be float32 [out, in], contiguous");
  }
  return ok();
}

// What ARGUMENT says of an entry of group_index or rows that is out of range.
inline Status group_out_of_range(int64_t column, int64_t group, int64_t groups) {
  return fail(OSC_ARGUMENT, column, "group_index[%lld] = %lld is not one of %lld groups", static_cast<long long>(column),
              static_cast<long long>(group), static_cast<long long>(groups));
}

}  // namespace osc
