#include "msa/bank/committed_files.h"

#include <algorithm>
#include <vector>

namespace msa {
namespace {

constexpr int64_t kZeroBytes = int64_t{1} << 20;

Status KeepCommittedIn(FileSystem& fs, const BankLayout& layout, FileKind kind,
                       std::span<const Catalog::FileRow> rows,
                       FunctionRef<Status(const std::string& path)> remove) {
  MSA_ASSIGN_OR_RETURN(const auto names, fs.List(layout.Folder(kind)));
  for (const std::string& name : names) {
    const auto id = ParseFileName(kind, name);
    if (!id) continue;
    const auto row =
        std::ranges::find_if(rows, [&](const auto& r) { return r.id == *id && r.kind == kind; });
    const std::string path = layout.File(kind, *id);
    if (row == rows.end()) {
      MSA_RETURN_IF_ERROR(remove(path));
      continue;
    }
    MSA_ASSIGN_OR_RETURN(auto file, fs.Open(path, OpenMode::kReadWrite));
    MSA_ASSIGN_OR_RETURN(const int64_t size, file->Size());
    if (size < row->length) {
      return DataLoss(path + " has " + std::to_string(size) + " bytes, expected " +
                      std::to_string(row->length));
    }
    if (size > row->length) {
      MSA_RETURN_IF_ERROR(file->Truncate(row->length));
      MSA_RETURN_IF_ERROR(file->Sync());
    }
  }
  return OkStatus();
}

}  // namespace

Status KeepCommitted(FileSystem& fs, const BankLayout& layout,
                     std::span<const Catalog::FileRow> rows,
                     FunctionRef<Status(const std::string& path)> remove) {
  for (const FileKind kind : kFileKinds) {
    MSA_RETURN_IF_ERROR(KeepCommittedIn(fs, layout, kind, rows, remove));
  }
  return OkStatus();
}

Status ZeroRange(File& file, int64_t begin, int64_t bytes) {
  const std::vector<std::byte> zeros(static_cast<size_t>(std::min(bytes, kZeroBytes)));
  for (int64_t done = 0; done < bytes;) {
    const int64_t count = std::min(kZeroBytes, bytes - done);
    MSA_RETURN_IF_ERROR(
        file.WriteAt(begin + done, std::span(zeros).first(static_cast<size_t>(count))));
    done += count;
  }
  return OkStatus();
}

Status OverwriteFile(FileSystem& fs, const std::string& path) {
  MSA_ASSIGN_OR_RETURN(const auto file, fs.Open(path, OpenMode::kReadWrite));
  MSA_ASSIGN_OR_RETURN(const int64_t size, file->Size());
  MSA_RETURN_IF_ERROR(ZeroRange(*file, 0, size));
  MSA_RETURN_IF_ERROR(file->Sync());
  return file->Close();
}

}  // namespace msa
