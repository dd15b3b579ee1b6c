#include "msa/bank/append_file.h"

namespace msa {

Result<AppendFile> AppendFile::Create(FileSystem& fs, const BankLayout& layout, FileKind kind,
                                      const BankId& bank, FileId id) {
  MSA_ASSIGN_OR_RETURN(auto file, fs.Open(layout.File(kind, id), OpenMode::kCreate));
  // A crashed writer may have left one of this name.
  MSA_RETURN_IF_ERROR(file->Truncate(0));
  AppendFile self(std::move(file), id, 0);
  MSA_ASSIGN_OR_RETURN([[maybe_unused]] const int64_t begin,
                       self.Append(FileHeader(kind, bank, id)));
  return self;
}

Result<AppendFile> AppendFile::Open(FileSystem& fs, const BankLayout& layout, FileKind kind,
                                    FileId id, int64_t length) {
  MSA_ASSIGN_OR_RETURN(auto file, fs.Open(layout.File(kind, id), OpenMode::kReadWrite));
  return AppendFile(std::move(file), id, length);
}

Result<int64_t> AppendFile::Append(std::span<const std::byte> data) {
  dirty_ = true;
  MSA_RETURN_IF_ERROR(file_->WriteAt(length_, data));
  const int64_t begin = length_;
  length_ += static_cast<int64_t>(data.size());
  return begin;
}

Status AppendFile::Sync() {
  if (!dirty_) return OkStatus();
  MSA_RETURN_IF_ERROR(file_->Sync());
  dirty_ = false;
  return OkStatus();
}

}  // namespace msa
