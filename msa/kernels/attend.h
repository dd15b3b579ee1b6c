// Attention on a CPU: causal inside passages (encoding) and over a cache (reading).
//
// Grouped queries: head h reads key/value head h / (num_heads / num_kv_heads). The logit is
// q.k / sqrt(head_dim); softmax in f32. Rotary positions are applied before.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "msa/base/matrix.h"
#include "msa/base/threads.h"
#include "msa/kernels/isa.h"

namespace msa {

struct AttentionShape {
  int64_t num_heads = 0;     // H, a multiple of num_kv_heads
  int64_t num_kv_heads = 0;  // G
  int64_t head_dim = 0;      // D
};

// Token t attends to the tokens of its passage up to itself. Passage p holds tokens
// passage_begin[p] .. passage_begin[p + 1] - 1; an empty one is allowed. On this thread alone, so
// that each thread takes its own passages through a layer. O(tokens of a passage) scratch.
//   q [T, H D]; k, v [T, G D]; passage_begin [P + 1], from 0 to T; out [T, H D], not overlapping
void AttendPassages(const AttentionShape& shape, MatrixView<const float> q,
                    MatrixView<const float> k, MatrixView<const float> v,
                    std::span<const int64_t> passage_begin, MatrixView<float> out,
                    Isa isa = BestIsa());

// Keys and values of one layer, in the order in which products read them: keys in tiles of
// kKeyTile, transposed, so that a vector holds one dimension of many keys. Grows as needed.
class KvCache {
 public:
  static constexpr int64_t kKeyTile = 32;

  explicit KvCache(const AttentionShape& shape);

  const AttentionShape& shape() const { return shape_; }
  int64_t size() const { return size_; }
  int64_t resident_bytes() const;

  // k, v [n, G D]: entries size() .. size() + n - 1.
  void Append(MatrixView<const float> k, MatrixView<const float> v);
  // Forgets all entries from `size` on. REQUIRES: 0 <= size <= size().
  void Truncate(int64_t size);

  // Of one key/value head: [tiles, D, kKeyTile], and [entries, value_stride()], padded with zeros.
  const float* keys(int64_t kv_head) const { return keys_[kv_head].data(); }
  const float* values(int64_t kv_head) const { return values_[kv_head].data(); }
  int64_t value_stride() const;

 private:
  AttentionShape shape_;
  int64_t size_ = 0;
  std::vector<std::vector<float>> keys_;    // [G]
  std::vector<std::vector<float>> values_;  // [G]
};

// The last M entries of the cache belong to the M query tokens: token i attends to entries
// 0 .. size - M + i. bias [n], n <= size: added to the logits of the first n entries (latents).
//   q, out [M, H D], not overlapping; `pool` null: this thread alone
// The same bits for any number of threads.
void AttendCache(MatrixView<const float> q, const KvCache& cache, std::span<const float> bias,
                 MatrixView<float> out, ThreadPool* pool, Isa isa = BestIsa());

}  // namespace msa
