#include "msa/model/cpu_adapter.h"

namespace msa {
namespace {

// Null if there are no values.
Result<std::unique_ptr<QuantMatrix>> Quantise(const std::vector<float>& values, int64_t columns) {
  if (values.empty()) return std::unique_ptr<QuantMatrix>();
  return QuantMatrix::FromF32({values.data(), std::ssize(values) / columns, columns},
                              WeightFormat::kI8Row);
}

}  // namespace

Result<CpuAdapterLayer> CpuAdapterLayer::Load(const AdapterLayer& layer, int64_t hidden_size) {
  CpuAdapterLayer out;
  std::vector<float> stacked;
  const auto stack = [&](const std::vector<float>& values) {
    const int64_t begin = std::ssize(stacked) / hidden_size;
    stacked.insert(stacked.end(), values.begin(), values.end());
    return Columns{begin, std::ssize(stacked) / hidden_size};
  };
  out.pool_score = stack(layer.pool_score);
  out.router_key = stack(layer.router_key);
  out.residual_key = stack(layer.residual_key);
  out.residual_value = stack(layer.residual_value);
  MSA_ASSIGN_OR_RETURN(out.input, Quantise(stacked, hidden_size));
  MSA_ASSIGN_OR_RETURN(out.router_query, Quantise(layer.router_query, hidden_size));
  return out;
}

int64_t CpuAdapterLayer::resident_bytes() const {
  return (input != nullptr ? input->resident_bytes() : 0) +
         (router_query != nullptr ? router_query->resident_bytes() : 0);
}

}  // namespace msa
