// What keys in fewer bits cost a ranking: the share of f32's best k passages that bf16, f16 and
// int8 keys find too, over the questions of a file. One JSON line a dtype.
//
//   msa_route_recall_bench KEYS QUERIES DIM [K]
//
// KEYS, QUERIES: raw f32 rows, as bench/route_keys.py writes them; every query is a question. A
// latent is ranked by itself, not by passages, so that neighbours in rank are as close as they get.

#include <algorithm>
#include <cstdio>
#include <iostream>

#include "route_data.h"

namespace msa::bench {
namespace {

struct Recall {
  int64_t found = 0;
  int64_t wanted = 0;
  int64_t worst = 0;  // fewest found of one question
};

Recall Compare(const KeySet& exact, const KeySet& coarse, MatrixView<const float> queries,
               int64_t k) {
  Recall recall = {.found = 0, .wanted = 0, .worst = k};
  for (int64_t q = 0; q < queries.rows; ++q) {
    Question question({queries.row(q).data(), 1, queries.cols}, k, nullptr);
    const std::vector<RouteHit> wanted = question.Route(exact.View(), BestIsa());
    const std::vector<RouteHit> found = question.Route(coarse.View(), BestIsa());
    int64_t both = 0;
    for (const RouteHit& hit : wanted)
      both += std::ranges::count(found, hit.passage, &RouteHit::passage);
    recall.found += both;
    recall.wanted += k;
    recall.worst = std::min(recall.worst, both);
  }
  return recall;
}

std::vector<float> SubtractMean(MatrixView<const float> rows) {
  std::vector<double> mean(static_cast<size_t>(rows.cols));
  for (int64_t r = 0; r < rows.rows; ++r)
    for (int64_t e = 0; e < rows.cols; ++e)
      mean[e] += rows.row(r)[e] / static_cast<double>(rows.rows);
  std::vector<float> out;
  for (int64_t r = 0; r < rows.rows; ++r)
    for (int64_t e = 0; e < rows.cols; ++e)
      out.push_back(static_cast<float>(rows.row(r)[e] - mean[e]));
  return out;
}

void Report(const Recall& recall, DType dtype, bool centred, int64_t latents,
            MatrixView<const float> queries, int64_t k) {
  std::printf(
      "{\"bench\": \"route_recall\", \"dtype\": \"%s\", \"centred\": %s, \"isa\": \"%s\", "
      "\"latents\": %ld, \"dim\": %ld, \"questions\": %ld, \"k\": %ld, \"recall\": %.4f, "
      "\"worst\": %ld}\n",
      std::string(DTypeName(dtype)).c_str(), centred ? "true" : "false",
      std::string(IsaName(BestIsa())).c_str(), latents, queries.cols, queries.rows, k,
      static_cast<double>(recall.found) / static_cast<double>(recall.wanted), recall.worst);
}

Status Run(const std::string& keys_path, const std::string& queries_path, int64_t dim, int64_t k) {
  MSA_ASSIGN_OR_RETURN(const std::vector<float> keys, ReadRows(keys_path, dim));
  MSA_ASSIGN_OR_RETURN(const std::vector<float> queries, ReadRows(queries_path, dim));
  const MatrixView<const float> key_rows(keys.data(), static_cast<int64_t>(keys.size()) / dim, dim);
  const MatrixView<const float> query_rows(queries.data(),
                                           static_cast<int64_t>(queries.size()) / dim, dim);
  if (key_rows.rows < k)
    return InvalidArgument(keys_path + ": " + std::to_string(key_rows.rows) +
                           " keys, fewer than k = " + std::to_string(k));
  const KeySet exact(key_rows, DType::kF32, 1);
  const std::vector<float> centred = SubtractMean(key_rows);
  for (const bool centre : {false, true}) {
    for (const DType dtype : {DType::kBF16, DType::kF16, DType::kI8}) {
      const MatrixView<const float> rows(centre ? centred.data() : keys.data(), key_rows.rows, dim);
      Report(Compare(exact, KeySet(rows, dtype, 1), query_rows, k), dtype, centre, exact.num_rows(),
             query_rows, k);
    }
  }
  return {};
}

}  // namespace
}  // namespace msa::bench

int main(int argc, char** argv) try {
  if (argc != 4 && argc != 5) {
    std::cerr << "usage: msa_route_recall_bench KEYS QUERIES DIM [K]\n";
    return 2;
  }
  const msa::Status status =
      msa::bench::Run(argv[1], argv[2], std::stoll(argv[3]), argc == 5 ? std::stoll(argv[4]) : 16);
  if (!status.ok()) std::cerr << "route_recall: " << status << "\n";
  return status.ok() ? 0 : 1;
} catch (const std::exception& error) {
  std::cerr << "route_recall: " << error.what() << "\n";
  return 2;
}
