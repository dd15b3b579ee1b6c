// Where a bank's files lie, what they are called, and the two small things that identify a bank:
// bank.json and the header of packs and tails. docs/bank-format.md is the reference.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "msa/bank/bank.h"
#include "msa/base/file.h"
#include "msa/base/ids.h"
#include "msa/base/status.h"

namespace msa {

inline constexpr int64_t kBankFormat = 1;

using BankId = std::array<std::byte, 16>;

// As files.kind stores them.
enum class FileKind : int64_t { kPack = 1, kTail = 2, kSegment = 3, kLexical = 4 };

struct BankLayout {
  std::string root;

  std::string bank_json() const { return root + "/bank.json"; }
  std::string head() const { return root + "/head"; }
  std::string catalog() const { return root + "/catalog.sqlite"; }
  std::string lock() const { return root + "/lock"; }
  // Only while a backup is made here.
  std::string staged_catalog() const { return root + "/backup.sqlite"; }
  // "ROOT/packs/00000007.pack"
  std::string File(FileKind kind, FileId id) const;
  std::string Folder(FileKind kind) const;
};

// The number in a file's name, if the name is one that `kind` gives.
std::optional<FileId> ParseFileName(FileKind kind, std::string_view name);
inline constexpr FileKind kFileKinds[] = {FileKind::kPack, FileKind::kTail, FileKind::kSegment,
                                          FileKind::kLexical};

struct BankIdentity {
  BankId id{};
  int64_t created_unix_ms = 0;
  BankOptions options;  // `encrypt` too
};

std::string SerializeBankJson(const BankIdentity& identity);
// kInvalidArgument: no bank's. kUnimplemented: newer format or another cipher. kDataLoss: damaged.
Result<BankIdentity> ParseBankJson(std::string_view json);

// The 64 bytes at the start of packs and tails.
inline constexpr int64_t kFileHeaderBytes = 64;
std::array<std::byte, kFileHeaderBytes> FileHeader(FileKind kind, const BankId& bank, FileId id);
// kDataLoss if `file` does not begin with exactly that header.
Status CheckFileHeader(const msa::File& file, FileKind kind, const BankId& bank, FileId id);

// True if `path` is `folder` or lies in it, links followed.
bool LiesIn(const std::string& path, const std::string& folder);

int64_t UnixMilliseconds();
inline constexpr int64_t kDayMilliseconds = int64_t{24} * 60 * 60 * 1000;

}  // namespace msa
