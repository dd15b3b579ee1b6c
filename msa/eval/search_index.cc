#include "msa/eval/search_index.h"

#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <unordered_set>

#include "msa/base/utf8.h"
#include "msa/engine/hop.h"
#include "msa/kernels/pool.h"
#include "msa/kernels/rotate.h"
#include "msa/kernels/route.h"

namespace msa {
namespace {

namespace fs = std::filesystem;

// Tokens of one encoder call: enough to fill a GPU twice; their f32 latents are some 100 MB.
constexpr int64_t kEncodeTokens = 65536;
// Questions routed in one pass: bounds the scratch of the kernel.
constexpr int64_t kRouteQuestions = 256;

}  // namespace

TemporaryBank::TemporaryBank() : folder_((fs::temp_directory_path() / "msa_eval_XXXXXX").string()) {
  if (::mkdtemp(folder_.data()) == nullptr) folder_.clear();
}

TemporaryBank::~TemporaryBank() {
  std::error_code ignored;
  if (!folder_.empty()) fs::remove_all(folder_, ignored);
}

Result<std::string> TemporaryBank::WriteDocuments(std::span<const EvalDocument> documents) const {
  if (folder_.empty()) return IoError("no temporary folder can be made");
  const std::string path = folder_ + "/docs.jsonl";
  std::ofstream out(path, std::ios::binary);
  for (const EvalDocument& document : documents) {
    nlohmann::json row = {{"id", document.id}, {"text", document.text}};
    if (!document.title.empty()) row["title"] = document.title;
    out << row.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) << '\n';
  }
  if (!out.flush()) return IoError(path + ": cannot be written");
  return path;
}

Result<std::unique_ptr<SearchIndex>> SearchIndex::Build(std::span<const EvalDocument> documents,
                                                        const EngineOptions& options, bool latent) {
  std::unique_ptr<SearchIndex> index(new SearchIndex(options));
  MSA_ASSIGN_OR_RETURN(const std::string path, index->folder_.WriteDocuments(documents));
  MSA_ASSIGN_OR_RETURN(index->engine_, Engine::OpenOrCreate(index->folder_.bank(), options));
  MSA_ASSIGN_OR_RETURN(index->model_, index->engine_->Model());
  MSA_ASSIGN_OR_RETURN(const AddReport added, index->engine_->Add({path}, {.encode = false}));
  if (added.cancelled) return Cancelled("stopped while adding documents");
  index->num_documents_ = added.added;
  MSA_RETURN_IF_ERROR(index->ReadPassages());
  if (latent) MSA_RETURN_IF_ERROR(index->EncodeKeys());
  return index;
}

Status SearchIndex::ReadPassages() {
  MSA_ASSIGN_OR_RETURN(snapshot_, engine_->bank().Latest());
  std::vector<std::pair<PassageId, IndexedPassage>> rows;
  Status failed;
  MSA_RETURN_IF_ERROR(snapshot_->ForEachDocument({}, [&](const DocumentInfo& document) {
    auto content = snapshot_->ReadContent(document.version);
    if (!content.ok()) {
      failed = content.status();
      return false;
    }
    for (size_t p = 0; p < content->passages.size(); ++p) {
      const PassageInfo& passage = content->passages[p];
      std::string text(TextBetween(content->text, passage.begin, passage.end));
      rows.push_back(
          {passage.id,
           {document.key, {document.title, std::move(text)}, std::move(content->tokens[p])}});
    }
    return true;
  }));
  MSA_RETURN_IF_ERROR(failed);
  std::sort(rows.begin(), rows.end(),
            [](const auto& a, const auto& b) { return a.first < b.first; });
  for (auto& [id, passage] : rows) {
    passages_.push_back(id);
    indexed_.push_back(std::move(passage));
  }
  return OkStatus();
}

Status SearchIndex::EncodeKeys() {
  const DType dtype = model_->memory().key_dtype;
  const int64_t key_dim = model_->key_dim();
  int64_t total = 0;
  for (const IndexedPassage& passage : indexed_) total += std::ssize(passage.tokens);
  Progress progress("encoding", "tokens", total, options_.progress);
  chunk_begin_ = {0};
  for (size_t begin = 0; begin < indexed_.size();) {
    if (cancelled()) return Cancelled("stopped while encoding");
    std::vector<std::span<const TokenId>> batch;
    int64_t batch_tokens = 0;
    while (begin < indexed_.size() && batch_tokens < kEncodeTokens) {
      batch.emplace_back(indexed_[begin++].tokens);
      batch_tokens += std::ssize(batch.back());
    }
    MSA_ASSIGN_OR_RETURN(EncodedBatch encoded, model_->Encode(batch));
    for (const int64_t chunks : encoded.chunks)
      chunk_begin_.push_back(chunk_begin_.back() + chunks);
    const int64_t n = std::ssize(encoded.keys) / key_dim;
    const size_t bytes = keys_.size();
    const size_t scales = key_scales_.size();
    keys_.resize(bytes + static_cast<size_t>(n * key_dim * DTypeSize(dtype)));
    if (dtype == DType::kI8) key_scales_.resize(scales + static_cast<size_t>(n));
    const MatrixView<float> rows(encoded.keys.data(), n, key_dim);
    if (StoresKeysRotated(dtype)) RotateRows(rows);
    StoreRows(rows, dtype, key_dim, keys_.data() + bytes, key_scales_.data() + scales);
    progress.Add(batch_tokens);
  }
  return OkStatus();
}

Result<Rankings> SearchIndex::RankLexical(std::span<const EvalQuestion> questions, int64_t depth) {
  Progress progress("lexical", "questions", std::ssize(questions), options_.progress);
  Rankings rankings;
  for (const EvalQuestion& question : questions) {
    if (cancelled()) return Cancelled("stopped while searching");
    MSA_ASSIGN_OR_RETURN(rankings.emplace_back(),
                         snapshot_->SearchLexical(question.text, depth, {}));
    progress.Add(1);
  }
  return rankings;
}

Result<Rankings> SearchIndex::RankLatent(std::span<const EvalQuestion> questions, int64_t depth) {
  MSA_CHECK(!chunk_begin_.empty());  // built with `latent`
  Progress progress("routing", "questions", std::ssize(questions), options_.progress);
  const int64_t key_dim = model_->key_dim();
  const int64_t k = std::min(depth, num_passages());
  const RouterKeysView view{model_->memory().key_dtype,
                            num_passages(),
                            key_dim,
                            keys_.data(),
                            key_scales_.empty() ? nullptr : key_scales_.data(),
                            chunk_begin_.data(),
                            passages_.data(),
                            nullptr};
  const KeyWhitening whitening = model_->WhitenFor({&view, 1});
  ThreadPool pool(options_.load.num_threads);
  Rankings rankings;
  while (std::ssize(rankings) < std::ssize(questions)) {
    const size_t first = rankings.size();
    const int64_t count =
        std::min<int64_t>(kRouteQuestions, std::ssize(questions) - std::ssize(rankings));
    std::vector<float> queries;
    std::vector<int64_t> token_begin = {0};
    for (int64_t q = 0; q < count; ++q) {
      if (cancelled()) return Cancelled("stopped while routing");
      MSA_ASSIGN_OR_RETURN(const std::vector<float> query,
                           model_->RouteQuery(questions[first + static_cast<size_t>(q)].text));
      queries.insert(queries.end(), query.begin(), query.end());
      token_begin.push_back(q + 1);
      progress.Add(1);
    }
    const MatrixView<float> rows(queries.data(), count, key_dim);
    for (int64_t q = 0; q < count; ++q) whitening.Apply(rows.row(q));
    if (StoresKeysRotated(view.dtype)) RotateRows(rows);
    std::vector<std::byte> scratch(
        static_cast<size_t>(RouteScratchBytes(count, key_dim, count, k, pool.num_threads())));
    std::vector<RouteHit> hits(static_cast<size_t>(count * k));
    MSA_RETURN_IF_ERROR(
        RouteTopK({&view, 1}, rows, token_begin, k, scratch, {hits.data(), count, k}, &pool));
    for (int64_t q = 0; q < count; ++q) {
      auto& ranking = rankings.emplace_back();
      for (int64_t i = 0; i < k; ++i) {
        const RouteHit& hit = hits[static_cast<size_t>(q * k + i)];
        if (hit.passage.valid()) ranking.push_back({hit.passage, hit.score});
      }
    }
  }
  return rankings;
}

Result<Rankings> SearchIndex::Fuse(std::span<const EvalQuestion> questions, const Rankings& lexical,
                                   const Rankings& latent, double latent_weight, int64_t hops,
                                   int64_t depth) const {
  Counters unused;
  ResultReader reader(*snapshot_, &unused);
  Rankings fused;
  for (size_t q = 0; q < questions.size(); ++q) {
    std::vector<RankedList> heads;
    if (!lexical.empty()) heads.push_back({1, lexical[q]});
    if (!latent.empty()) heads.push_back({latent_weight, latent[q]});
    MSA_ASSIGN_OR_RETURN(const auto passages, FuseInHops(*snapshot_, reader, questions[q].text, {},
                                                         std::move(heads), hops, depth));
    auto& ranking = fused.emplace_back();
    for (const FusedPassage& hit : passages) {
      ranking.push_back({hit.passage, static_cast<float>(hit.score)});
    }
  }
  return fused;
}

Result<Rankings> SearchIndex::Rank(Heads heads, std::span<const EvalQuestion> questions,
                                   int64_t hops, int64_t depth) {
  const int64_t fusion_depth = std::max(depth, kFusionDepth);
  Rankings lexical, latent;
  if (heads != Heads::kLatent) {
    MSA_ASSIGN_OR_RETURN(lexical, RankLexical(questions, fusion_depth));
  }
  if (heads != Heads::kLexical) {
    MSA_ASSIGN_OR_RETURN(latent, RankLatent(questions, fusion_depth));
  }
  const double latent_weight = heads == Heads::kFused ? model_->latent_weight() : 1;
  return Fuse(questions, lexical, latent, latent_weight, hops, depth);
}

const IndexedPassage& SearchIndex::passage(PassageId id) const {
  const auto it = std::lower_bound(passages_.begin(), passages_.end(), id);
  MSA_CHECK(it != passages_.end() && *it == id);
  return indexed_[static_cast<size_t>(it - passages_.begin())];
}

std::vector<std::string> SearchIndex::Documents(std::span<const LexicalHit> ranking) const {
  std::vector<std::string> documents;
  std::unordered_set<std::string_view> seen;
  for (const LexicalHit& hit : ranking) {
    const std::string& document = passage(hit.passage).document;
    if (seen.insert(document).second) documents.push_back(document);
  }
  return documents;
}

}  // namespace msa
