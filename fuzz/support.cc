#include "support.h"

#include <sanitizer/allocator_interface.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "msa/bank/bank.h"

namespace msa::fuzz {
namespace {

constexpr size_t kFactor = 32;

thread_local size_t allowed = SIZE_MAX;

void CheckAllocation(const volatile void*, size_t size) {
  if (size <= allowed) return;
  std::fprintf(stderr, "an allocation of %zu bytes, allowed are %zu\n", size, allowed);
  std::abort();
}

void ReadPassages(const Snapshot& snapshot, std::span<const PassageId> passages) {
  const auto encodings = snapshot.Encodings();
  for (const PassageId passage : passages) Ignore(snapshot.FindPassage(passage));
  if (!encodings.ok()) return;
  for (const EncodingStats& encoding : *encodings) {
    Ignore(snapshot.RoutingKeys(encoding.info.id));
    Ignore(snapshot.FindUnencoded(encoding.info.id));
    for (const PassageId passage : passages) {
      Ignore(snapshot.ReadLatents(encoding.info.id, passage));
    }
  }
}

void ReadSnapshot(const Snapshot& snapshot) {
  Ignore(snapshot.Stats());
  std::vector<VersionId> versions;
  Ignore(snapshot.ForEachDocument({}, [&](const DocumentInfo& info) {
    versions.push_back(info.version);
    return true;
  }));
  for (const VersionId version : versions) Ignore(snapshot.ReadContent(version));
  Ignore(snapshot.FindDocument("letter"));
  Ignore(snapshot.FindDocument("2"));
  for (const LabelFilter& filter : {LabelFilter{}, LabelFilter{{"tenant", "acme"}}}) {
    Ignore(snapshot.SearchLexical("the fox and 東京", 5, filter));
    const auto passages = snapshot.MatchingPassages(filter);
    if (passages.ok()) ReadPassages(snapshot, (*passages)->kept.Members());
  }
}

}  // namespace

AllocationLimit::AllocationLimit(size_t input_bytes, size_t fixed_bytes) {
  static const int installed =
      __sanitizer_install_malloc_and_free_hooks(CheckAllocation, [](const volatile void*) {});
  MSA_CHECK(installed > 0);
  allowed = input_bytes * kFactor + fixed_bytes;
}

AllocationLimit::~AllocationLimit() { allowed = SIZE_MAX; }

Status BorrowedFile::ReadAt(int64_t offset, std::span<std::byte> out) const {
  const auto begin = static_cast<size_t>(offset);
  if (begin > bytes_.size() || out.size() > bytes_.size() - begin) return DataLoss("ends before");
  if (!out.empty()) std::memcpy(out.data(), bytes_.data() + begin, out.size());
  return OkStatus();
}

Status BorrowedFile::WriteAt(int64_t, std::span<const std::byte>) {
  return FailedPrecondition("read-only");
}

Status BorrowedFile::Truncate(int64_t) { return FailedPrecondition("read-only"); }

GoldenBank::GoldenBank(Kind kind)
    : name_(kind == Kind::kPlain ? "bank-v1" : "bank-v1-encrypted"),
      path_(folder_.File("copy/" + name_ + (kind == Kind::kPlain ? "" : "/bank"))) {
  const std::string unpack =
      "tar -xzf " MSA_SOURCE_DIR "/tests/data/" + name_ + ".tar.gz -C " + folder_.path();
  MSA_CHECK(std::system(unpack.c_str()) == 0);
  Renew();
  if (kind == Kind::kPlain) return;
  const std::string keys = folder_.File("copy/" + name_);
  ::setenv("MSA_KEYRINGS", (keys + "/keyrings").c_str(), 1);
  ::setenv("MSA_MASTER_KEY_FILE", (keys + "/master.key").c_str(), 1);
}

void GoldenBank::Replace(std::string_view name, std::string_view content) const {
  std::ofstream out(file(name), std::ios::binary | std::ios::trunc);
  out << content;
  MSA_CHECK(out.flush().good());
}

void GoldenBank::Renew() const {
  std::filesystem::remove_all(folder_.File("copy"));
  std::filesystem::create_directory(folder_.File("copy"));
  std::filesystem::copy(folder_.File(name_), folder_.File("copy/" + name_),
                        std::filesystem::copy_options::recursive);
}

void GoldenBank::ReadEverything() const {
  const auto bank = Bank::Open(path_);
  if (!bank.ok()) return;
  if (const auto latest = (*bank)->Latest(); latest.ok()) ReadSnapshot(**latest);
  if (const auto first = (*bank)->At(RevisionId{1}); first.ok()) ReadSnapshot(**first);
  Ignore((*bank)->Log([](const RevisionInfo&) { return true; }));
  Ignore((*bank)->Diff(RevisionId{1}, RevisionId{2}));
  Ignore((*bank)->Audit());
}

}  // namespace msa::fuzz
