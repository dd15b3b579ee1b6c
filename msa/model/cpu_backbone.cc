#include "msa/model/cpu_backbone.h"

#include <algorithm>
#include <mutex>
#include <optional>

namespace msa {
namespace {

// What a block of rows needs between two products, kept with the thread.
struct BlockScratch {
  QuantisedBuffer quantised;
  RowBuffer product, gate_up;

  static BlockScratch& OfThisThread() {
    thread_local BlockScratch scratch;
    return scratch;
  }
};

// y = norm(x) W^T.
void MultiplyNorm(const QuantMatrix& matrix, MatrixView<const float> x,
                  const std::vector<float>& weight, double epsilon, MatrixView<float> y,
                  ThreadPool* pool) {
  const QuantisedRows q =
      BlockScratch::OfThisThread().quantised.Resize(x.rows, x.cols, matrix.activation_block());
  RmsNormQuantised(x, weight, static_cast<float>(epsilon), q);
  matrix.MultiplyQuantised(q, y, pool);
}

// y = (silu(gate) * up) W^T.
void MultiplyGated(const QuantMatrix& matrix, MatrixView<const float> gate_up, MatrixView<float> y,
                   ThreadPool* pool) {
  const QuantisedRows q = BlockScratch::OfThisThread().quantised.Resize(
      gate_up.rows, gate_up.cols / 2, matrix.activation_block());
  SiluGateQuantised(gate_up, q);
  matrix.MultiplyQuantised(q, y, pool);
}

Result<std::vector<float>> ReadVector(const AdaptedWeights& source, WeightId id) {
  std::vector<float> out(static_cast<size_t>(source.Shape(id.weight)[1]));
  MSA_RETURN_IF_ERROR(source.Read(id, out));
  return out;
}

// The weights' rows one above the other, if the file holds all of them in the same 4-bit blocks.
std::optional<WeightBlocks> StackBlocks(const AdaptedWeights& source,
                                        std::span<const WeightId> ids) {
  std::optional<WeightBlocks> stacked;
  for (const WeightId id : ids) {
    std::optional<WeightBlocks> blocks = source.ReadBlocks(id);
    if (!blocks || (stacked && stacked->type != blocks->type)) return std::nullopt;
    if (!stacked) {
      stacked = std::move(blocks);
    } else {
      stacked->bytes.insert(stacked->bytes.end(), blocks->bytes.begin(), blocks->bytes.end());
    }
  }
  return stacked;
}

// One matrix of several that read one input.
Result<std::unique_ptr<QuantMatrix>> ReadMatrix(const AdaptedWeights& source, WeightFormat format,
                                                std::initializer_list<WeightId> ids) {
  int64_t rows = 0;
  int64_t columns = 0;
  for (const WeightId id : ids) {
    rows += source.Shape(id.weight)[0];
    columns = source.Shape(id.weight)[1];
    if (source.IsUpdated(id)) format = WeightFormat::kI8Row;
  }
  if (format == WeightFormat::kI4Block) {
    if (const auto blocks = StackBlocks(source, ids)) {
      return QuantMatrix::FromGguf(blocks->type, blocks->bytes, rows, columns);
    }
  }
  std::vector<float> values(static_cast<size_t>(rows * columns));
  size_t at = 0;
  for (const WeightId id : ids) {
    const auto count = static_cast<size_t>(source.Shape(id.weight)[0] * columns);
    MSA_RETURN_IF_ERROR(source.Read(id, std::span(values).subspan(at, count)));
    at += count;
  }
  return QuantMatrix::FromF32({values.data(), rows, columns}, format);
}

Result<std::shared_ptr<const CpuEmbeddings>> LoadEmbeddings(const AdaptedWeights& source) {
  auto parts = std::make_shared<CpuEmbeddings>();
  MSA_ASSIGN_OR_RETURN(parts->embedding,
                       ReadMatrix(source, WeightFormat::kI8Row, {{Weight::kTokenEmbedding}}));
  MSA_ASSIGN_OR_RETURN(parts->output_norm, ReadVector(source, {Weight::kOutputNorm}));
  if (!source.config().tied_embeddings) {
    MSA_ASSIGN_OR_RETURN(parts->output,
                         ReadMatrix(source, WeightFormat::kI8Row, {{Weight::kOutput}}));
  }
  return std::shared_ptr<const CpuEmbeddings>(std::move(parts));
}

Result<std::shared_ptr<const CpuLayer>> LoadLayer(const AdaptedWeights& source, WeightFormat format,
                                                  int64_t index) {
  auto layer = std::make_shared<CpuLayer>();
  const auto id = [&](Weight weight) { return WeightId{weight, index}; };
  MSA_ASSIGN_OR_RETURN(layer->attention_norm, ReadVector(source, id(Weight::kAttentionNorm)));
  MSA_ASSIGN_OR_RETURN(layer->mlp_norm, ReadVector(source, id(Weight::kMlpNorm)));
  if (source.config().attention_norms) {
    MSA_ASSIGN_OR_RETURN(layer->query_norm, ReadVector(source, id(Weight::kQueryNorm)));
    MSA_ASSIGN_OR_RETURN(layer->key_norm, ReadVector(source, id(Weight::kKeyNorm)));
  }
  MSA_ASSIGN_OR_RETURN(
      layer->qkv,
      ReadMatrix(source, format, {id(Weight::kQuery), id(Weight::kKey), id(Weight::kValue)}));
  MSA_ASSIGN_OR_RETURN(layer->attention_output,
                       ReadMatrix(source, format, {id(Weight::kAttentionOutput)}));
  MSA_ASSIGN_OR_RETURN(layer->gate_up,
                       ReadMatrix(source, format, {id(Weight::kGate), id(Weight::kUp)}));
  MSA_ASSIGN_OR_RETURN(layer->down, ReadMatrix(source, format, {id(Weight::kDown)}));
  return std::shared_ptr<const CpuLayer>(std::move(layer));
}

int64_t BytesOf(std::initializer_list<const std::vector<float>*> vectors) {
  size_t count = 0;
  for (const std::vector<float>* vector : vectors) count += vector->size();
  return static_cast<int64_t>(count * sizeof(float));
}

}  // namespace

int64_t CpuLayer::resident_bytes() const {
  return qkv->resident_bytes() + attention_output->resident_bytes() + gate_up->resident_bytes() +
         down->resident_bytes() + BytesOf({&attention_norm, &mlp_norm, &query_norm, &key_norm});
}

int64_t CpuEmbeddings::resident_bytes() const {
  return embedding->resident_bytes() + (output != nullptr ? output->resident_bytes() : 0) +
         BytesOf({&output_norm});
}

Result<std::unique_ptr<CpuBackbone>> CpuBackbone::Load(const AdaptedWeights& source,
                                                       WeightFormat format, ThreadPool& pool,
                                                       Parts parts) {
  std::mutex mutex;
  Status status;
  const auto load = [&](auto& part, auto load_part) {
    if (part != nullptr) return;
    auto loaded = load_part();
    const std::lock_guard lock(mutex);
    if (status.ok()) status = loaded.status();
    if (loaded.ok()) part = std::move(*loaded);
  };
  // The embedding is about as much work as ten layers of a small model: first, so that no thread is
  // left with it at the end.
  pool.ParallelFor(std::ssize(parts.layers) + 1, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      if (i == 0) {
        load(parts.embeddings, [&] { return LoadEmbeddings(source); });
      } else {
        load(parts.layers[static_cast<size_t>(i - 1)],
             [&] { return LoadLayer(source, format, i - 1); });
      }
    }
  });
  MSA_RETURN_IF_ERROR(status);
  return std::unique_ptr<CpuBackbone>(new CpuBackbone(source.config(), std::move(parts)));
}

void CpuBackbone::Embed(std::span<const TokenId> tokens, MatrixView<float> hidden) const {
  for (int64_t i = 0; i < hidden.rows; ++i) {
    parts_.embeddings->embedding->DequantizeRow(tokens[static_cast<size_t>(i)], hidden.row(i));
  }
}

void CpuBackbone::Project(const CpuLayer& layer, MatrixView<const float> hidden,
                          MatrixView<float> qkv, ThreadPool* pool) const {
  MultiplyInput(layer, *layer.qkv, hidden, qkv, pool);
}

void CpuBackbone::MultiplyInput(const CpuLayer& layer, const QuantMatrix& matrix,
                                MatrixView<const float> hidden, MatrixView<float> y,
                                ThreadPool* pool) const {
  MultiplyNorm(matrix, hidden, layer.attention_norm, config_.norm_epsilon, y, pool);
}

void CpuBackbone::Rotate(const CpuLayer& layer, MatrixView<float> qkv, const RopeTable& table,
                         std::span<const int32_t> positions) const {
  const int64_t queries = config_.query_size();
  const int64_t keys_end = queries + config_.kv_size();
  if (config_.attention_norms) {
    const int64_t dim = config_.head_dim;
    const auto epsilon = static_cast<float>(config_.norm_epsilon);
    for (int64_t i = 0; i < qkv.rows; ++i) {
      const MatrixView<float> q(qkv.row(i).data(), config_.num_heads, dim);
      const MatrixView<float> k(qkv.row(i).data() + queries, config_.num_kv_heads, dim);
      RmsNorm(q, layer.query_norm, epsilon, q);
      RmsNorm(k, layer.key_norm, epsilon, k);
    }
  }
  ApplyRope(ColumnRange(qkv, 0, keys_end), table, positions);
}

void CpuBackbone::Finish(const CpuLayer& layer, MatrixView<const float> attention,
                         MatrixView<float> hidden, ThreadPool* pool) const {
  BlockScratch& scratch = BlockScratch::OfThisThread();
  const MatrixView<float> product = scratch.product.Resize(hidden.rows, hidden.cols);
  layer.attention_output->Multiply(attention, product, pool);
  AddRows(hidden, product);
  const MatrixView<float> gate_up =
      scratch.gate_up.Resize(hidden.rows, 2 * config_.intermediate_size);
  MultiplyNorm(*layer.gate_up, hidden, layer.mlp_norm, config_.norm_epsilon, gate_up, pool);
  MultiplyGated(*layer.down, gate_up, product, pool);
  AddRows(hidden, product);
}

void CpuBackbone::Logits(MatrixView<const float> hidden, MatrixView<float> logits,
                         ThreadPool* pool) const {
  const CpuEmbeddings& parts = *parts_.embeddings;
  const QuantMatrix& head = parts.output != nullptr ? *parts.output : *parts.embedding;
  MultiplyNorm(head, hidden, parts.output_norm, config_.norm_epsilon, logits, pool);
}

}  // namespace msa
