// Token sequences of a batch side by side, without padding.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <span>
#include <vector>

#include "msa/text/tokenizer.h"

namespace msa {

struct TokenRows {
  std::vector<TokenId> tokens;   // all rows, one after another
  std::vector<int64_t> lengths;  // of each row, at least 1

  void Add(std::span<const TokenId> row) {
    tokens.insert(tokens.end(), row.begin(), row.end());
    lengths.push_back(static_cast<int64_t>(row.size()));
  }
  int64_t num_rows() const { return static_cast<int64_t>(lengths.size()); }
  int64_t num_tokens() const { return static_cast<int64_t>(tokens.size()); }
};

// A tensor of the host's on the device. Through pinned memory, so that nobody waits for the copy: a
// step makes dozens, and after each wait the device would stand still until work reaches it again.
inline at::Tensor OnDevice(const at::Tensor& host, at::Device device) {
  if (!device.is_cuda()) return host;
  return host.pin_memory().to(device, /*non_blocking=*/true);
}

// A vector as a tensor on the device.
template <class T>
at::Tensor OnDevice(const std::vector<T>& values, at::Device device) {
  return OnDevice(at::tensor(at::ArrayRef<T>(values.data(), values.size())), device);
}

}  // namespace msa
