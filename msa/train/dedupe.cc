#include "msa/train/dedupe.h"

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "msa/base/check.h"
#include "msa/text/row_reader.h"

namespace msa {
namespace {

namespace fs = std::filesystem;

// With fewer sampled grams (texts of about 30 words) a share says nothing; such texts are compared
// exactly only.
constexpr size_t kMinGrams = 4;

}  // namespace

size_t HashTable::Slot(uint64_t hash) const {
  const size_t mask = hashes_.size() - 1;
  size_t slot = (hash * 0x9E3779B97F4A7C15 >> 20) & mask;
  while (values_[slot] >= 0 && hashes_[slot] != hash) slot = (slot + 1) & mask;
  return slot;
}

void HashTable::Insert(uint64_t hash, int32_t value) {
  MSA_DCHECK(value >= 0);
  if (10 * size_ >= 7 * hashes_.size()) Grow();
  const size_t slot = Slot(hash);
  if (values_[slot] >= 0) return;
  hashes_[slot] = hash;
  values_[slot] = value;
  ++size_;
}

int32_t HashTable::Find(uint64_t hash) const { return size_ == 0 ? -1 : values_[Slot(hash)]; }

void HashTable::Grow() {
  const std::vector<uint64_t> hashes = std::move(hashes_);
  const std::vector<int32_t> values = std::move(values_);
  const size_t size = std::max<size_t>(1 << 10, 2 * hashes.size());
  hashes_.assign(size, 0);
  values_.assign(size, -1);
  for (size_t i = 0; i < hashes.size(); ++i) {
    if (values[i] < 0) continue;
    const size_t slot = Slot(hashes[i]);
    hashes_[slot] = hashes[i];
    values_[slot] = values[i];
  }
}

std::optional<PassageRange> SeenDocuments::FindEqual(uint64_t text_hash) const {
  const auto found = texts_.find(text_hash);
  if (found == texts_.end()) return std::nullopt;
  return found->second;
}

SeenDocuments::Overlap SeenDocuments::Summarise(std::vector<std::pair<int32_t, int32_t>> hits,
                                                size_t num_grams) {
  Overlap overlap;
  if (num_grams < kMinGrams || hits.empty()) return overlap;
  std::ranges::sort(hits);
  const auto total = static_cast<double>(num_grams);
  overlap.seen = static_cast<double>(hits.size()) / total;
  // The document with the most hits; of equal ones the first.
  auto best_begin = hits.begin();
  auto best_end = hits.begin();
  for (auto begin = hits.begin(); begin != hits.end();) {
    const auto end =
        std::find_if(begin, hits.end(), [&](const auto& hit) { return hit.first != begin->first; });
    if (end - begin > best_end - best_begin) {
      best_begin = begin;
      best_end = end;
    }
    begin = end;
  }
  overlap.in_one = static_cast<double>(best_end - best_begin) / total;
  // Its passages from the first to the last that has more than a stray phrase.
  std::vector<std::pair<int32_t, int64_t>> counts;
  for (auto hit = best_begin; hit != best_end; ++hit) {
    if (counts.empty() || counts.back().first != hit->second) counts.emplace_back(hit->second, 0);
    ++counts.back().second;
  }
  const int64_t most =
      std::ranges::max_element(counts, {}, &std::pair<int32_t, int64_t>::second)->second;
  std::erase_if(counts, [&](const auto& count) { return 4 * count.second < most; });
  overlap.best = {counts.front().first, counts.back().first - counts.front().first + 1};
  return overlap;
}

bool EvaluationText::HasAnyGram(std::span<const uint64_t> words) const {
  return grams_.size() > 0 &&
         std::ranges::any_of(GramHashes(words), [&](uint64_t gram) { return HasGram(gram); });
}

void EvaluationText::AddText(std::string_view text) {
  for (const uint64_t gram : GramHashes(FindWords(text).hashes)) grams_.Insert(gram, 0);
}

Status EvaluationText::AddFile(const std::string& path) {
  MSA_ASSIGN_OR_RETURN(RowReader reader, RowReader::Open(path));
  std::string line;
  for (;;) {
    MSA_ASSIGN_OR_RETURN(const bool more, reader.Next(&line));
    if (!more) return OkStatus();
    const auto row = nlohmann::json::parse(line, nullptr, false);
    if (!row.is_object()) return InvalidArgument(reader.place() + ": not a JSON object");
    const auto text = [&](const char* key) {
      return row.contains(key) && row[key].is_string() ? row[key].get<std::string>()
                                                       : std::string();
    };
    AddText(text("title") + "\n" + text("text"));
    const std::string query = text("query");
    if (!query.empty()) {
      AddText(query);
      questions_.insert(TextHash(FindWords(query).hashes, query));
    }
    if (!row.contains("answers") || !row["answers"].is_array()) continue;
    for (const auto& answer : row["answers"]) {
      if (answer.is_string()) AddText(answer.get<std::string>());
    }
  }
}

Status EvaluationText::AddFolder(const std::string& path) {
  const auto set_files = [](const fs::path& folder) {
    std::vector<fs::path> files;
    for (const char* name :
         {"docs.jsonl", "docs.jsonl.zst", "queries.jsonl", "queries.jsonl.zst"}) {
      std::error_code error;
      if (fs::is_regular_file(folder / name, error)) files.push_back(folder / name);
    }
    return files;
  };
  std::vector<fs::path> files = set_files(path);
  std::error_code error;
  for (fs::directory_iterator entry(path, error), end; !error && entry != end;
       entry.increment(error)) {
    const auto more = set_files(entry->path());
    files.insert(files.end(), more.begin(), more.end());
  }
  if (files.empty()) {
    return NotFound(path +
                    ": no evaluation set: no docs.jsonl or queries.jsonl[.zst], here or in "
                    "a folder below");
  }
  for (const fs::path& file : files) MSA_RETURN_IF_ERROR(AddFile(file.string()));
  return OkStatus();
}

}  // namespace msa
