// An adapter's matrices of one memory layer on the CPU, as int8 rows.
#pragma once

#include <cstdint>
#include <memory>

#include "msa/base/status.h"
#include "msa/kernels/quant_matmul.h"
#include "msa/model/adapter.h"

namespace msa {

struct CpuAdapterLayer {
  // Columns of a product; none where the part is untrained.
  struct Columns {
    int64_t begin = 0;
    int64_t end = 0;
    bool empty() const { return begin == end; }
  };

  // All that multiplies the layer's normalised input when documents are encoded, one above the
  // other, so that the input is read once. Null: nothing does.
  std::unique_ptr<QuantMatrix> input;
  Columns pool_score, router_key, residual_key, residual_value;

  std::unique_ptr<QuantMatrix> router_query;  // null: untrained

  static Result<CpuAdapterLayer> Load(const AdapterLayer& layer, int64_t hidden_size);
  int64_t resident_bytes() const;
};

}  // namespace msa
