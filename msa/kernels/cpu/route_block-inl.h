// The block kernels of cpu/route_block.h over an Isa's vector operations `V`. Included once by each
// route_block_*.cc inside its target region; includes nothing, because headers must stay outside.
//
// V has kLanes, the vectors F (f32) and I (int32), and the operations used below.

namespace msa {
namespace {

// Tokens by rows -----------------------------------------------------------------------------

// Unreduced dot product of one key row: kLanes partial sums. One accumulator suffices, because the
// processor runs several rows at once. Rows are read strictly one after another by one loop: two or
// four at a time, or a loop unrolled over rows, lose the hardware prefetcher (Zen 4, f32: 10 and 15
// GB/s a core instead of 22, and software prefetch brings nothing back). Four vectors a step,
// because the exit of a shorter loop is mispredicted once a row.
template <class V, class Key>
inline typename V::F PartialDot(const Key* key, const float* query, int64_t dim) {
  typename V::F sum = V::ZeroF();
  constexpr int64_t kStep = 4 * V::kLanes;
  int64_t e = 0;
  for (; e + kStep <= dim; e += kStep) {
#pragma GCC unroll 4
    for (int64_t i = e; i < e + kStep; i += V::kLanes)
      sum = V::MulAdd(sum, V::LoadKeys(key + i), V::Load(query + i));
  }
  for (; e < dim; e += V::kLanes) sum = V::MulAdd(sum, V::LoadKeys(key + e), V::Load(query + e));
  return sum;
}
template <class V>
inline typename V::I PartialDot(const int8_t* key, const int16_t* query, int64_t dim) {
  typename V::I sum = V::ZeroI();
  constexpr int64_t kStep = 2 * V::kLanes;
  int64_t e = 0;
  for (; e + kStep <= dim; e += kStep)
    sum = V::MulAdd(sum, V::WidenKeys(key + e), V::LoadI(query + e));
  if constexpr (kStep > 16) {  // dim is a multiple of 16
    if (e < dim) sum = V::MulAdd(sum, V::WidenHalf(key + e), V::LoadHalf(query + e));
  }
  return sum;
}

// kLanes rows from `key` on against one token; rows past `last` repeat it.
template <class V, class Key, class Query>
inline auto DotRows(const Key* key, int64_t stride, int64_t last, const Query* query, int64_t dim) {
  decltype(PartialDot<V>(key, query, dim)) partial[V::kLanes];
#pragma GCC unroll 1
  for (int64_t i = 0; i < V::kLanes; ++i)
    partial[i] = PartialDot<V>(key + std::min(i, last) * stride, query, dim);
  return V::SumEach(partial);
}

template <class V, class Key>
uint64_t ScoreByRows(const RouteQueries& queries, const RouterKeysView& run, int64_t row,
                     int64_t rows, const float* thresholds, float* scores) {
  const int64_t dim = queries.key_dim;
  const Key* keys = static_cast<const Key*>(run.keys) + row * dim;
  uint64_t mask = 0;
  for (int64_t r = 0; r < rows; r += V::kLanes) {
    const int64_t last = rows - 1 - r;
    for (int64_t t = 0; t < queries.num_tokens; ++t) {
      typename V::F score;
      if constexpr (std::is_same_v<Key, int8_t>) {
        const auto dots = DotRows<V>(keys + r * dim, dim, last, queries.i16 + t * dim, dim);
        const auto scales = V::LoadFirst(run.scales + row + r, last + 1);
        score = V::Mul(V::ToFloat(dots), V::Mul(scales, V::Broadcast(queries.i16_scales[t])));
      } else {
        score = DotRows<V>(keys + r * dim, dim, last, queries.f32 + t * dim, dim);
      }
      V::Store(scores + t * kRouteBlockRows + r, score);
      mask |= uint64_t{V::AtLeast(score, V::Broadcast(thresholds[t]))} << r;
    }
  }
  return rows == 64 ? mask : mask & ((uint64_t{1} << rows) - 1);
}

// Tokens in lanes ----------------------------------------------------------------------------

// Arithmetic on 32-bit units: one f32 ...
template <class V>
struct F32Units {
  using Unit = float;
  using Sum = float;
  using Acc = typename V::F;
  static constexpr int64_t kPerUnit = 1;
  static Acc Zero() { return V::ZeroF(); }
  static auto LoadQuery(const float* q) { return V::Load(q); }
  static auto Key(const float* key) { return V::Broadcast(*key); }
  static auto Score(const float* sum, const float*, float) { return V::Load(sum); }
  static const float* Query(const RouteQueries& queries) { return queries.f32; }
};
// ... or two int16.
template <class V>
struct I16Units {
  using Unit = int16_t;
  using Sum = int32_t;
  using Acc = typename V::I;
  static constexpr int64_t kPerUnit = 2;
  static Acc Zero() { return V::ZeroI(); }
  static auto LoadQuery(const int16_t* q) { return V::LoadI(q); }
  static auto Key(const int16_t* key) { return V::BroadcastPair(key); }
  static auto Score(const int32_t* sum, const float* query_scales, float key_scale) {
    return V::Mul(V::ToFloat(V::LoadI(sum)),
                  V::Mul(V::Load(query_scales), V::Broadcast(key_scale)));
  }
  static const int16_t* Query(const RouteQueries& queries) { return queries.i16; }
};

// What to fetch while a tile is multiplied: cache lines for each 16 elements of it.
struct Ahead {
  const char* next = nullptr;
  int lines_per_block = 0;
};

// V::kTileRows keys against NV groups of tokens; all sums stay in registers until the end. Keys
// stand `dim` apart, in threes, which x86 addresses with one pointer (+0, +s, +2s).
//   sums [kTileRows][NV][kLanes]: through memory, because g++ 12 spills the sums inside the loop
//   once their use is more than a store
//   ahead: bytes read next, fetched meanwhile (without it 32 tokens on f32 keys take a third
//   longer)
template <class V, class U, int NV>
inline void MultiplyTile(const typename U::Unit* keys, int64_t dim, const typename U::Unit* query,
                         Ahead ahead, typename U::Sum* sums) {
  typename U::Acc sum[V::kTileRows][NV];
#pragma GCC unroll 32
  for (int i = 0; i < V::kTileRows; ++i) {
#pragma GCC unroll 4
    for (int v = 0; v < NV; ++v) sum[i][v] = U::Zero();
  }
  const typename U::Unit* three[V::kTileRows / 3];
#pragma GCC unroll 32
  for (int i = 0; i < V::kTileRows / 3; ++i) three[i] = keys + 3 * i * dim;
  for (int64_t block = 0; block < dim; block += 16) {
    for (int line = 0; line < ahead.lines_per_block; ++line, ahead.next += 64)
      _mm_prefetch(ahead.next, _MM_HINT_T0);
    for (int64_t e = block; e < block + 16; e += U::kPerUnit) {
      decltype(U::LoadQuery(query)) q[NV];
#pragma GCC unroll 4
      for (int v = 0; v < NV; ++v) q[v] = U::LoadQuery(query + (v * dim + e) * V::kLanes);
#pragma GCC unroll 32
      for (int i = 0; i < V::kTileRows; ++i) {
        const auto key = U::Key(three[i / 3] + (i % 3) * dim + e);
#pragma GCC unroll 4
        for (int v = 0; v < NV; ++v) sum[i][v] = V::MulAdd(sum[i][v], key, q[v]);
      }
    }
  }
#pragma GCC unroll 32
  for (int i = 0; i < V::kTileRows; ++i) {
#pragma GCC unroll 4
    for (int v = 0; v < NV; ++v) V::Store(sums + (i * NV + v) * V::kLanes, sum[i][v]);
  }
}

// Scores of `rows` <= kTileRows keys for groups [group, group + NV); bit i of the result as in
// ScoreRouteBlock.
template <class V, class U, int NV>
uint64_t ScoreTile(const RouteQueries& queries, int64_t group, const typename U::Unit* keys,
                   const float* key_scales, int64_t rows, Ahead ahead, const float* thresholds,
                   float* scores) {
  const int64_t dim = queries.key_dim;
  alignas(64) typename U::Sum sums[V::kTileRows * NV * V::kLanes];
  MultiplyTile<V, U, NV>(keys, dim, U::Query(queries) + group * dim * V::kLanes, ahead, sums);
  uint64_t mask = 0;
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t v = 0; v < NV; ++v) {
      const int64_t token = (group + v) * V::kLanes;
      const auto score = U::Score(sums + (i * NV + v) * V::kLanes, queries.i16_scales + token,
                                  key_scales ? key_scales[i] : 0);
      V::Store(scores + i * queries.padded_tokens() + token, score);
      if (V::AtLeast(score, V::Load(thresholds + token))) mask |= uint64_t{1} << i;
    }
  }
  return mask;
}

// `rows` rows of `dim` keys as units; rows up to kTileRows repeat the last, so that a tile is
// whole.
template <class V, class Key, class Unit>
void DecodeTile(const Key* keys, int64_t dim, int64_t rows, Unit* out) {
  for (int64_t i = 0; i < V::kTileRows; ++i)
    V::Decode(keys + std::min(i, rows - 1) * dim, dim, out + i * dim);
}

template <class V, class Key>
uint64_t ScoreInLanes(const RouteQueries& queries, const RouterKeysView& run, int64_t row,
                      int64_t rows, const float* thresholds, float* decoded, float* scores) {
  using U = std::conditional_t<std::is_same_v<Key, int8_t>, I16Units<V>, F32Units<V>>;
  const int64_t dim = queries.key_dim;
  uint64_t mask = 0;
  for (int64_t r = 0; r < rows; r += V::kTileRows) {
    const int64_t tile_rows = std::min<int64_t>(rows - r, V::kTileRows);
    const Key* keys = static_cast<const Key*>(run.keys) + (row + r) * dim;
    const typename U::Unit* units;
    if constexpr (std::is_same_v<Key, float>) units = keys;
    if (!std::is_same_v<Key, float> || tile_rows < V::kTileRows) {
      DecodeTile<V>(keys, dim, tile_rows, reinterpret_cast<typename U::Unit*>(decoded));
      units = reinterpret_cast<const typename U::Unit*>(decoded);
    }
    const float* key_scales = run.scales ? run.scales + row + r : nullptr;
    float* tile_scores = scores + r * queries.padded_tokens();
    // The next tile lies right behind this one: 16 elements of each of its rows for 16 of ours.
    Ahead ahead = {reinterpret_cast<const char*>(keys + V::kTileRows * dim),
                   static_cast<int>(V::kTileRows * 16 * sizeof(Key) / 64)};
    uint64_t found = 0;
    for (int64_t group = 0; group < queries.num_groups; group += 2) {
      const auto tile = group + 1 < queries.num_groups ? &ScoreTile<V, U, 2> : &ScoreTile<V, U, 1>;
      found |= tile(queries, group, units, key_scales, tile_rows, ahead, thresholds, tile_scores);
      ahead.lines_per_block = 0;
    }
    mask |= found << r;
  }
  return mask;
}

template <class V>
uint64_t ScoreBlock(const RouteQueries& queries, const RouterKeysView& run, int64_t row,
                    int64_t rows, const float* thresholds, float* decoded, float* scores) {
  const auto score = [&]<class Key>(Key) {
    return queries.lanes == 1
               ? ScoreByRows<V, Key>(queries, run, row, rows, thresholds, scores)
               : ScoreInLanes<V, Key>(queries, run, row, rows, thresholds, decoded, scores);
  };
  switch (run.dtype) {
    case DType::kF32: return score(float{});
    case DType::kBF16: return score(BF16{});
    case DType::kF16: return score(F16{});
    case DType::kI8: return score(int8_t{});
    default: MSA_CHECK(!"a key dtype that RouteTopK has checked");
  }
  return 0;
}

}  // namespace
}  // namespace msa
