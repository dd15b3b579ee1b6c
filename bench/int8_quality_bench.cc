// What 8-bit products change, for bench/int8_quality.py: encodes a retrieval set with f32 and with
// another weight mode, and compares latents and rankings (routing alone, no lexical head).
//
//   int8_quality_bench MODEL WEIGHTS DOCS.jsonl QUERIES.jsonl QRELS.jsonl MAX_QUESTIONS
//
// One JSON line: mean and least cosine of k, v and r between the two, a head's vector at a time;
// nDCG@10 and recall@16 of both by documents, a document scoring as its best chunk.

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "msa/model/memory_model.h"
#include "msa/text/passages.h"

namespace msa {
namespace {

constexpr int64_t kBatchPassages = 64;

std::vector<nlohmann::json> ReadLines(const char* path) {
  std::ifstream in(path);
  std::vector<nlohmann::json> rows;
  for (std::string line; std::getline(in, line);) rows.push_back(nlohmann::json::parse(line));
  return rows;
}

std::unique_ptr<MemoryModel> Load(const char* path, const char* weights) {
  LoadModelOptions options;
  for (WeightMode mode : {WeightMode::kF32, WeightMode::kBF16, WeightMode::kI8, WeightMode::kI4})
    if (WeightModeName(mode) == weights) options.weights = mode;
  auto model = MemoryModel::Load(path, "", MemoryConfig(), options);
  if (!model.ok()) {
    std::cerr << model.status() << "\n";
    std::exit(1);
  }
  return std::move(*model);
}

struct Cosines {
  double sum = 0, least = 1;
  int64_t count = 0;

  void Add(const float* a, const float* b, int64_t n) {
    double ab = 0, aa = 0, bb = 0;
    for (int64_t i = 0; i < n; ++i) {
      ab += static_cast<double>(a[i]) * b[i];
      aa += static_cast<double>(a[i]) * a[i];
      bb += static_cast<double>(b[i]) * b[i];
    }
    const double cosine = ab / std::sqrt(aa * bb);
    sum += cosine;
    least = std::min(least, cosine);
    ++count;
  }
  nlohmann::json ToJson() const { return {{"mean", sum / count}, {"least", least}}; }
};

// The passages of a set, and the routing keys of their latents by either model.
struct EncodedSet {
  std::vector<Passage> passages;
  std::vector<std::string> document;    // of each passage
  std::vector<int64_t> latent_passage;  // of each latent
  std::vector<float> keys[2];
};

std::vector<Passage> Cut(const nlohmann::json& row, const Tokenizer& tokenizer) {
  Document document;
  document.title = row.value("title", "");
  document.text = row.at("text");
  return SplitPassages(document, tokenizer, {});
}

struct Comparison {
  Cosines k, v, r;

  void Add(const BackboneConfig& c, const EncodedBatch& a, const EncodedBatch& b) {
    const int64_t dim = c.head_dim, kv = c.kv_size();
    for (size_t i = 0; i < a.latents.size(); i += dim)  // [N, layers, 2, G, D]
      (static_cast<int64_t>(i) / kv % 2 == 0 ? k : v).Add(&a.latents[i], &b.latents[i], dim);
    for (size_t i = 0; i < a.keys.size(); i += dim) r.Add(&a.keys[i], &b.keys[i], dim);
  }
};

void Encode(MemoryModel* const models[2], EncodedSet* set, Comparison* comparison) {
  for (size_t begin = 0; begin < set->passages.size(); begin += kBatchPassages) {
    const size_t end = std::min(set->passages.size(), begin + kBatchPassages);
    std::vector<std::span<const TokenId>> tokens;
    for (size_t i = begin; i < end; ++i) tokens.push_back(set->passages[i].tokens);
    EncodedBatch batch[2];
    for (int m = 0; m < 2; ++m) {
      batch[m] = std::move(models[m]->Encode(tokens).value());
      set->keys[m].insert(set->keys[m].end(), batch[m].keys.begin(), batch[m].keys.end());
    }
    comparison->Add(models[0]->backbone(), batch[0], batch[1]);
    for (size_t i = begin; i < end; ++i)
      set->latent_passage.insert(set->latent_passage.end(), batch[0].chunks[i - begin], i);
    std::fprintf(stderr, "\r%zu of %zu passages", end, set->passages.size());
  }
  std::fprintf(stderr, "\n");
}

// Documents, best first; equal scores in the order of their names.
std::vector<std::string> Rank(const EncodedSet& set, const std::vector<float>& keys,
                              const std::vector<float>& query) {
  std::map<std::string, float> best;
  const auto dim = static_cast<int64_t>(query.size());
  for (size_t i = 0; i < set.latent_passage.size(); ++i) {
    float score = 0;
    for (int64_t j = 0; j < dim; ++j) score += query[j] * keys[i * dim + j];
    const auto [at, added] = best.emplace(set.document[set.latent_passage[i]], score);
    if (!added) at->second = std::max(at->second, score);
  }
  std::vector<std::pair<std::string, float>> ranked(best.begin(), best.end());
  std::stable_sort(ranked.begin(), ranked.end(),
                   [](const auto& a, const auto& b) { return a.second > b.second; });
  std::vector<std::string> names;
  for (const auto& [name, score] : ranked) names.push_back(name);
  return names;
}

struct Quality {
  double ndcg10 = 0, recall16 = 0;

  void Add(const std::vector<std::string>& ranked, const std::set<std::string>& relevant) {
    double gain = 0, ideal = 0, found = 0;
    for (size_t i = 0; i < std::min<size_t>(16, ranked.size()); ++i) {
      if (!relevant.contains(ranked[i])) continue;
      ++found;
      if (i < 10) gain += 1 / std::log2(i + 2.0);
    }
    for (size_t i = 0; i < std::min<size_t>(10, relevant.size()); ++i)
      ideal += 1 / std::log2(i + 2.0);
    ndcg10 += gain / ideal;
    recall16 += found / relevant.size();
  }
  nlohmann::json ToJson(int64_t questions) const {
    return {{"ndcg@10", ndcg10 / questions}, {"recall@16", recall16 / questions}};
  }
};

int Main(int argc, char** argv) {
  if (argc != 7) {
    std::fprintf(stderr, "usage: %s MODEL WEIGHTS DOCS QUERIES QRELS MAX_QUESTIONS\n", argv[0]);
    return 2;
  }
  const auto f32 = Load(argv[1], "f32"), other = Load(argv[1], argv[2]);
  MemoryModel* const models[2] = {f32.get(), other.get()};
  EncodedSet set;
  for (const nlohmann::json& row : ReadLines(argv[3])) {
    for (Passage& passage : Cut(row, f32->tokenizer())) {
      set.passages.push_back(std::move(passage));
      set.document.push_back(row.at("id"));
    }
  }
  Comparison comparison;
  Encode(models, &set, &comparison);

  std::map<std::string, std::set<std::string>> relevant;
  for (const nlohmann::json& row : ReadLines(argv[5]))
    if (row.at("rel") > 0) relevant[row.at("qid")].insert(row.at("docid"));
  Quality quality[2];
  int64_t questions = 0;
  for (const nlohmann::json& row : ReadLines(argv[4])) {
    const auto found = relevant.find(row.at("id"));
    if (found == relevant.end() || questions == std::atoi(argv[6])) continue;
    ++questions;
    for (int m = 0; m < 2; ++m)
      quality[m].Add(
          Rank(set, set.keys[m], models[m]->RouteQuery(std::string(row.at("query"))).value()),
          found->second);
  }
  const nlohmann::json line = {
      {"compute", other->compute_description()},
      {"passages", set.passages.size()},
      {"latents", set.latent_passage.size()},
      {"questions", questions},
      {"cosine",
       {{"k", comparison.k.ToJson()}, {"v", comparison.v.ToJson()}, {"r", comparison.r.ToJson()}}},
      {"f32", quality[0].ToJson(questions)},
      {argv[2], quality[1].ToJson(questions)}};
  std::cout << line << std::endl;
  return 0;
}

}  // namespace
}  // namespace msa

int main(int argc, char** argv) { return msa::Main(argc, argv); }
