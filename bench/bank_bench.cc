// The bank without a model: documents added a second and what that costs the last ones, and lexical
// search over many passages. One JSON line a case.
//
//   msa_bank_bench add [--documents 100000] [--words 60] [--commit 5000]
//   msa_bank_bench search [--passages 600000] [--words 150] [--text FILE] [--queries FILE]
//   msa_bank_bench history [--documents 100000] [--words 10]: half of them replaced, then going
//   back,
//       opening, the log, an audit, and erasing one document
//   msa_bank_bench rewrite [--documents 20000] [--words 60] [--rewrites 10]: space after every
//       document was replaced so often, with a latent of 1 KB a passage, and what compacting makes
//       of it
//   msa_bank_bench fill --folder DIR …as search: makes the bank and leaves it; search then finds it
//
// Common: [--folder DIR], where the bank is made (and, but for fill, removed again); a temporary
// one by default.
// Text is drawn from a Zipf law over 200,000 words, unless FILE gives a passage a line, as
// "title<tab>text", and questions, one a line.

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "bank_data.h"
#include "msa/bank/bank.h"
#include "msa/bank/catalog.h"
#include "msa/bank/lexical_search.h"

namespace msa::bench {
namespace {

void BenchAdd(Bank& bank, const Options& options) {
  const int64_t documents = Number(options, "--documents", 100000);
  const int64_t words = Number(options, "--words", 60);
  const int64_t commit = Number(options, "--commit", 5000);
  const int64_t part = documents / 10;
  ZipfText source;
  auto writer = Require(bank.StartWrite());
  std::vector<double> part_cpu;  // of each tenth
  double total = 0;
  double total_cpu = 0;
  for (int64_t i = 0; i < documents; ++i) {
    NewDocument document = MakeDocument(i, source.Words(4));
    AddPassage(&document, source.Words(words));
    const auto start = Clock::now();
    const double cpu_start = CpuSeconds();
    Require(writer->Add(std::move(document)));
    if ((i + 1) % commit == 0 || i + 1 == documents) Require(writer->Commit("bench"));
    total += SecondsSince(start);
    const double cpu = CpuSeconds() - cpu_start;
    total_cpu += cpu;
    if (i % part == 0) part_cpu.push_back(0);
    part_cpu.back() += cpu;
  }
  const BankStats stats = Require(Require(bank.Latest())->Stats());
  if (stats.documents != documents) throw std::runtime_error("documents are missing");
  int64_t disk = 0;
  for (const auto& [kind, bytes] : stats.disk_bytes) disk += bytes;
  std::string tenths;
  for (const double cpu : part_cpu) {
    tenths += (tenths.empty() ? "" : ", ") +
              std::to_string(std::llround(cpu / static_cast<double>(part) * 1e6));
  }
  std::printf(
      "{\"case\": \"add\", \"documents\": %lld, \"text_bytes\": %lld, \"commit_every\": %lld, "
      "\"documents_per_s\": %.0f, \"documents_per_cpu_s\": %.0f, "
      "\"cpu_us_per_document_by_tenth\": [%s], \"disk_bytes\": %lld, \"peak_MB\": %.0f}\n",
      static_cast<long long>(documents), static_cast<long long>(stats.text_bytes),
      static_cast<long long>(commit), static_cast<double>(documents) / total,
      static_cast<double>(documents) / total_cpu, tenths.c_str(), static_cast<long long>(disk),
      PeakMegabytes());
}

void BenchHistory(std::unique_ptr<Bank> bank, const Options& options) {
  const int64_t documents = Number(options, "--documents", 100000);
  const int64_t words = Number(options, "--words", 10);
  const std::string path = bank->path();
  ZipfText source;
  const auto add = [&](int64_t count, BankWriter& writer) {
    for (int64_t i = 0; i < count; ++i) {
      NewDocument document = MakeDocument(i, source.Words(4));
      AddPassage(&document, source.Words(words));
      Require(writer.Add(std::move(document)));
    }
    Require(writer.Commit("bench"));
  };
  auto writer = Require(bank->StartWrite());
  const double add_ms = Milliseconds([&] { add(documents, *writer); });
  add(documents / 2, *writer);
  std::vector<double> reverts;
  for (int i = 0; i < 21; ++i) {
    reverts.push_back(
        Milliseconds([&] { Require(writer->Revert(RevisionId{1 + i % 2}, "bench")); }));
  }
  std::ranges::sort(reverts);
  writer.reset();
  bank.reset();

  int64_t listed = 0;
  const double list_ms = Milliseconds([&] {
    bank = Require(Bank::Open(path));
    Require(Require(bank->Latest())->ForEachDocument({}, [&](const DocumentInfo&) {
      return ++listed < 1;
    }));
  });
  const double log_ms =
      Milliseconds([&] { Require(bank->Log([](const RevisionInfo&) { return true; })); });
  const double audit_ms = Milliseconds([&] { Require(bank->Audit()); });
  const double erase_ms = Milliseconds([&] {
    const EraseRequest request{.documents = {"document-7"}, .where = {}};
    const auto report = Require(Require(bank->StartWrite())->Erase(request, "bench"));
    if (!report.waits_for.empty()) throw std::runtime_error("waits for " + report.waits_for);
  });
  std::printf(
      "{\"case\": \"history\", \"documents\": %lld, \"versions\": %lld, \"add_per_s\": %.0f, "
      "\"revert_p50_ms\": %.2f, \"revert_max_ms\": %.2f, \"open_to_first_listed_ms\": %.0f, "
      "\"log_ms\": %.0f, \"audit_ms\": %.0f, \"erase_one_ms\": %.0f}\n",
      static_cast<long long>(documents), static_cast<long long>(documents + documents / 2),
      static_cast<double>(documents) / add_ms * 1e3, reverts[reverts.size() / 2], reverts.back(),
      list_ms, log_ms, audit_ms, erase_ms);
}

int64_t DiskBytes(Bank& bank, std::string* by_kind) {
  int64_t sum = 0;
  for (const auto& [kind, bytes] : Require(Require(bank.Latest())->Stats()).disk_bytes) {
    sum += bytes;
    *by_kind += (by_kind->empty() ? "\"" : ", \"") + kind + "\": " + std::to_string(bytes);
  }
  return sum;
}

// Replaces every document, and gives all passages latents.
void Rewrite(Bank& bank, BankWriter& writer, int64_t documents, int64_t words, ZipfText* source) {
  const LatentLayout layout{.key_dim = 192,
                            .layers = 2,
                            .kv_heads = 3,
                            .head_dim = 64,
                            .key_dtype = DType::kI8,
                            .latent_dtype = DType::kI8};
  for (int64_t i = 0; i < documents; ++i) {
    NewDocument document = MakeDocument(i, source->Words(4));
    AddPassage(&document, source->Words(words));
    Require(writer.Add(std::move(document)));
  }
  Require(writer.Commit("bench"));
  const EncodingId encoding = Require(writer.OpenEncoding({{}, "feed", "{}", layout}));
  const LatentBlock block{{1},
                          64,
                          std::vector<std::byte>(static_cast<size_t>(layout.key_row_bytes())),
                          {1},
                          std::vector<std::byte>(static_cast<size_t>(layout.latent_row_bytes())),
                          std::vector<float>(static_cast<size_t>(layout.latent_row_scales()))};
  for (const auto& run : Require(Require(bank.Latest())->FindUnencoded(encoding))) {
    Require(writer.AddLatents(encoding, run.version, run.first_passage, block));
  }
  Require(writer.CommitLatents());
}

void BenchRewrite(Bank& bank, const Options& options) {
  const int64_t documents = Number(options, "--documents", 20000);
  const int64_t words = Number(options, "--words", 60);
  const int64_t rewrites = Number(options, "--rewrites", 10);
  const auto print = [&](const char* state, double milliseconds) {
    std::string kinds;
    const int64_t bytes = DiskBytes(bank, &kinds);
    std::printf(
        "{\"case\": \"rewrite\", \"documents\": %lld, \"state\": \"%s\", \"ms\": %.0f, "
        "\"disk_bytes\": %lld, %s}\n",
        static_cast<long long>(documents), state, milliseconds, static_cast<long long>(bytes),
        kinds.c_str());
    std::fflush(stdout);
  };
  ZipfText source;
  auto writer = Require(bank.StartWrite());
  const auto rewrite = [&] { Rewrite(bank, *writer, documents, words, &source); };
  print("written once", Milliseconds(rewrite));
  const double rewritten_ms = Milliseconds([&] {
    for (int64_t i = 0; i < rewrites; ++i) rewrite();
  });
  print("rewritten, everything kept", rewritten_ms);
  const auto compact = [&](const char* state, const Retention& retention) {
    print(state, Milliseconds([&] { Require(writer->Compact(retention)); }));
  };
  compact("compacted, latents of the newest kept", {.latents_days = 0});
  compact("compacted, text of the newest kept", {.text_days = 0, .latents_days = 0});
  const double automatic_ms = Milliseconds([&] {
    for (int64_t i = 0; i < rewrites; ++i) rewrite();
  });
  print("rewritten again, the newest kept, compacting by itself", automatic_ms);
}

// Passages and questions, from files or drawn.
class SearchText {
 public:
  explicit SearchText(const Options& options) : words_(Number(options, "--words", 150)) {
    if (options.contains("--text")) text_.open(options.at("--text"));
    if (options.contains("--queries")) {
      std::ifstream file(options.at("--queries"));
      for (std::string line; std::getline(file, line);) questions_.push_back(line);
    } else {
      for (int i = 0; i < 1000; ++i) questions_.push_back(zipf_.Words(12));
    }
  }
  bool Next(std::string* title, std::string* text) {
    if (!text_.is_open()) {
      *title = zipf_.Words(4);
      *text = zipf_.Words(words_);
      return true;
    }
    std::string line;
    if (!std::getline(text_, line)) return false;
    const size_t tab = std::min(line.find('\t'), line.size());
    *title = line.substr(0, tab);
    *text = line.substr(std::min(tab + 1, line.size()));
    return true;
  }
  const std::vector<std::string>& questions() const { return questions_; }

 private:
  const int64_t words_;
  ZipfText zipf_;
  std::ifstream text_;
  std::vector<std::string> questions_;
};

void AddPassages(Bank& bank, int64_t passages, SearchText* source) {
  auto writer = Require(bank.StartWrite());
  NewDocument document;
  std::string title;
  std::string text;
  for (int64_t added = 0; added < passages && source->Next(&title, &text); ++added) {
    if (document.passages.size() == 6 || document.title != title) {
      if (!document.passages.empty()) Require(writer->Add(std::move(document)));
      document = MakeDocument(added, title);
    }
    AddPassage(&document, text);
    if (writer->pending_text_bytes() >= 16 << 20) Require(writer->Commit("bench"));
  }
  if (!document.passages.empty()) Require(writer->Add(std::move(document)));
  Require(writer->Commit("bench"));
}

// Of the ten best passages when every match is scored, how many the search found.
double Agreement(Bank& bank, const std::vector<std::string>& questions) {
  auto catalog = Require(Catalog::Open(bank.path() + "/catalog.sqlite", Catalog::Access::kRead));
  std::vector<std::shared_ptr<LexicalShard>> shards;
  PassageSet visible;
  for (const Catalog::ShardRow& row : Require(catalog.Shards())) {
    const std::string path = BankLayout{bank.path()}.File(FileKind::kLexical, row.file);
    shards.push_back(Require(LexicalShard::Open(path, row.length_bytes, row.blocks)));
    visible.AddRange(row.first_passage, row.end_passage - row.first_passage);
  }
  const auto snapshot = Require(bank.Latest());
  int64_t same = 0;
  int64_t all = 0;
  for (size_t q = 0; q < questions.size(); q += 20) {
    const auto found = Require(snapshot->SearchLexical(questions[q], 10, {}));
    const auto best = Require(
        SearchShards(shards, visible, questions[q], 10, {.candidate_postings = int64_t{1} << 60}));
    for (const LexicalHit& hit : best) {
      same += std::ranges::count(found, hit.passage, &LexicalHit::passage);
      ++all;
    }
  }
  return all == 0 ? 1 : static_cast<double>(same) / static_cast<double>(all);
}

void Fill(Bank& bank, const Options& options) {
  SearchText source(options);
  AddPassages(bank, Number(options, "--passages", 600000), &source);
  std::printf("{\"case\": \"fill\", \"peak_MB\": %.0f}\n", PeakMegabytes());
}

void BenchSearch(Bank& bank, const Options& options) {
  SearchText source(options);
  const auto snapshot = Require(bank.Latest());
  const int64_t passages = Require(snapshot->Stats()).passages;
  Require(snapshot->SearchLexical(source.questions().front(), 100, {}));  // opens the shards
  std::vector<double> ms;
  std::vector<double> cpu_ms;
  for (const std::string& question : source.questions()) {
    const auto start = Clock::now();
    const double cpu_start = CpuSeconds();
    Require(snapshot->SearchLexical(question, 100, {}));
    ms.push_back(SecondsSince(start) * 1e3);
    cpu_ms.push_back((CpuSeconds() - cpu_start) * 1e3);
  }
  std::ranges::sort(ms);
  std::ranges::sort(cpu_ms);
  const double search_peak = PeakMegabytes();
  const double agreement = Agreement(bank, source.questions());
  std::printf(
      "{\"case\": \"search\", \"passages\": %lld, \"questions\": %zu, \"k\": 100, \"threads\": 1, "
      "\"p50_ms\": %.1f, \"p90_ms\": %.1f, \"p99_ms\": %.1f, \"max_ms\": %.1f, \"p50_cpu_ms\": "
      "%.1f, \"p99_cpu_ms\": %.1f, "
      "\"agreement_at_10\": %.4f, \"lexical_bytes\": %lld, \"peak_MB\": %.0f}\n",
      static_cast<long long>(passages), ms.size(), ms[ms.size() / 2], ms[ms.size() * 9 / 10],
      ms[ms.size() * 99 / 100], ms.back(), cpu_ms[cpu_ms.size() / 2],
      cpu_ms[cpu_ms.size() * 99 / 100], agreement,
      static_cast<long long>(Require(snapshot->Stats()).disk_bytes["lexical"]), search_peak);
}

int Run(int argc, char** argv) {
  const std::string command = argc > 1 ? argv[1] : "";
  const Options options = ParseOptions(argc, argv, 2);
  const bool known = command == "add" || command == "history" || command == "rewrite" ||
                     command == "fill" || command == "search";
  if (!known || argc % 2 != 0) {
    std::fprintf(stderr,
                 "usage: msa_bank_bench add|history|rewrite|fill|search [--option value]…\n");
    return 2;
  }
  const std::string folder = Folder(options, "msa_bank_bench");
  const bool filled =
      command == "search" && options.contains("--folder") && std::filesystem::exists(folder);
  if (!filled) {
    std::filesystem::remove_all(folder);
    auto bank = Require(Bank::Create(folder, {}));
    if (command == "add") BenchAdd(*bank, options);
    if (command == "history") BenchHistory(std::move(bank), options);
    if (command == "rewrite") BenchRewrite(*bank, options);
    if (command == "fill" || command == "search") Fill(*bank, options);
  }
  if (command == "search") BenchSearch(*Require(Bank::Open(folder)), options);
  if (command != "fill" && !filled) std::filesystem::remove_all(folder);
  return 0;
}

}  // namespace
}  // namespace msa::bench

int main(int argc, char** argv) { return msa::bench::Main(argc, argv, msa::bench::Run); }
