// A bank, an encrypted bank and plain SQLite (bank_stores.h) doing the same writes and asked the
// same, in turns, so that all meet the same machine. No encoding. One JSON line a measure, "ratio"
// (and "sealed_ratio", of the encrypted bank) above 1 where the bank is better than SQLite.
//
//   msa_bank_rival_bench [--documents 1000000] [--words 20] [--batch 5000] [--commits 300]
//       [--replaced 100000] [--rounds 5] [--rewritten 20000] [--folder DIR]
//
// First, in stores of their own, replaces every one of some documents ten times. Then adds the
// documents in batches; single documents, a commit each; opens, lists and searches; replaces some
// and goes back; erases one document after another. DIR, a temporary folder by default, is removed
// at the end.

#include <stdlib.h>

#include <array>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <numeric>
#include <utility>

#include "bank_data.h"
#include "bank_stores.h"

namespace msa::bench {
namespace {

constexpr size_t kBank = 0;
constexpr size_t kSealed = 1;
constexpr size_t kSqlite = 2;
constexpr size_t kStores = 3;

using PerStore = std::array<double, kStores>;
// Of one measure.
using Samples = std::array<std::vector<double>, kStores>;

class Race {
 public:
  Race(const std::string& folder, const Options& options) : words_(Number(options, "--words", 20)) {
    std::filesystem::create_directories(folder);
    stores_[kBank] = MakeBankStore(folder + "/bank", /*encrypt=*/false);
    stores_[kSealed] = MakeBankStore(folder + "/sealed", /*encrypt=*/true);
    stores_[kSqlite] = MakeSqliteStore(folder + "/sqlite");
    for (const auto& store : stores_) store->Open();
  }

  void Add(int64_t documents, int64_t batch) {
    PerStore seconds{};
    PerStore cpu{};
    AddAll(documents, batch, &seconds, &cpu);
    const auto rate = [&](const PerStore& spent) {
      PerStore rates;
      for (size_t i = 0; i < kStores; ++i) rates[i] = static_cast<double>(documents) / spent[i];
      return rates;
    };
    Print("add, documents/s", rate(seconds), /*more_is_better=*/true);
    Print("add, documents/s of processor time", rate(cpu), /*more_is_better=*/true);
    Print("bytes on disk, MB", Megabytes(), /*more_is_better=*/false);
  }

  // Commits of one document, at the size that the stores have.
  void CommitSingles(int64_t first, int64_t commits) {
    Samples ms;
    for (int64_t n = 0; n < commits; ++n) {
      const auto drawn = Draw(first + n, 1);
      for (size_t i = 0; i < kStores; ++i) {
        ms[i].push_back(Milliseconds([&] { PutAll(*stores_[i], drawn); }));
      }
    }
    PrintTimes("commit of one document, ms", std::move(ms));
  }

  void OpenAndRead(int64_t rounds) {
    EachRound("open to the first document listed, ms", rounds, [](Store& store) {
      store.Open();
      if (store.FirstListed().empty()) throw std::runtime_error("nothing is listed");
    });
    EachRound("open to the first answer by words, ms", rounds, [](Store& store) {
      store.Open();
      if (store.Search("w15000 w170") == 0) throw std::runtime_error("nothing is found");
    });
    for (const auto& store : stores_) store->Open();
  }

  // Replaces documents, and goes back before that and forth again.
  void GoBack(int64_t replaced, int64_t rounds) {
    const auto drawn = Draw(0, replaced);
    Samples ms;
    std::array<int64_t, kStores> revision{};
    for (size_t i = 0; i < kStores; ++i) {
      ms[i].push_back(Milliseconds([&] { revision[i] = PutAll(*stores_[i], drawn); }));
    }
    PrintTimes("replacing " + std::to_string(replaced) + " documents, ms", std::exchange(ms, {}));
    for (int64_t n = 0; n < rounds; ++n) {
      for (size_t i = 0; i < kStores; ++i) {
        const int64_t target = revision[i] - (n + 1) % 2;
        ms[i].push_back(Milliseconds([&] { stores_[i]->Revert(target); }));
      }
    }
    PrintTimes("going back over that, ms", std::move(ms));
  }

  void Erase(int64_t rounds) {
    Samples ms;
    for (int64_t n = 0; n < rounds; ++n) {
      const std::string key = "document-" + std::to_string(1000 * n + 7);
      for (size_t i = 0; i < kStores; ++i) {
        ms[i].push_back(Milliseconds([&] { stores_[i]->Erase(key); }));
      }
    }
    PrintTimes("erasing one document, ms", std::move(ms));
    CheckCounts();
  }

  // The stores keep every version's text. REQUIRES: they are new.
  void RewriteAll(int64_t documents, int64_t batch, int times) {
    PerStore seconds{};
    PerStore cpu{};
    AddAll(documents, batch, &seconds, &cpu);
    Print("MB on disk of " + std::to_string(documents) + " documents", CloseAndMeasure(),
          /*more_is_better=*/false);
    for (int n = 0; n < times; ++n) AddAll(documents, batch, &seconds, &cpu);
    Print("the same after " + std::to_string(times) + " rewrites of each", CloseAndMeasure(),
          /*more_is_better=*/false);
    CheckCounts();
  }

 private:
  void AddAll(int64_t documents, int64_t batch, PerStore* seconds, PerStore* cpu) {
    for (int64_t added = 0; added < documents; added += batch) {
      const auto drawn = Draw(added, std::min(batch, documents - added));
      for (size_t i = 0; i < kStores; ++i) {
        const double cpu_start = CpuSeconds();
        (*seconds)[i] += Milliseconds([&] { PutAll(*stores_[i], drawn); }) / 1e3;
        (*cpu)[i] += CpuSeconds() - cpu_start;
      }
    }
  }

  std::vector<NewDocument> Draw(int64_t first, int64_t count) {
    std::vector<NewDocument> documents;
    for (int64_t i = 0; i < count; ++i) {
      documents.push_back(MakeDocument(first + i, text_.Words(4)));
      AddPassage(&documents.back(), text_.Words(words_));
    }
    return documents;
  }

  static int64_t PutAll(Store& store, const std::vector<NewDocument>& documents) {
    for (const NewDocument& document : documents) store.Put(document);
    return store.Commit();
  }

  // `read` opens the store.
  void EachRound(const std::string& measure, int64_t rounds,
                 const std::function<void(Store&)>& read) {
    Samples ms;
    for (int64_t n = 0; n < rounds; ++n) {
      for (size_t i = 0; i < kStores; ++i) {
        stores_[i]->Close();
        ms[i].push_back(Milliseconds([&] { read(*stores_[i]); }));
      }
    }
    PrintTimes(measure, std::move(ms));
  }

  void CheckCounts() {
    for (const auto& store : stores_) {
      if (store->CountDocuments() != stores_[kSqlite]->CountDocuments()) {
        throw std::runtime_error("the stores hold different numbers of documents");
      }
    }
  }

  PerStore Megabytes() const {
    PerStore megabytes;
    for (size_t i = 0; i < kStores; ++i) {
      megabytes[i] = static_cast<double>(stores_[i]->DiskBytes()) / 1e6;
    }
    return megabytes;
  }
  // Without a WAL, which goes when a store is closed.
  PerStore CloseAndMeasure() {
    for (const auto& store : stores_) store->Close();
    const PerStore megabytes = Megabytes();
    for (const auto& store : stores_) store->Open();
    return megabytes;
  }

  static void Print(const std::string& measure, const PerStore& values, bool more_is_better) {
    const auto ratio = [&](size_t store) {
      const double share = values[store] / values[kSqlite];
      return more_is_better ? share : 1 / share;
    };
    std::printf(
        "{\"measure\": \"%s\", \"bank\": %.1f, \"sealed\": %.1f, \"sqlite\": %.1f, "
        "\"ratio\": %.2f, \"sealed_ratio\": %.2f}\n",
        measure.c_str(), values[kBank], values[kSealed], values[kSqlite], ratio(kBank),
        ratio(kSealed));
    std::fflush(stdout);
  }

  static void PrintTimes(const std::string& measure, Samples ms) {
    for (auto& samples : ms) std::ranges::sort(samples);
    const auto p = [&](size_t store, double share) { return Quantile(ms[store], share); };
    std::printf("{\"measure\": \"%s\", \"samples\": %zu", measure.c_str(), ms[kBank].size());
    const std::array<const char*, kStores> names = {"bank", "sealed", "sqlite"};
    for (size_t i = 0; i < kStores; ++i) {
      std::printf(", \"%s_p50\": %.2f, \"%s_p99\": %.2f", names[i], p(i, .5), names[i], p(i, .99));
    }
    std::printf(", \"ratio\": %.2f, \"sealed_ratio\": %.2f}\n", p(kSqlite, .5) / p(kBank, .5),
                p(kSqlite, .5) / p(kSealed, .5));
    std::fflush(stdout);
  }

  std::array<std::unique_ptr<Store>, kStores> stores_;
  const int64_t words_;
  ZipfText text_;
};

int Run(int argc, char** argv) {
  const Options options = ParseOptions(argc, argv, 1);
  if (argc % 2 == 0) {
    std::fprintf(stderr, "usage: msa_bank_rival_bench [--option value]…\n");
    return 2;
  }
  const std::string folder = Folder(options, "msa_bank_rival_bench");
  std::filesystem::remove_all(folder);
  ::setenv("MSA_KEYRINGS", (folder + "/keys").c_str(), 1);
  ::setenv("MSA_MASTER_KEY_FILE", (folder + "/master.key").c_str(), 1);
  ::unsetenv("MSA_MASTER_KEY");
  const int64_t documents = Number(options, "--documents", 1000000);
  const int64_t rounds = Number(options, "--rounds", 5);
  const int64_t batch = Number(options, "--batch", 5000);
  Race(folder + "/rewritten", options).RewriteAll(Number(options, "--rewritten", 20000), batch, 10);
  {
    Race race(folder + "/race", options);
    race.Add(documents, batch);
    race.CommitSingles(documents, Number(options, "--commits", 300));
    race.OpenAndRead(rounds);
    race.GoBack(Number(options, "--replaced", 100000), rounds);
    race.Erase(rounds);
    std::printf("{\"measure\": \"peak of all together, MB\", \"value\": %.0f}\n", PeakMegabytes());
  }
  std::filesystem::remove_all(folder);
  return 0;
}

}  // namespace
}  // namespace msa::bench

int main(int argc, char** argv) { return msa::bench::Main(argc, argv, msa::bench::Run); }
