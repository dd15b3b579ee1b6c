// A bank beside plain SQLite (bank_stores.h) doing the same writes and asked the same, in turns, so
// that both meet the same machine. No encoding. One JSON line a measure, "ratio" above 1 where the
// bank is the better one.
//
//   msa_bank_rival_bench [--documents 1000000] [--words 20] [--batch 5000] [--commits 300]
//       [--replaced 100000] [--rounds 5] [--folder DIR]
//
// Adds the documents in batches; then single documents, a commit each; opens, lists and searches;
// replaces some and goes back; erases one document after another. DIR, a temporary folder by
// default, is removed at the end.

#include <cstdio>
#include <filesystem>
#include <functional>
#include <numeric>
#include <utility>

#include "bank_data.h"
#include "bank_stores.h"

namespace msa::bench {
namespace {

// Times of both stores for one measure.
struct Samples {
  std::vector<double> bank;
  std::vector<double> sqlite;
};

class Race {
 public:
  Race(const std::string& folder, const Options& options)
      : bank_(MakeBankStore(folder + "/bank")),
        sqlite_(MakeSqliteStore(folder + "/sqlite")),
        words_(Number(options, "--words", 20)) {
    bank_->Open();
    sqlite_->Open();
  }

  void Add(int64_t documents, int64_t batch) {
    Samples seconds;
    double cpu[] = {0, 0};
    for (int64_t added = 0; added < documents; added += batch) {
      const auto drawn = Draw(added, std::min(batch, documents - added));
      for (Store* store : {bank_.get(), sqlite_.get()}) {
        const double cpu_start = CpuSeconds();
        const double ms = Milliseconds([&] { PutAll(*store, drawn); });
        of(seconds, store).push_back(ms / 1e3);
        cpu[store == sqlite_.get()] += CpuSeconds() - cpu_start;
      }
    }
    const auto count = static_cast<double>(documents);
    PrintRate("add, documents/s", count / Sum(seconds.bank), count / Sum(seconds.sqlite));
    PrintRate("add, documents/s of processor time", count / cpu[0], count / cpu[1]);
    PrintLess("bytes on disk, MB", static_cast<double>(bank_->DiskBytes()) / 1e6,
              static_cast<double>(sqlite_->DiskBytes()) / 1e6);
  }

  // Commits of one document, at the size that the stores have.
  void CommitSingles(int64_t first, int64_t commits) {
    Samples ms;
    for (int64_t i = 0; i < commits; ++i) {
      const auto drawn = Draw(first + i, 1);
      for (Store* store : {bank_.get(), sqlite_.get()}) {
        of(ms, store).push_back(Milliseconds([&] { PutAll(*store, drawn); }));
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
    bank_->Open();
    sqlite_->Open();
  }

  // Replaces documents, and goes back before that and forth again.
  void GoBack(int64_t replaced, int64_t rounds) {
    const auto drawn = Draw(0, replaced);
    Samples ms;
    int64_t revision[2];
    for (Store* store : {bank_.get(), sqlite_.get()}) {
      of(ms, store).push_back(
          Milliseconds([&] { revision[store == sqlite_.get()] = PutAll(*store, drawn); }));
    }
    PrintTimes("replacing " + std::to_string(replaced) + " documents, ms", std::exchange(ms, {}));
    for (int64_t i = 0; i < rounds; ++i) {
      for (Store* store : {bank_.get(), sqlite_.get()}) {
        const int64_t target = revision[store == sqlite_.get()] - (i + 1) % 2;
        of(ms, store).push_back(Milliseconds([&] { store->Revert(target); }));
      }
    }
    PrintTimes("going back over that, ms", std::move(ms));
  }

  void Erase(int64_t rounds) {
    Samples ms;
    for (int64_t i = 0; i < rounds; ++i) {
      const std::string key = "document-" + std::to_string(1000 * i + 7);
      for (Store* store : {bank_.get(), sqlite_.get()}) {
        of(ms, store).push_back(Milliseconds([&] { store->Erase(key); }));
      }
    }
    PrintTimes("erasing one document, ms", std::move(ms));
    if (bank_->CountDocuments() != sqlite_->CountDocuments()) {
      throw std::runtime_error("the stores hold different numbers of documents");
    }
  }

 private:
  std::vector<double>& of(Samples& samples, const Store* store) {
    return store == bank_.get() ? samples.bank : samples.sqlite;
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
    for (int64_t i = 0; i < rounds; ++i) {
      for (Store* store : {bank_.get(), sqlite_.get()}) {
        store->Close();
        of(ms, store).push_back(Milliseconds([&] { read(*store); }));
      }
    }
    PrintTimes(measure, std::move(ms));
  }

  static double Sum(const std::vector<double>& values) {
    return std::accumulate(values.begin(), values.end(), 0.0);
  }

  static void PrintRate(const std::string& measure, double bank, double sqlite) {
    std::printf("{\"measure\": \"%s\", \"bank\": %.0f, \"sqlite\": %.0f, \"ratio\": %.2f}\n",
                measure.c_str(), bank, sqlite, bank / sqlite);
    std::fflush(stdout);
  }
  static void PrintLess(const std::string& measure, double bank, double sqlite) {
    std::printf("{\"measure\": \"%s\", \"bank\": %.0f, \"sqlite\": %.0f, \"ratio\": %.2f}\n",
                measure.c_str(), bank, sqlite, sqlite / bank);
    std::fflush(stdout);
  }
  static void PrintTimes(const std::string& measure, Samples ms) {
    std::ranges::sort(ms.bank);
    std::ranges::sort(ms.sqlite);
    const auto p = [](const std::vector<double>& v, double share) { return Quantile(v, share); };
    std::printf(
        "{\"measure\": \"%s\", \"samples\": %zu, \"bank_p50\": %.2f, \"bank_p99\": %.2f, "
        "\"sqlite_p50\": %.2f, \"sqlite_p99\": %.2f, \"ratio\": %.2f}\n",
        measure.c_str(), ms.bank.size(), p(ms.bank, .5), p(ms.bank, .99), p(ms.sqlite, .5),
        p(ms.sqlite, .99), p(ms.sqlite, .5) / p(ms.bank, .5));
    std::fflush(stdout);
  }

  const std::unique_ptr<Store> bank_;
  const std::unique_ptr<Store> sqlite_;
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
  std::filesystem::create_directories(folder);
  const int64_t documents = Number(options, "--documents", 1000000);
  const int64_t rounds = Number(options, "--rounds", 5);
  {
    Race race(folder, options);
    race.Add(documents, Number(options, "--batch", 5000));
    race.CommitSingles(documents, Number(options, "--commits", 300));
    race.OpenAndRead(rounds);
    race.GoBack(Number(options, "--replaced", 100000), rounds);
    race.Erase(rounds);
    std::printf("{\"measure\": \"peak of both together, MB\", \"value\": %.0f}\n", PeakMegabytes());
  }
  std::filesystem::remove_all(folder);
  return 0;
}

}  // namespace
}  // namespace msa::bench

int main(int argc, char** argv) { return msa::bench::Main(argc, argv, msa::bench::Run); }
