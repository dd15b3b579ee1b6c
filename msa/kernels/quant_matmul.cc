#include "msa/kernels/quant_matmul.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "msa/base/check.h"
#include "msa/base/dtype.h"
#include "msa/kernels/block_rows.h"
#include "msa/kernels/quant_panels.h"

namespace msa {
namespace {

const I8Kernels& I8KernelsFor(Isa isa) {
  switch (isa) {
    case Isa::kReference: return ReferenceI8Kernels();
    case Isa::kAvx2: return Avx2I8Kernels();
    case Isa::kAvx512Vnni: return VnniI8Kernels();
  }
  MSA_CHECK(false);
}

const I4Kernels& I4KernelsFor(Isa isa) {
  switch (isa) {
    case Isa::kReference: return ReferenceI4Kernels();
    case Isa::kAvx2: return Avx2I4Kernels();
    case Isa::kAvx512Vnni: return VnniI4Kernels();
  }
  MSA_CHECK(false);
}

struct FreeDeleter {
  void operator()(uint8_t* p) const { std::free(p); }
};
using AlignedBytes = std::unique_ptr<uint8_t[], FreeDeleter>;

// A multiple of a cache line, so that no vector load of a panel crosses one.
AlignedBytes AllocateAligned(int64_t bytes) {
  void* p = std::aligned_alloc(64, (bytes + 63) / 64 * 64);
  MSA_CHECK(p != nullptr);
  return AlignedBytes(static_cast<uint8_t*>(p));
}

int64_t CeilDivide(int64_t a, int64_t b) { return (a + b - 1) / b; }

Status CheckShape(int64_t outputs, int64_t inputs) {
  if (outputs >= 1 && inputs >= 32 && inputs % 32 == 0 && inputs <= kMaxInputs) return OkStatus();
  return InvalidArgument("quantised matrix [" + std::to_string(outputs) + ", " +
                         std::to_string(inputs) + "]: inputs must be a multiple of 32 from 32 to " +
                         std::to_string(kMaxInputs) + ", outputs at least 1");
}

Status CheckFinite(MatrixView<const float> weights) {
  for (int64_t i = 0; i < weights.rows; ++i)
    for (float w : weights.row(i))
      if (!std::isfinite(w))
        return InvalidArgument("weight row " + std::to_string(i) + " holds " + std::to_string(w));
  return OkStatus();
}

// Calls f(begin, end) over [0, panels): in one piece without a pool; else in four pieces a thread,
// so that a core which is busy elsewhere holds up an eighth of a product and not half.
void ForPanels(int64_t panels, ThreadPool* pool, FunctionRef<void(int64_t, int64_t)> f) {
  if (pool == nullptr) return f(0, panels);
  pool->ParallelFor(panels, CeilDivide(panels, 4 * pool->num_threads()),
                    [&](int64_t begin, int64_t end, int) { f(begin, end); });
}

void ForRows(int64_t rows, ThreadPool* pool, FunctionRef<void(int64_t, int64_t)> f) {
  constexpr int64_t kGrain = 16;  // quantising 16 rows takes as long as waking a thread
  if (pool == nullptr) return f(0, rows);
  pool->ParallelFor(rows, kGrain, [&](int64_t begin, int64_t end, int) { f(begin, end); });
}

template <class T>
MatrixView<T> Rows(MatrixView<T> m, int64_t begin, int64_t end) {
  return {m.data + begin * m.stride, end - begin, m.cols, m.stride};
}

// Activations of one product; thread_local, so that products in a loop do not allocate.
struct Scratch {
  std::vector<int8_t> q;
  std::vector<float> scales;
  std::vector<float> sums;

  static Scratch& OfThisThread() {
    thread_local Scratch scratch;
    return scratch;
  }
  MatrixView<int8_t> Quantised(int64_t rows, int64_t cols) {
    q.resize(std::max<size_t>(q.size(), rows * cols));
    return {q.data(), rows, cols};
  }
  static MatrixView<float> Floats(std::vector<float>* v, int64_t rows, int64_t cols) {
    v->resize(std::max<size_t>(v->size(), rows * cols));
    return {v->data(), rows, cols};
  }
};

class I8Matrix final : public QuantMatrix {
 public:
  I8Matrix(MatrixView<const float> weights, Isa isa)
      : isa_(isa), kernels_(I8KernelsFor(isa)), outputs_(weights.rows), inputs_(weights.cols) {
    const int64_t panel = kernels_.panel_outputs;
    scales_.resize(num_panels() * panel);
    data_ = AllocateAligned(num_panels() * panel * inputs_);
    std::vector<int8_t> rows(panel * inputs_);
    for (int64_t p = 0; p < num_panels(); ++p) {
      const int64_t count = std::min(panel, outputs_ - p * panel);
      QuantiseRows(Rows(weights, p * panel, p * panel + count),
                   MatrixView<int8_t>(rows.data(), count, inputs_),
                   std::span(scales_).subspan(p * panel, count), isa);
      kernels_.pack(rows.data(), count, inputs_, data_.get() + p * panel * inputs_);
    }
  }

  int64_t outputs() const override { return outputs_; }
  int64_t inputs() const override { return inputs_; }
  WeightFormat format() const override { return WeightFormat::kI8Row; }
  int64_t resident_bytes() const override {
    return num_panels() * kernels_.panel_outputs * (inputs_ + 4);
  }

  void DequantizeRow(int64_t output, std::span<float> out) const override {
    MSA_CHECK(output >= 0 && output < outputs_ && std::ssize(out) == inputs_);
    const int64_t panel = kernels_.panel_outputs;
    std::vector<int8_t> row(inputs_);
    kernels_.unpack_row(data_.get() + output / panel * panel * inputs_, output % panel, inputs_,
                        row.data());
    for (int64_t k = 0; k < inputs_; ++k) out[k] = scales_[output] * row[k];
  }

  void Multiply(MatrixView<const float> x, MatrixView<float> y, ThreadPool* pool) const override {
    MSA_CHECK(x.cols == inputs_);
    Scratch& scratch = Scratch::OfThisThread();
    const MatrixView<int8_t> q = scratch.Quantised(x.rows, x.cols);
    const std::span<float> scales = Scratch::Floats(&scratch.scales, 1, x.rows).row(0);
    ForRows(x.rows, pool, [&](int64_t begin, int64_t end) {
      QuantiseRows(Rows(x, begin, end), Rows(q, begin, end), scales.subspan(begin, end - begin),
                   isa_);
    });
    MultiplyQuantised(q, scales, y, pool);
  }

  void MultiplyQuantised(MatrixView<const int8_t> x, std::span<const float> x_scales,
                         MatrixView<float> y, ThreadPool* pool) const override {
    MSA_CHECK(x.cols == inputs_ && y.cols == outputs_ && x.rows == y.rows &&
              std::ssize(x_scales) == x.rows);
    const I8Panels panels = {outputs_, inputs_, data_.get(), scales_.data()};
    ForPanels(num_panels(), pool, [&](int64_t begin, int64_t end) {
      kernels_.multiply(panels, {x, x_scales.data()}, begin, end, y);
    });
  }

 private:
  int64_t num_panels() const { return CeilDivide(outputs_, kernels_.panel_outputs); }

  const Isa isa_;
  const I8Kernels& kernels_;
  const int64_t outputs_;
  const int64_t inputs_;
  AlignedBytes data_;
  std::vector<float> scales_;  // zero for the padding of the last panel
};

// One output row before packing.
struct I4Row {
  std::span<uint8_t> q;  // a value a byte
  std::span<uint16_t> scales;
  std::span<uint16_t> minima;
};

class I4Matrix final : public QuantMatrix {
 public:
  // `read(output, row)` fills one row, or says why not.
  static Result<std::unique_ptr<QuantMatrix>> Create(
      int64_t outputs, int64_t inputs, Isa isa,
      FunctionRef<Status(int64_t output, const I4Row& row)> read) {
    std::unique_ptr<I4Matrix> matrix(new I4Matrix(outputs, inputs, isa));
    const int64_t panel = matrix->kernels_.panel_outputs;
    const int64_t blocks = inputs / kI4BlockInputs;
    std::vector<uint8_t> q(panel * inputs);
    std::vector<uint16_t> scales(panel * blocks), minima(panel * blocks);
    for (int64_t p = 0; p < matrix->num_panels(); ++p) {
      const int64_t count = std::min(panel, outputs - p * panel);
      for (int64_t n = 0; n < count; ++n)
        MSA_RETURN_IF_ERROR(read(p * panel + n, {std::span(q).subspan(n * inputs, inputs),
                                                 std::span(scales).subspan(n * blocks, blocks),
                                                 std::span(minima).subspan(n * blocks, blocks)}));
      matrix->kernels_.pack(q.data(), scales.data(), minima.data(), count, inputs,
                            matrix->data_.get() + p * I4PanelBytes(panel, inputs));
    }
    return std::unique_ptr<QuantMatrix>(std::move(matrix));
  }

  int64_t outputs() const override { return outputs_; }
  int64_t inputs() const override { return inputs_; }
  WeightFormat format() const override { return WeightFormat::kI4Block; }
  int64_t resident_bytes() const override {
    return num_panels() * I4PanelBytes(kernels_.panel_outputs, inputs_);
  }

  void DequantizeRow(int64_t output, std::span<float> out) const override {
    MSA_CHECK(output >= 0 && output < outputs_ && std::ssize(out) == inputs_);
    const int64_t panel = kernels_.panel_outputs;
    kernels_.dequantise_row(data_.get() + output / panel * I4PanelBytes(panel, inputs_),
                            output % panel, inputs_, out.data());
  }

  void Multiply(MatrixView<const float> x, MatrixView<float> y, ThreadPool* pool) const override {
    MSA_CHECK(x.cols == inputs_ && y.cols == outputs_ && x.rows == y.rows);
    Scratch& scratch = Scratch::OfThisThread();
    const MatrixView<int8_t> q = scratch.Quantised(x.rows, x.cols);
    const MatrixView<float> scales = Scratch::Floats(&scratch.scales, x.rows, num_blocks());
    ForRows(x.rows, pool, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i)
        // A row's blocks are rows to QuantiseRows.
        QuantiseRows(MatrixView(x.row(i).data(), num_blocks(), kI4BlockInputs),
                     MatrixView(q.row(i).data(), num_blocks(), kI4BlockInputs), scales.row(i),
                     isa_);
    });
    MultiplyBlocks(q, scales, y, pool);
  }

  void MultiplyQuantised(MatrixView<const int8_t> x, std::span<const float> x_scales,
                         MatrixView<float> y, ThreadPool* pool) const override {
    MSA_CHECK(x.cols == inputs_ && y.cols == outputs_ && x.rows == y.rows &&
              std::ssize(x_scales) == x.rows);
    const MatrixView<float> scales =
        Scratch::Floats(&Scratch::OfThisThread().scales, x.rows, num_blocks());
    for (int64_t i = 0; i < x.rows; ++i) std::ranges::fill(scales.row(i), x_scales[i]);
    MultiplyBlocks(x, scales, y, pool);
  }

 private:
  I4Matrix(int64_t outputs, int64_t inputs, Isa isa)
      : isa_(isa), kernels_(I4KernelsFor(isa)), outputs_(outputs), inputs_(inputs) {
    data_ = AllocateAligned(resident_bytes());
  }

  void MultiplyBlocks(MatrixView<const int8_t> x, MatrixView<const float> scales,
                      MatrixView<float> y, ThreadPool* pool) const {
    const MatrixView<float> sums =
        Scratch::Floats(&Scratch::OfThisThread().sums, x.rows, num_blocks());
    for (int64_t i = 0; i < x.rows; ++i) {
      for (int64_t b = 0; b < num_blocks(); ++b) {
        int32_t sum = 0;
        for (int64_t k = 0; k < kI4BlockInputs; ++k) sum += x.row(i)[b * kI4BlockInputs + k];
        sums.row(i)[b] = scales.row(i)[b] * static_cast<float>(sum);
      }
    }
    const I4Panels panels = {outputs_, inputs_, data_.get()};
    ForPanels(num_panels(), pool, [&](int64_t begin, int64_t end) {
      kernels_.multiply(panels, {x, scales, sums}, begin, end, y);
    });
  }

  int64_t num_panels() const { return CeilDivide(outputs_, kernels_.panel_outputs); }
  int64_t num_blocks() const { return inputs_ / kI4BlockInputs; }

  const Isa isa_;
  const I4Kernels& kernels_;
  const int64_t outputs_;
  const int64_t inputs_;
  AlignedBytes data_;
};

// As Q4_1 does, but with values rounded against the f16 scale and minimum that are stored.
Status QuantiseI4Row(std::span<const float> weights, const I4Row& row) {
  for (size_t b = 0; b < row.scales.size(); ++b) {
    const std::span<const float> block = weights.subspan(b * kI4BlockInputs, kI4BlockInputs);
    const auto [low, high] = std::ranges::minmax(block);
    const F16 minimum = ToF16(low);
    const F16 scale = ToF16((high - ToFloat(minimum)) / 15);
    if (!std::isfinite(ToFloat(minimum)) || !std::isfinite(ToFloat(scale)))
      return InvalidArgument("weights from " + std::to_string(low) + " to " + std::to_string(high) +
                             " do not fit 4-bit blocks with f16 scales");
    row.minima[b] = minimum.bits;
    row.scales[b] = scale.bits;
    for (int64_t k = 0; k < kI4BlockInputs; ++k) {
      const float q = ToFloat(scale) == 0 ? 0 : (block[k] - ToFloat(minimum)) / ToFloat(scale);
      row.q[b * kI4BlockInputs + k] =
          static_cast<uint8_t>(std::clamp(std::nearbyint(q), 0.0f, 15.0f));
    }
  }
  return OkStatus();
}

// Blocks of Q4_0: f16 d, 16 bytes, w = d (q - 8). Of Q4_1: f16 d, f16 m, 16 bytes, w = d q + m.
// Byte j holds value j below and value j + 16 above.
Status ReadGgufRow(GgmlType type, const std::byte* blocks, const I4Row& row) {
  for (size_t b = 0; b < row.scales.size(); ++b) {
    F16 scale, minimum;
    std::memcpy(&scale, blocks, 2);
    blocks += 2;
    if (type == GgmlType::kQ4_1) {
      std::memcpy(&minimum, blocks, 2);
      blocks += 2;
    } else {
      minimum = ToF16(-8 * ToFloat(scale));  // exact: a power of two, and checked against overflow
      if (ToFloat(minimum) != -8 * ToFloat(scale))
        return InvalidArgument("Q4_0 scale " + std::to_string(ToFloat(scale)) +
                               " has no 8-fold in f16");
    }
    row.scales[b] = scale.bits;
    row.minima[b] = minimum.bits;
    for (int64_t j = 0; j < kI4BlockInputs / 2; ++j, ++blocks) {
      row.q[b * kI4BlockInputs + j] = std::to_integer<uint8_t>(*blocks & std::byte{15});
      row.q[b * kI4BlockInputs + j + kI4BlockInputs / 2] = std::to_integer<uint8_t>(*blocks >> 4);
    }
  }
  return OkStatus();
}

}  // namespace

Result<std::unique_ptr<QuantMatrix>> QuantMatrix::FromF32(MatrixView<const float> weights,
                                                          WeightFormat format, Isa isa) {
  MSA_RETURN_IF_ERROR(CheckShape(weights.rows, weights.cols));
  MSA_RETURN_IF_ERROR(CheckFinite(weights));
  if (format == WeightFormat::kI8Row)
    return std::unique_ptr<QuantMatrix>(std::make_unique<I8Matrix>(weights, isa));
  return I4Matrix::Create(weights.rows, weights.cols, isa, [&](int64_t output, const I4Row& row) {
    return QuantiseI4Row(weights.row(output), row);
  });
}

Result<std::unique_ptr<QuantMatrix>> QuantMatrix::FromGguf(GgmlType type,
                                                           std::span<const std::byte> blocks,
                                                           int64_t outputs, int64_t inputs,
                                                           Isa isa) {
  if (type != GgmlType::kQ4_0 && type != GgmlType::kQ4_1)
    return InvalidArgument("4-bit blocks from " + GgmlTypeName(type) + ": only Q4_0 and Q4_1");
  MSA_RETURN_IF_ERROR(CheckShape(outputs, inputs));
  const int64_t row_bytes = inputs / kI4BlockInputs * GgmlBlockBytes(type);
  if (std::ssize(blocks) / row_bytes != outputs || std::ssize(blocks) % row_bytes != 0)
    return InvalidArgument(GgmlTypeName(type) + " [" + std::to_string(outputs) + ", " +
                           std::to_string(inputs) + "]: found " + std::to_string(blocks.size()) +
                           " bytes, expected " + std::to_string(row_bytes) + " an output");
  return I4Matrix::Create(outputs, inputs, isa, [&](int64_t output, const I4Row& row) {
    return ReadGgufRow(type, blocks.data() + output * row_bytes, row);
  });
}

void QuantiseRows(MatrixView<const float> x, MatrixView<int8_t> q, std::span<float> scales,
                  Isa isa) {
  MSA_CHECK(q.rows == x.rows && q.cols == x.cols && std::ssize(scales) == x.rows);
  const BlockRows& rows = BlockRowsFor(isa);
  for (int64_t i = 0; i < x.rows; ++i)
    rows.quantise(x.row(i).data(), x.cols, q.row(i).data(), &scales[i]);
}

}  // namespace msa
