#include "msa/eval/data.h"

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <numeric>
#include <random>
#include <unordered_map>

#include "msa/base/utf8.h"
#include "msa/text/passages.h"
#include "msa/text/row_reader.h"
#include "msa/text/whitespace.h"

namespace msa {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr int64_t kMinPassageTokens = 16;
// A document longer than this is cut into passages only around a random place of it.
constexpr size_t kSliceBytes = size_t{64} << 10;

std::string Field(const Json& row, const char* name) {
  const auto it = row.find(name);
  if (it == row.end() || it->is_null()) return "";
  return it->is_string() ? it->get<std::string>() : it->dump();
}

std::vector<std::string> Answers(const Json& row) {
  std::vector<std::string> answers;
  const auto add = [&](const Json& value) {
    if (value.is_string() && !Trim(value.get_ref<const std::string&>()).empty()) {
      answers.emplace_back(Trim(value.get_ref<const std::string&>()));
    }
  };
  if (const auto it = row.find("answers"); it != row.end() && it->is_array()) {
    for (const Json& value : *it) add(value);
  } else if (const auto one = row.find("answer"); one != row.end()) {
    add(*one);
  }
  return answers;
}

Result<std::string> FindRows(const std::string& folder, const std::string& name) {
  for (const char* suffix : {".jsonl", ".jsonl.zst"}) {
    const std::string path = folder + "/" + name + suffix;
    if (fs::exists(path)) return path;
  }
  return NotFound(folder + ": no " + name + ".jsonl and no " + name + ".jsonl.zst");
}

Result<EvalSet> ReadFolder(const std::string& folder) {
  EvalSet set;
  std::unordered_map<std::string, std::map<std::string, double>> relevant;
  MSA_ASSIGN_OR_RETURN(const std::string docs, FindRows(folder, "docs"));
  MSA_ASSIGN_OR_RETURN(const std::string queries, FindRows(folder, "queries"));
  MSA_ASSIGN_OR_RETURN(const std::string qrels, FindRows(folder, "qrels"));
  MSA_RETURN_IF_ERROR(ReadRows(docs, [&](const Json& row) {
    set.documents.push_back({Field(row, "id"), Field(row, "title"), Field(row, "text")});
    return true;
  }));
  MSA_RETURN_IF_ERROR(ReadRows(qrels, [&](const Json& row) {
    const auto rel = row.find("rel");
    const double value = rel != row.end() && rel->is_number() ? rel->get<double>() : 0;
    if (value > 0) relevant[Field(row, "qid")][Field(row, "docid")] = value;
    return true;
  }));
  MSA_RETURN_IF_ERROR(ReadRows(queries, [&](const Json& row) {
    const auto it = relevant.find(Field(row, "id"));
    if (it != relevant.end()) {
      set.questions.push_back({it->first, Field(row, "query"), Answers(row), it->second});
    }
    return true;
  }));
  return set;
}

Result<EvalSet> ReadPairs(const std::string& path) {
  EvalSet set;
  std::unordered_map<std::string, std::string> ids;  // of a document, by its text
  MSA_RETURN_IF_ERROR(ReadRows(path, [&](const Json& row) {
    std::string text = Field(row, "positive");
    if (Trim(text).empty()) return true;
    const auto [it, added] = ids.try_emplace(text, std::to_string(ids.size()));
    if (added) set.documents.push_back({it->second, Field(row, "title"), std::move(text)});
    set.questions.push_back({std::to_string(set.questions.size()),
                             Field(row, "query"),
                             Answers(row),
                             {{it->second, 1.0}}});
    return true;
  }));
  return set;
}

std::vector<Passage> PassagesOf(const EvalDocument& document, const Tokenizer& tokenizer,
                                int64_t passage_tokens, std::mt19937_64& random) {
  std::string_view text = document.text;
  if (text.size() > kSliceBytes) {
    const size_t begin = AlignToCharacter(text, random() % (text.size() - kSliceBytes));
    text = text.substr(begin, AlignToCharacter(text, begin + kSliceBytes) - begin);
  }
  Document cut;
  cut.title = document.title;
  cut.text = ReplaceInvalidUtf8(text);
  std::vector<Passage> passages = SplitPassages(cut, tokenizer, {.max_tokens = passage_tokens});
  std::erase_if(passages,
                [](const Passage& p) { return std::ssize(p.tokens) < kMinPassageTokens; });
  return passages;
}

}  // namespace

Status ReadRows(const std::string& path, FunctionRef<bool(const Json& row)> on_row) {
  MSA_ASSIGN_OR_RETURN(RowReader reader, RowReader::Open(path));
  std::string line;
  while (true) {
    MSA_ASSIGN_OR_RETURN(const bool more, reader.Next(&line));
    if (!more) return OkStatus();
    const Json row = Json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (!row.is_object()) {
      return DataLoss(path + ":" + std::to_string(reader.number()) + ": not a JSON object");
    }
    if (!on_row(row)) return OkStatus();
  }
}

Result<EvalSet> ReadEvalSet(const std::string& path) {
  if (!fs::exists(path)) return NotFound(path + ": no such file or folder");
  const bool folder = fs::is_directory(path);
  Result<EvalSet> read = folder ? ReadFolder(path) : ReadPairs(path);
  MSA_ASSIGN_OR_RETURN(EvalSet set, std::move(read));
  const fs::path normal = fs::absolute(path).lexically_normal();
  const fs::path last = normal.has_filename() ? normal.filename() : normal.parent_path().filename();
  set.name = folder ? last.string() : last.string().substr(0, last.string().find(".jsonl"));
  if (set.questions.empty()) {
    return InvalidArgument(path + ": no question has a relevant document");
  }
  return set;
}

Result<DocumentRankings> ReadRankings(const std::string& path) {
  std::unordered_map<std::string, std::vector<std::pair<double, std::string>>> found;
  MSA_RETURN_IF_ERROR(ReadRows(path, [&](const Json& row) {
    const auto score = row.find("score");
    const bool scored = score != row.end() && score->is_number();
    if (scored) found[Field(row, "qid")].emplace_back(score->get<double>(), Field(row, "docid"));
    return true;
  }));
  if (found.empty()) {
    return InvalidArgument(path + ": no row has \"qid\", \"docid\" and a number \"score\"");
  }
  DocumentRankings rankings;
  for (auto& [question, documents] : found) {
    std::stable_sort(documents.begin(), documents.end(),
                     [](const auto& a, const auto& b) { return a.first > b.first; });
    for (auto& [score, id] : documents) rankings[question].push_back(std::move(id));
  }
  return rankings;
}

Result<std::vector<EvalDocument>> SampleCorpus(const std::string& path, int64_t count,
                                               uint64_t seed) {
  std::vector<EvalDocument> all;
  MSA_RETURN_IF_ERROR(ReadRows(path, [&](const Json& row) {
    std::string text = Field(row, "text");
    if (Trim(text).empty()) return true;
    std::string id = Field(row, "id");
    if (id.empty()) id = std::to_string(all.size());
    all.push_back({std::move(id), Field(row, "title"), std::move(text)});
    return true;
  }));
  if (all.empty()) return InvalidArgument(path + ": no row has a \"text\"");
  std::vector<EvalDocument> chosen;
  for (const int64_t i : SampleIndexes(std::ssize(all), count, seed)) {
    chosen.push_back(std::move(all[static_cast<size_t>(i)]));
  }
  return chosen;
}

std::vector<int64_t> SampleIndexes(int64_t size, int64_t count, uint64_t seed) {
  std::vector<int64_t> indexes(static_cast<size_t>(size));
  std::iota(indexes.begin(), indexes.end(), 0);
  if (count <= 0 || count >= size) return indexes;
  std::mt19937_64 random(seed);
  // Fisher and Yates, by hand: std::shuffle differs between libraries.
  for (int64_t i = 0; i < count; ++i) {
    const auto other = i + static_cast<int64_t>(random() % static_cast<uint64_t>(size - i));
    std::swap(indexes[static_cast<size_t>(i)], indexes[static_cast<size_t>(other)]);
  }
  indexes.resize(static_cast<size_t>(count));
  std::sort(indexes.begin(), indexes.end());
  return indexes;
}

std::vector<EvalPassage> SamplePassages(std::span<const EvalDocument> documents,
                                        const Tokenizer& tokenizer, int64_t passage_tokens,
                                        int64_t count, uint64_t seed) {
  std::mt19937_64 random(seed);
  const auto each = (count + std::ssize(documents) - 1) / std::ssize(documents);
  std::vector<EvalPassage> chosen;
  for (int64_t d = 0; d < std::ssize(documents) && std::ssize(chosen) < count; ++d) {
    std::vector<Passage> passages =
        PassagesOf(documents[static_cast<size_t>(d)], tokenizer, passage_tokens, random);
    for (const int64_t p : SampleIndexes(std::ssize(passages),
                                         std::min(each, count - std::ssize(chosen)), random())) {
      chosen.push_back({d, std::move(passages[static_cast<size_t>(p)].tokens)});
    }
  }
  return chosen;
}

}  // namespace msa
