// What keys in fewer bits cost a ranking: the share of f32's best k passages that bf16, f16 and
// int8 keys find too, over the questions of a file. One JSON line a dtype.
//
//   msa_route_recall_bench KEYS QUERIES DIM [K]
//
// Each dtype twice: plain, and with keys and queries rotated as a bank does it for int8.
//
// KEYS, QUERIES: raw f32 rows, as bench/route_keys.py writes them; every query is a question. A
// latent is ranked by itself, not by passages, so that neighbours in rank are as close as they get.

#include <algorithm>
#include <cstdio>
#include <iostream>

#include "msa/kernels/rotate.h"
#include "route_data.h"

namespace msa::bench {
namespace {

struct Recall {
  int64_t found = 0;
  int64_t wanted = 0;
  int64_t worst = 0;  // fewest found of one question
};

Recall Compare(const KeySet& exact, MatrixView<const float> queries, const KeySet& coarse,
               MatrixView<const float> coarse_queries, int64_t k) {
  const auto route = [k](const KeySet& keys, std::span<const float> query) {
    return Question({query.data(), 1, std::ssize(query)}, k, nullptr).Route(keys.View(), BestIsa());
  };
  Recall recall = {.found = 0, .wanted = 0, .worst = k};
  for (int64_t q = 0; q < queries.rows; ++q) {
    const std::vector<RouteHit> wanted = route(exact, queries.row(q));
    const std::vector<RouteHit> found = route(coarse, coarse_queries.row(q));
    int64_t both = 0;
    for (const RouteHit& hit : wanted)
      both += std::ranges::count(found, hit.passage, &RouteHit::passage);
    recall.found += both;
    recall.wanted += k;
    recall.worst = std::min(recall.worst, both);
  }
  return recall;
}

std::vector<float> Rotated(MatrixView<const float> rows) {
  std::vector<float> out(rows.data, rows.data + rows.rows * rows.cols);
  RotateRows({out.data(), rows.rows, rows.cols});
  return out;
}

void Report(const Recall& recall, DType dtype, bool rotated, int64_t latents,
            MatrixView<const float> queries, int64_t k) {
  std::printf(
      "{\"bench\": \"route_recall\", \"dtype\": \"%s\", \"rotated\": %s, \"isa\": \"%s\", "
      "\"latents\": %ld, \"dim\": %ld, \"questions\": %ld, \"k\": %ld, \"recall\": %.4f, "
      "\"worst\": %ld}\n",
      std::string(DTypeName(dtype)).c_str(), rotated ? "true" : "false",
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
  const std::vector<float> rotated_keys = Rotated(key_rows);
  const std::vector<float> rotated_queries = Rotated(query_rows);
  for (const bool rotate : {false, true}) {
    const MatrixView<const float> rows(rotate ? rotated_keys.data() : keys.data(), key_rows.rows,
                                       dim);
    const MatrixView<const float> asked(rotate ? rotated_queries.data() : queries.data(),
                                        query_rows.rows, dim);
    for (const DType dtype : {DType::kBF16, DType::kF16, DType::kI8}) {
      Report(Compare(exact, query_rows, KeySet(rows, dtype, 1), asked, k), dtype, rotate,
             exact.num_rows(), query_rows, k);
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
