// Engine::Search: both heads over one snapshot, fused.

#include <algorithm>
#include <unordered_map>

#include "msa/base/clock.h"
#include "msa/engine/engine.h"
#include "msa/engine/hop.h"
#include "msa/engine/result_reader.h"
#include "msa/kernels/rotate.h"
#include "msa/kernels/route.h"

namespace msa {
namespace {

// Each head is asked for more than k, so that a passage low in one and high in the other is not
// lost.
constexpr int64_t kDepthFactor = 4;

// What routing reads of a run: its visible passages, and their keys.
void CountRead(const RouterKeysView& run, Counters* counters) {
  const int64_t key_bytes = run.key_dim * DTypeSize(run.dtype);
  if (run.visible == nullptr) {
    counters->passages += run.num_passages;
    counters->bytes_read += run.chunk_begin[run.num_passages] * key_bytes;
    return;
  }
  for (int64_t p = 0; p < run.num_passages; ++p) {
    if (!run.IsVisible(p)) continue;
    ++counters->passages;
    counters->bytes_read += (run.chunk_begin[p + 1] - run.chunk_begin[p]) * key_bytes;
  }
}

}  // namespace

const KeyWhitening& Engine::WhiteningFor(const std::shared_ptr<const VisiblePassages>& visible,
                                         std::span<const RouterKeysView> keys) {
  int64_t num_keys = 0;
  for (const RouterKeysView& run : keys) num_keys += run.chunk_begin[run.num_passages];
  // What the bank has dropped, an erasure's set of passages among it, is not kept here either.
  std::erase_if(whitenings_, [&](const Whitening& kept) {
    const auto of = kept.of.lock();
    return of == nullptr || (of == visible && kept.num_keys != num_keys);
  });
  for (const Whitening& kept : whitenings_) {
    if (kept.of.lock() == visible) return kept.whitening;
  }
  return whitenings_.emplace_back(visible, num_keys, model_->WhitenFor(keys)).whitening;
}

std::string_view HeadsName(Heads heads) {
  switch (heads) {
    case Heads::kFused: return "fused";
    case Heads::kLexical: return "lexical";
    case Heads::kLatent: return "latent";
  }
  return "";
}

std::optional<Heads> HeadsByName(std::string_view name) {
  for (const Heads heads : {Heads::kFused, Heads::kLexical, Heads::kLatent}) {
    if (name == HeadsName(heads)) return heads;
  }
  return std::nullopt;
}

Result<std::vector<LexicalHit>> Engine::RouteLatent(const Snapshot& snapshot,
                                                    std::string_view query,
                                                    const SearchOptions& options, int64_t k,
                                                    Counters* counters) {
  MSA_ASSIGN_OR_RETURN(const EncodingId encoding, FindEncoding(snapshot));
  MSA_ASSIGN_OR_RETURN(MemoryModel * model, Model());
  auto start = Clock::now();
  MSA_ASSIGN_OR_RETURN(std::vector<float> folded, model->RouteQuery(query));
  counters->seconds["query"] += SecondsSince(start);

  start = Clock::now();
  MSA_ASSIGN_OR_RETURN(const std::span<const KeyRun> runs, snapshot.RoutingKeys(encoding));
  counters->seconds["load_keys"] += SecondsSince(start);

  start = Clock::now();
  std::vector<std::vector<uint8_t>> bitmaps;  // by run; none: everything is visible
  MSA_ASSIGN_OR_RETURN(const auto visible, snapshot.MatchingPassages(options.where));
  if (!options.where.empty()) {
    for (const KeyRun& run : runs) bitmaps.push_back(visible->kept.BitsOf(run.passages));
  }
  const int64_t key_dim = model->key_dim();
  std::vector<RouterKeysView> views;
  for (size_t i = 0; i < runs.size(); ++i) {
    const KeyRun& run = runs[i];
    views.push_back({model->memory().key_dtype, std::ssize(run.passages), key_dim, run.keys,
                     run.scales, run.chunk_begin.data(), run.passages.data(),
                     bitmaps.empty() ? nullptr : bitmaps[i].data()});
    CountRead(views.back(), counters);
  }
  counters->seconds["filter"] += SecondsSince(start);

  start = Clock::now();
  WhiteningFor(visible, views).Apply(folded);
  counters->seconds["whiten"] += SecondsSince(start);

  start = Clock::now();
  if (StoresKeysRotated(model->memory().key_dtype)) RotateRows({folded.data(), 1, key_dim});
  if (pool_ == nullptr) pool_ = std::make_unique<ThreadPool>(options_.load.num_threads);
  std::vector<std::byte> scratch(
      static_cast<size_t>(RouteScratchBytes(1, key_dim, 1, k, pool_->num_threads())));
  std::vector<RouteHit> hits(static_cast<size_t>(k));
  const int64_t token_begin[] = {0, 1};
  MSA_RETURN_IF_ERROR(RouteTopK(views, {folded.data(), 1, key_dim}, token_begin, k, scratch,
                                {hits.data(), 1, k}, pool_.get()));
  counters->seconds["route"] += SecondsSince(start);
  std::vector<LexicalHit> ranked;
  for (const RouteHit& hit : hits) {
    if (hit.passage.valid()) ranked.push_back({hit.passage, hit.score});
  }
  return ranked;
}

Result<SearchResponse> Engine::Search(std::string_view query, const SearchOptions& options) {
  if (options.hops < 1)
    return InvalidArgument("hops are " + std::to_string(options.hops) + ", at least 1 is needed");
  if (options.k < 1)
    return InvalidArgument("k is " + std::to_string(options.k) + ", at least 1 is needed");
  MSA_ASSIGN_OR_RETURN(const auto snapshot, SnapshotAt(options.at));
  MSA_ASSIGN_OR_RETURN(const BankStats stats, snapshot->Stats());
  if (stats.documents == 0 && options.at.valid()) {
    return FailedPrecondition(bank_->path() + " was empty at revision " +
                              std::to_string(options.at.value));
  }
  if (stats.documents == 0) {
    return FailedPrecondition(bank_->path() + " is empty; add documents with: msa add " +
                              bank_->path() + " PATH...");
  }
  SearchResponse response;
  response.query = query;
  response.revision = snapshot->revision();
  MSA_ASSIGN_OR_RETURN(response.unencoded_passages, CountUnencoded(*snapshot, options.where));
  MSA_ASSIGN_OR_RETURN(const auto matching, snapshot->MatchingPassages(options.where));
  response.unkept_passages = matching->num_unkept;

  // An adapter says how much the latents may weigh; without one, and in a bank without latents, the
  // lexical head alone ranks, and no model is loaded.
  double latent_weight = options.heads == Heads::kLatent ? 1 : 0;
  if (options.heads == Heads::kFused && response.unencoded_passages < matching->kept.size()) {
    MSA_ASSIGN_OR_RETURN(const std::string adapter, AdapterPath());
    if (!adapter.empty()) {
      MSA_ASSIGN_OR_RETURN(const MemoryModel* model, Model());
      latent_weight = model->latent_weight();
    }
  }
  const double lexical_weight = options.heads == Heads::kLatent ? 0 : 1;
  const int64_t depth = std::max(kFusionDepth, kDepthFactor * options.k);

  std::vector<LexicalHit> lexical;
  if (lexical_weight > 0) {
    const auto start = Clock::now();
    MSA_ASSIGN_OR_RETURN(lexical, snapshot->SearchLexical(query, depth, options.where));
    response.counters.seconds["lexical"] = SecondsSince(start);
  }
  std::vector<LexicalHit> latent;
  if (latent_weight > 0) {
    MSA_ASSIGN_OR_RETURN(latent, RouteLatent(*snapshot, query, options, depth, &response.counters));
  }

  auto start = Clock::now();
  std::vector<LexicalHit> named;
  ResultReader reader(*snapshot, &response.counters);
  MSA_ASSIGN_OR_RETURN(const auto fused,
                       FuseInHops(*snapshot, reader, query, options.where,
                                  {{lexical_weight, lexical}, {latent_weight, latent}},
                                  options.hops, options.k, &named));
  response.counters.seconds["fuse"] = SecondsSince(start);
  std::unordered_map<PassageId, std::map<std::string, HeadRank>> heads;
  const auto note_ranks = [&](const std::string& head, const std::vector<LexicalHit>& hits) {
    for (size_t i = 0; i < hits.size(); ++i) {
      heads[hits[i].passage][head] = {static_cast<int64_t>(i) + 1, hits[i].score};
    }
  };
  note_ranks("lexical", lexical);
  note_ranks("latent", latent);
  note_ranks("named", named);

  start = Clock::now();
  for (const FusedPassage& hit : fused) {
    MSA_ASSIGN_OR_RETURN(Retrieved result, reader.Read(hit.passage));
    result.score = hit.score;
    result.heads = heads[hit.passage];
    response.results.push_back(std::move(result));
  }
  response.counters.seconds["text"] = SecondsSince(start);
  MSA_RETURN_IF_ERROR(snapshot->CheckErasures());
  return response;
}

}  // namespace msa
