#include "msa/train/train_model.h"

#include <c10/core/GradMode.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "msa/base/check.h"

namespace msa {
namespace {

constexpr double kLargestScale = 100;

at::Tensor NormaliseLast(const at::Tensor& x) {
  return x / x.norm(2, {-1}, /*keepdim=*/true).clamp_min(1e-12);
}

TokenRows Concatenate(const TokenRows& a, const TokenRows& b) {
  TokenRows out = a;
  out.tokens.insert(out.tokens.end(), b.tokens.begin(), b.tokens.end());
  out.lengths.insert(out.lengths.end(), b.lengths.begin(), b.lengths.end());
  return out;
}

std::vector<float> ToVector(const at::Tensor& tensor) {
  const at::Tensor host = tensor.detach().to(at::kFloat).cpu().contiguous();
  return {host.data_ptr<float>(), host.data_ptr<float>() + host.numel()};
}

}  // namespace

// The chunks of all passages as rows of P tokens each, the last of a passage filled up.
struct TrainModel::Chunks {
  int64_t num = 0;     // N
  int64_t tokens = 0;  // P
  at::Tensor index;    // [N * P] i64: a token; where filled up, the chunk's first
  at::Tensor place;    // [tokens] i64: where each stands in index
  at::Tensor bias;     // [N, P, 1] f32: 0, -inf where filled up
  at::Tensor share;    // [N, P, 1]: 1 / tokens of the chunk, 0 where filled up

  // [N, P, …] of the values [T, …] of all tokens, of passages before questions. What is filled up
  // has to weigh 0.
  at::Tensor Gather(const at::Tensor& values) const {
    std::vector<int64_t> shape = values.sizes().vec();
    shape[0] = tokens;
    shape.insert(shape.begin(), num);
    return GatherRows(values, index, place).view(shape);
  }

  static Chunks Of(const TokenRows& passages, int64_t chunk_tokens, at::Device device,
                   at::ScalarType dtype, std::vector<int64_t>* first_chunk) {
    std::vector<int64_t> index;
    std::vector<int64_t> place;
    std::vector<float> bias;
    std::vector<float> share;
    Chunks chunks;
    chunks.tokens = chunk_tokens;
    int64_t passage_begin = 0;
    for (const int64_t length : passages.lengths) {
      first_chunk->push_back(chunks.num);
      for (int64_t begin = 0; begin < length; begin += chunk_tokens, ++chunks.num) {
        const int64_t count = std::min(chunk_tokens, length - begin);
        for (int64_t i = 0; i < chunk_tokens; ++i) {
          const bool real = i < count;
          if (real) place.push_back(std::ssize(index));
          index.push_back(passage_begin + begin + (real ? i : 0));
          bias.push_back(real ? 0.0f : -std::numeric_limits<float>::infinity());
          share.push_back(real ? 1.0f / static_cast<float>(count) : 0.0f);
        }
      }
      passage_begin += length;
    }
    first_chunk->push_back(chunks.num);
    chunks.index = OnDevice(index, device);
    chunks.place = OnDevice(place, device);
    chunks.bias = OnDevice(bias, device).view({chunks.num, chunk_tokens, 1});
    chunks.share = OnDevice(share, device).to(dtype).view({chunks.num, chunk_tokens, 1});
    return chunks;
  }
};

void ReaderRows::AddRow(std::span<const TokenId> row, int64_t first_target) {
  const int64_t begin = rows.num_tokens();
  rows.Add(row);
  beside_text.push_back(false);
  for (int64_t i = std::max<int64_t>(first_target, 1); i < std::ssize(row); ++i) {
    positions.push_back(begin + i - 1);
    targets.push_back(row[static_cast<size_t>(i)]);
    weights.push_back(1);
  }
}

Result<std::unique_ptr<TrainModel>> TrainModel::Load(const WeightSource& source,
                                                     const TrainModelOptions& options,
                                                     at::Device device) {
  TrainModelOptions resolved = options;
  MSA_RETURN_IF_ERROR(ResolveMemoryConfig(source.config(), &resolved.memory));
  std::unique_ptr<TrainModel> model(new TrainModel(source.config(), std::move(resolved), device));
  model->compute_ = device.is_cuda() ? at::kBFloat16 : at::kFloat;
  MSA_RETURN_IF_ERROR(model->LoadBackbone(source));
  model->MakeParameters();
  return model;
}

Status TrainModel::LoadBackbone(const WeightSource& source) {
  const auto read = [&](Weight weight, int64_t layer, at::Tensor* out) -> Status {
    const auto [rows, columns] = source.Shape(weight);
    *out = at::empty({rows, columns}, at::kFloat);
    MSA_RETURN_IF_ERROR(source.Read({weight, layer},
                                    {out->data_ptr<float>(), static_cast<size_t>(rows * columns)}));
    if (rows == 1) *out = out->view({columns});
    return OkStatus();
  };
  const auto place = [&](at::Tensor* tensor) { *tensor = tensor->to(device_, compute_); };
  MSA_RETURN_IF_ERROR(read(Weight::kTokenEmbedding, -1, &embedding_));
  MSA_RETURN_IF_ERROR(read(Weight::kOutputNorm, -1, &output_norm_));
  place(&embedding_);
  place(&output_norm_);
  output_ = embedding_;
  if (!config_.tied_embeddings) {
    MSA_RETURN_IF_ERROR(read(Weight::kOutput, -1, &output_));
    place(&output_);
  }
  std::array<std::vector<at::Tensor>, 7> matrices;
  for (int64_t l = 0; l < config_.num_layers; ++l) {
    const auto norm = [&](Weight weight, std::vector<at::Tensor>* to) -> Status {
      MSA_RETURN_IF_ERROR(read(weight, l, &to->emplace_back()));
      place(&to->back());
      return OkStatus();
    };
    MSA_RETURN_IF_ERROR(norm(Weight::kAttentionNorm, &attention_norm_));
    MSA_RETURN_IF_ERROR(norm(Weight::kMlpNorm, &mlp_norm_));
    if (config_.attention_norms) {
      MSA_RETURN_IF_ERROR(norm(Weight::kQueryNorm, &query_norm_));
      MSA_RETURN_IF_ERROR(norm(Weight::kKeyNorm, &key_norm_));
    }
    for (size_t i = 0; i < kAdaptedWeights.size(); ++i) {
      MSA_RETURN_IF_ERROR(read(kAdaptedWeights[i], l, &matrices[i].emplace_back()));
    }
  }
  for (size_t i = 0; i < matrices.size(); ++i) stacks_[i] = at::stack(matrices[i]).to(device_);
  frequencies_ = OnDevice(config_.rope_frequencies, device_);
  return OkStatus();
}

TrainModel::LowRankSet TrainModel::MakeSet(const std::string& name, ParameterGroup group,
                                           int64_t rank) {
  LowRankSet set;
  for (size_t i = 0; i < stacks_.size(); ++i) {
    const std::string prefix = name + "." + std::string(kAdaptedWeightNames[i]);
    const int64_t layers = stacks_[i].size(0);
    const int64_t inputs = stacks_[i].size(2);
    // Uniform with the variance of a layer's usual initialisation; drawn on the CPU, so that every
    // device starts alike.
    const at::Tensor a =
        (at::rand({layers, rank, inputs}) * 2 - 1) / std::sqrt(static_cast<double>(inputs));
    set.a[i] = parameters_.Add(prefix + ".a", group, a.to(device_));
    set.b[i] = parameters_.Add(prefix + ".b", group,
                               at::zeros({layers, rank, stacks_[i].size(1)}, stacks_[i].options()));
  }
  return set;
}

void TrainModel::MakeParameters() {
  at::manual_seed(options_.seed);
  tower_ = MakeSet("tower", ParameterGroup::kTower, options_.tower_rank);
  reader_ = MakeSet("reader", ParameterGroup::kReader, options_.reader_rank);
  if (has_text_reader()) {
    text_reader_ = MakeSet("text_reader", ParameterGroup::kReader, options_.text_reader_rank);
  }
  const auto layers = std::ssize(options_.memory.memory_layers);
  const int64_t positions = options_.max_chunk_tokens;
  const int64_t hidden = config_.hidden_size;
  const int64_t heads = config_.num_kv_heads;
  const int64_t kv = config_.kv_size();
  const auto zeros = [&](at::IntArrayRef shape) {
    return at::zeros(shape, at::device(device_).dtype(at::kFloat));
  };
  const auto add = [&](const char* name, ParameterGroup group, const at::Tensor& value) {
    return parameters_.Add(name, group, value);
  };
  pool_score_ = add("pool.score", ParameterGroup::kMemory, zeros({layers, heads, hidden}));
  pool_position_ = add("pool.position", ParameterGroup::kScale, zeros({layers, positions, heads}));
  residual_ = add("residual", ParameterGroup::kMemory, zeros({layers, 2 * kv, hidden}));
  residual_position_ = add("residual.position", ParameterGroup::kMemory,
                           (at::randn({layers, positions, 2 * kv}) + 1).to(device_));
  std::vector<at::Tensor> keys;
  std::vector<at::Tensor> queries;
  for (const int64_t layer : options_.memory.routing_layers) {
    queries.push_back(stacks_[0][layer]);
    keys.push_back(stacks_[1][layer]);
  }
  router_key_ = add("router.key", ParameterGroup::kRouter, at::stack(keys));
  router_query_ = add("router.query", ParameterGroup::kRouter, at::stack(queries));
  routing_weights_ = add("router.weights", ParameterGroup::kScale,
                         zeros({std::ssize(options_.memory.routing_layers)}));
  log_scale_ =
      add("router.scale", ParameterGroup::kScale, zeros({}) + std::log(options_.routing_scale));
  if (options_.addressing) alpha_ = add("alpha", ParameterGroup::kScale, zeros({layers}) + 0.1);
}

at::Tensor TrainModel::RoutingScale() const {
  return log_scale_.clamp_max(std::log(kLargestScale)).exp();
}

UpdatedLayers TrainModel::Split(const std::array<at::Tensor, 7>& stacks) const {
  const auto layers = [&](const at::Tensor& stack) { return stack.to(compute_).unbind(0); };
  const std::vector<at::Tensor> qkv = layers(at::cat({stacks[0], stacks[1], stacks[2]}, 1));
  const std::vector<at::Tensor> output = layers(stacks[3]);
  const std::vector<at::Tensor> gate_up = layers(at::cat({stacks[4], stacks[5]}, 1));
  const std::vector<at::Tensor> down = layers(stacks[6]);
  UpdatedLayers out;
  for (size_t l = 0; l < qkv.size(); ++l) {
    out.push_back({qkv[l], output[l], gate_up[l], down[l]});
  }
  return out;
}

UpdatedLayers TrainModel::PlainLayers() const { return Split(stacks_); }

// All layers at once: a product a layer and matrix would be bound by launches. Summed in f32, so
// that updates far below the weights' own rounding still add up.
UpdatedLayers TrainModel::Update(const LowRankSet& set) const {
  std::array<at::Tensor, 7> stacks;
  for (size_t i = 0; i < stacks.size(); ++i) {
    stacks[i] = at::baddbmm(stacks_[i], set.b[i].transpose(1, 2), set.a[i], /*beta=*/1,
                            /*alpha=*/options_.update_scale);
  }
  return Split(stacks);
}

at::Tensor TrainModel::Norm(const at::Tensor& x, const at::Tensor& weight) const {
  return at::rms_norm(x, {x.size(-1)}, weight, config_.norm_epsilon);
}

TrainModel::Angles TrainModel::AnglesOf(const TokenRows& rows, int64_t first_position) const {
  std::vector<int32_t> positions;
  for (const int64_t length : rows.lengths) {
    for (int64_t i = 0; i < length; ++i)
      positions.push_back(static_cast<int32_t>(first_position + i));
  }
  const at::Tensor angles =
      OnDevice(positions, device_).to(at::kFloat).unsqueeze(1) * frequencies_.unsqueeze(0);
  return {angles.cos(), angles.sin()};
}

TrainModel::Heads TrainModel::Project(int64_t layer, const UpdatedLayer& weights,
                                      const at::Tensor& x, const Angles& angles) const {
  const int64_t rows = x.size(0);
  const int64_t dim = config_.head_dim;
  const std::vector<at::Tensor> parts =
      at::linear(x, weights.qkv)
          .split_with_sizes({config_.query_size(), config_.kv_size(), config_.kv_size()}, 1);
  at::Tensor q = parts[0].view({rows, config_.num_heads, dim});
  at::Tensor k = parts[1].view({rows, config_.num_kv_heads, dim});
  if (config_.attention_norms) {
    q = Norm(q, query_norm_[static_cast<size_t>(layer)]);
    k = Norm(k, key_norm_[static_cast<size_t>(layer)]);
  }
  return {RotateHeads(q, angles.cos, angles.sin), RotateHeads(k, angles.cos, angles.sin),
          parts[2].view({rows, config_.num_kv_heads, dim})};
}

at::Tensor TrainModel::Finish(int64_t layer, const UpdatedLayer& weights, const at::Tensor& hidden,
                              const at::Tensor& attention) const {
  const at::Tensor middle = hidden + at::linear(attention.flatten(1), weights.output);
  const at::Tensor x = Norm(middle, mlp_norm_[static_cast<size_t>(layer)]);
  return middle + GatedProduct(at::linear(x, weights.gate_up), weights.down);
}

// The parameters of memory layers in the type of computation, by layer. Cast and split once for
// all: a layer's own slices would each make a gradient of the whole.
struct TrainModel::MemoryParameters {
  std::vector<at::Tensor> pool_score, pool_position, residual, residual_position;
  std::vector<at::Tensor> router_key, router_query;
};

TrainModel::MemoryParameters TrainModel::SplitMemory(int64_t chunk_tokens, bool still) const {
  const auto cast = [&](const at::Tensor& all) { return all.to(compute_).unbind(0); };
  MemoryParameters out;
  out.residual = cast(residual_);
  out.residual_position = cast(residual_position_.narrow(1, 0, chunk_tokens));
  const c10::AutoGradMode mode(c10::GradMode::is_enabled() && !still);
  out.pool_score = cast(pool_score_);
  out.pool_position = pool_position_.narrow(1, 0, chunk_tokens).unbind(0);
  out.router_key = cast(router_key_);
  out.router_query = cast(router_query_);
  return out;
}

// a [N, P, G]: each token's weight in its chunk.
at::Tensor TrainModel::PoolWeights(const MemoryParameters& memory, int64_t m, const at::Tensor& x,
                                   const Chunks& chunks) const {
  const at::Tensor scores = at::linear(x, memory.pool_score[static_cast<size_t>(m)]);
  const at::Tensor logits = chunks.Gather(scores).to(at::kFloat) + chunks.bias +
                            memory.pool_position[static_cast<size_t>(m)];
  return at::softmax(logits, 1).to(compute_);
}

void TrainModel::Pool(const MemoryParameters& memory, int64_t m, const at::Tensor& x,
                      const Heads& heads, const at::Tensor& weights, const Chunks& chunks,
                      EncodedRows* out) const {
  const int64_t kv_heads = config_.num_kv_heads;
  const int64_t dim = config_.head_dim;
  const at::Tensor pooled =
      (chunks.Gather(at::stack({heads.k, heads.v}, 1)) * weights.unsqueeze(2).unsqueeze(4)).sum(1);
  const auto layer = static_cast<size_t>(m);
  const at::Tensor positions = memory.residual_position[layer] * chunks.share;
  const at::Tensor residual =
      (chunks.Gather(at::linear(x, memory.residual[layer])) * positions).sum(1);
  const at::Tensor latents = pooled + residual.view({-1, 2, kv_heads, dim});
  out->k.push_back(latents.select(1, 0));
  out->v.push_back(latents.select(1, 1));
}

at::Tensor TrainModel::RoutingKey(const MemoryParameters& memory, int64_t r, const at::Tensor& x,
                                  const at::Tensor& weights, const Chunks& chunks) const {
  const at::Tensor projected = at::linear(x, memory.router_key[static_cast<size_t>(r)])
                                   .view({-1, config_.num_kv_heads, config_.head_dim});
  const at::Tensor pooled = (chunks.Gather(projected) * weights.unsqueeze(3)).sum(1);
  return NormaliseLast(pooled.to(at::kFloat)).flatten(1);
}

at::Tensor TrainModel::RoutingQuery(const MemoryParameters& memory, int64_t r,
                                    const at::Tensor& x) const {
  const int64_t group = config_.num_heads / config_.num_kv_heads;
  const at::Tensor q = at::linear(x, memory.router_query[static_cast<size_t>(r)])
                           .to(at::kFloat)
                           .view({-1, config_.num_kv_heads, group, config_.head_dim});
  return NormaliseLast(q).sum(2).flatten(1) / static_cast<double>(config_.num_heads);
}

EncodedRows TrainModel::Encode(const UpdatedLayers& tower, const TokenRows& passages,
                               const TokenRows& questions, int64_t chunk_tokens, bool still) const {
  MSA_CHECK(chunk_tokens <= options_.max_chunk_tokens);
  const MemoryParameters memory = SplitMemory(chunk_tokens, still);
  const bool differentiated = c10::GradMode::is_enabled();
  const c10::AutoGradMode mode(differentiated && !still);
  const TokenRows rows = Concatenate(passages, questions);
  EncodedRows out;
  const Chunks chunks = Chunks::Of(passages, chunk_tokens, device_, compute_, &out.first_chunk);
  std::vector<int64_t> last;  // token of each question
  int64_t end = passages.num_tokens();
  for (const int64_t length : questions.lengths) last.push_back((end += length) - 1);
  const at::Tensor last_tokens = OnDevice(last, device_);

  const AttentionRows attention = AttentionRows::Of(rows.lengths, device_);
  const Angles angles = AnglesOf(rows, 0);
  at::Tensor hidden = at::embedding(embedding_, OnDevice(rows.tokens, device_));
  const double scale = 1 / std::sqrt(static_cast<double>(config_.head_dim));
  std::vector<at::Tensor> keys;
  std::vector<at::Tensor> queries;
  const int64_t last_layer = options_.memory.memory_layers.back();
  for (int64_t l = 0; l <= last_layer; ++l) {
    const UpdatedLayer& weights = tower[static_cast<size_t>(l)];
    const at::Tensor x = Norm(hidden, attention_norm_[static_cast<size_t>(l)]);
    const Heads heads = Project(l, weights, x, angles);
    if (const int64_t m = options_.memory.MemoryIndex(l); m >= 0) {
      const at::Tensor pool_weights = PoolWeights(memory, m, x, chunks);
      {
        const c10::AutoGradMode pooling(differentiated);
        Pool(memory, m, x, heads, pool_weights, chunks, &out);
      }
      if (const int64_t r = options_.memory.RoutingIndex(l); r >= 0) {
        keys.push_back(RoutingKey(memory, r, x, pool_weights, chunks));
        if (!last.empty())
          queries.push_back(RoutingQuery(memory, r, x.index_select(0, last_tokens)));
      }
    }
    if (l == last_layer) break;
    hidden = Finish(l, weights, hidden,
                    AttendRows(heads.q, heads.k, heads.v, attention, attention, scale));
  }
  out.keys = at::cat(keys, 1);
  if (!queries.empty()) out.queries = at::cat(queries, 1);
  return out;
}

// [questions, N] to [questions, passages].
at::Tensor TrainModel::BestChunks(const at::Tensor& scores,
                                  const std::vector<int64_t>& first_chunk) const {
  int64_t most = 0;
  const size_t passages = first_chunk.size() - 1;
  for (size_t p = 0; p < passages; ++p) {
    most = std::max(most, first_chunk[p + 1] - first_chunk[p]);
  }
  // Passages with fewer chunks repeat their first: it changes no maximum.
  std::vector<int64_t> index;
  for (size_t p = 0; p < passages; ++p) {
    const int64_t count = first_chunk[p + 1] - first_chunk[p];
    for (int64_t i = 0; i < most; ++i) index.push_back(first_chunk[p] + (i < count ? i : 0));
  }
  return scores.index_select(1, OnDevice(index, device_))
      .view({scores.size(0), static_cast<int64_t>(passages), most})
      .amax(2);
}

at::Tensor TrainModel::Scores(const EncodedRows& encoded, const at::Tensor& weights) const {
  const at::Tensor queries = encoded.queries * weights.repeat_interleave(config_.kv_size());
  return BestChunks(at::mm(queries, encoded.keys.t()), encoded.first_chunk);
}

at::Tensor TrainModel::LayerScores(const EncodedRows& encoded, int64_t routing_layer) const {
  const int64_t width = config_.kv_size();
  const auto part = [&](const at::Tensor& x) { return x.narrow(1, routing_layer * width, width); };
  return BestChunks(at::mm(part(encoded.queries), part(encoded.keys).t()), encoded.first_chunk);
}

at::Tensor TrainModel::Predict(const UpdatedLayers& reader, const ReaderRows& read,
                               const EncodedRows* encoded, const at::Tensor& scores) const {
  const TokenRows& rows = read.rows;
  const AttentionRows queries = AttentionRows::Of(rows.lengths, device_);
  // In a memory layer the keys of a row are its latents, then its tokens: positions in [latents of
  // all passages ; tokens of all rows].
  AttentionRows keys;
  at::Tensor merge;
  at::Tensor address;  // [all keys] f32: s - s_max of a latent's passage, 0 for tokens
  if (encoded != nullptr) {
    std::vector<int64_t> order;
    std::vector<int64_t> lengths;
    std::vector<int64_t> passage_of_key;  // an index into scores, flat; -1: a token
    const int64_t passages = std::ssize(encoded->first_chunk) - 1;
    int64_t token = encoded->first_chunk.back();
    for (int64_t row = 0; row < rows.num_rows(); ++row) {
      const auto before = std::ssize(order);
      for (const int64_t p : read.attached[static_cast<size_t>(row)]) {
        for (int64_t c = encoded->first_chunk[static_cast<size_t>(p)];
             c < encoded->first_chunk[static_cast<size_t>(p + 1)]; ++c) {
          order.push_back(c);
          passage_of_key.push_back(row * passages + p);
        }
      }
      for (int64_t i = 0; i < rows.lengths[static_cast<size_t>(row)]; ++i) {
        order.push_back(token++);
        passage_of_key.push_back(-1);
      }
      lengths.push_back(std::ssize(order) - before);
    }
    keys = AttentionRows::Of(lengths, device_);
    merge = OnDevice(order, device_);
    if (alpha_.defined() && scores.defined()) {
      // Row by row the best attached score counts as 0.
      std::vector<int64_t> index(passage_of_key.size());
      std::vector<float> real(passage_of_key.size());
      for (size_t i = 0; i < index.size(); ++i) {
        index[i] = std::max<int64_t>(passage_of_key[i], 0);
        real[i] = passage_of_key[i] >= 0 ? 1.0f : 0.0f;
      }
      std::vector<at::Tensor> best;
      for (int64_t row = 0; row < rows.num_rows(); ++row) {
        const auto& attached = read.attached[static_cast<size_t>(row)];
        best.push_back(attached.empty()
                           ? at::zeros({}, scores.options())
                           : scores[row].index_select(0, OnDevice(attached, device_)).max());
      }
      const at::Tensor lengths_tensor = OnDevice(lengths, device_);
      address = (scores.flatten().index_select(0, OnDevice(index, device_)) -
                 at::stack(best).repeat_interleave(lengths_tensor)) *
                OnDevice(real, device_);
    }
  }

  const double scale = 1 / std::sqrt(static_cast<double>(config_.head_dim));
  const Angles angles = AnglesOf(rows, encoded == nullptr ? 0 : options_.memory.query_offset);
  at::Tensor hidden = at::embedding(embedding_, OnDevice(rows.tokens, device_));
  for (int64_t l = 0; l < config_.num_layers; ++l) {
    const UpdatedLayer& weights = reader[static_cast<size_t>(l)];
    const at::Tensor x = Norm(hidden, attention_norm_[static_cast<size_t>(l)]);
    const Heads heads = Project(l, weights, x, angles);
    const int64_t m = encoded == nullptr ? -1 : options_.memory.MemoryIndex(l);
    at::Tensor attention;
    if (m < 0) {
      attention = AttendRows(heads.q, heads.k, heads.v, queries, queries, scale);
    } else {
      at::Tensor k = at::cat({encoded->k[static_cast<size_t>(m)], heads.k}).index_select(0, merge);
      at::Tensor v = at::cat({encoded->v[static_cast<size_t>(m)], heads.v}).index_select(0, merge);
      at::Tensor q = heads.q;
      if (address.defined()) {
        // The bias as one more dimension of the product, in eight for alignment.
        const at::Tensor bias = (address * at::relu(alpha_[m]) / scale).to(compute_);
        k = at::constant_pad_nd(at::cat({k, bias.view({-1, 1, 1}).expand({-1, k.size(1), 1})}, 2),
                                {0, 7});
        v = at::constant_pad_nd(v, {0, 8});
        q = at::constant_pad_nd(at::constant_pad_nd(q, {0, 1}, 1), {0, 7});
      }
      attention = AttendRows(q, k, v, queries, keys, scale);
      if (address.defined()) attention = attention.narrow(2, 0, config_.head_dim);
    }
    hidden = Finish(l, weights, hidden, attention);
  }
  return Norm(hidden.index_select(0, OnDevice(read.positions, device_)), output_norm_);
}

TokenLoss TrainModel::Read(const UpdatedLayers& reader, const ReaderRows& read,
                           const EncodedRows* encoded, const at::Tensor& scores,
                           const at::Tensor& teacher) const {
  SoftTargets soft;
  if (teacher.defined()) soft = {teacher, OnDevice(read.taught, device_)};
  return CrossEntropyLoss(Predict(reader, read, encoded, scores), output_,
                          OnDevice(read.targets, device_), OnDevice(read.weights, device_), soft);
}

Adapter TrainModel::Export() const {
  const MemoryConfig& memory = options_.memory;
  Adapter adapter = Adapter::Untrained(memory);
  adapter.chunk_tokens = memory.chunk_tokens;
  adapter.max_chunk_tokens = options_.max_chunk_tokens;
  const auto routing = ToVector(at::softmax(routing_weights_, 0));
  adapter.routing_weights.assign(routing.begin(), routing.end());
  const auto alphas = alpha_.defined() ? ToVector(at::relu(alpha_)) : std::vector<float>();
  const int64_t kv = config_.kv_size();
  for (int64_t m = 0; m < std::ssize(adapter.layers); ++m) {
    AdapterLayer& layer = adapter.layers[static_cast<size_t>(m)];
    layer.pool_score = ToVector(pool_score_[m]);
    layer.pool_position = ToVector(pool_position_[m]);
    layer.residual_key = ToVector(residual_[m].narrow(0, 0, kv));
    layer.residual_value = ToVector(residual_[m].narrow(0, kv, kv));
    layer.key_position = ToVector(residual_position_[m].narrow(1, 0, kv));
    layer.value_position = ToVector(residual_position_[m].narrow(1, kv, kv));
    if (!alphas.empty()) layer.alpha = alphas[static_cast<size_t>(m)];
    if (const int64_t r =
            options_.memory.RoutingIndex(memory.memory_layers[static_cast<size_t>(m)]);
        r >= 0) {
      layer.router_key = ToVector(router_key_[r]);
      layer.router_query = ToVector(router_query_[r]);
    }
  }
  const auto updates = [&](const LowRankSet& set, int64_t last_layer) {
    std::vector<LowRankLayer> layers(static_cast<size_t>(config_.num_layers));
    for (int64_t l = 0; l <= last_layer; ++l) {
      for (size_t i = 0; i < set.a.size(); ++i) {
        LowRank& update = layers[static_cast<size_t>(l)][i];
        update.rank = set.a[i].size(1);
        update.a = ToVector(set.a[i][l]);
        update.b = ToVector(set.b[i][l] * options_.update_scale);
      }
    }
    return layers;
  };
  // The tower ends at the projections of its last memory layer.
  adapter.tower = updates(tower_, memory.memory_layers.back());
  for (const size_t unused : {0, 3, 4, 5, 6}) {
    adapter.tower[static_cast<size_t>(memory.memory_layers.back())][unused] = {};
  }
  adapter.reader = updates(reader_, config_.num_layers - 1);
  if (has_text_reader()) adapter.text_reader = updates(text_reader_, config_.num_layers - 1);
  return adapter;
}

Status TrainModel::Import(const Adapter& adapter) {
  const c10::NoGradGuard guard;
  if (adapter.max_chunk_tokens > options_.max_chunk_tokens) {
    return FailedPrecondition("the adapter knows chunks of up to " +
                              std::to_string(adapter.max_chunk_tokens) +
                              " tokens; add them to \"chunk_shares\"");
  }
  const auto copy = [&](const std::vector<float>& from, at::Tensor to) {
    if (!from.empty()) to.copy_(OnDevice(from, device_).view(to.sizes()));
  };
  const int64_t positions = adapter.max_chunk_tokens;
  const int64_t kv = config_.kv_size();
  for (int64_t m = 0; m < std::ssize(adapter.layers); ++m) {
    const AdapterLayer& layer = adapter.layers[static_cast<size_t>(m)];
    copy(layer.pool_score, pool_score_[m]);
    copy(layer.pool_position, pool_position_[m].narrow(0, 0, positions));
    copy(layer.residual_key, residual_[m].narrow(0, 0, kv));
    copy(layer.residual_value, residual_[m].narrow(0, kv, kv));
    copy(layer.key_position, residual_position_[m].narrow(0, 0, positions).narrow(1, 0, kv));
    copy(layer.value_position, residual_position_[m].narrow(0, 0, positions).narrow(1, kv, kv));
    if (alpha_.defined()) alpha_[m].fill_(layer.alpha);
    if (const int64_t r =
            options_.memory.RoutingIndex(options_.memory.memory_layers[static_cast<size_t>(m)]);
        r >= 0) {
      copy(layer.router_key, router_key_[r]);
      copy(layer.router_query, router_query_[r]);
    }
  }
  const std::vector<float> weights(adapter.routing_weights.begin(), adapter.routing_weights.end());
  routing_weights_.copy_(OnDevice(weights, device_).log());
  // A rank beyond the adapter's starts as in a new model: it adds nothing, and learns.
  const auto updates = [&](const std::vector<LowRankLayer>& layers, const LowRankSet& set,
                           const std::string& rank_key) {
    for (size_t l = 0; l < layers.size(); ++l) {
      for (size_t i = 0; i < set.a.size(); ++i) {
        const LowRank& update = layers[l][i];
        if (update.rank == 0) continue;
        if (!set.a[i].defined() || update.rank > set.a[i].size(1)) {
          return FailedPrecondition("the adapter has updates of rank " +
                                    std::to_string(update.rank) + "; raise \"" + rank_key +
                                    "\" to it");
        }
        const auto layer = static_cast<int64_t>(l);
        copy(update.a, set.a[i][layer].narrow(0, 0, update.rank));
        const at::Tensor b = set.b[i][layer].narrow(0, 0, update.rank);
        copy(update.b, b);
        b.div_(options_.update_scale);
      }
    }
    return OkStatus();
  };
  MSA_RETURN_IF_ERROR(updates(adapter.tower, tower_, "tower_rank"));
  MSA_RETURN_IF_ERROR(updates(adapter.reader, reader_, "reader_rank"));
  return updates(adapter.text_reader, text_reader_, "text_reader_rank");
}

}  // namespace msa
