#include "msa/bank/fault_file_system.h"

#include <filesystem>

namespace msa {

class FaultFile final : public File {
 public:
  FaultFile(FaultFileSystem& fs, std::string path, std::unique_ptr<File> base)
      : fs_(fs), path_(std::move(path)), base_(std::move(base)) {}

  Status ReadAt(int64_t offset, std::span<std::byte> out) const override {
    return base_->ReadAt(offset, out);
  }
  Status WriteAt(int64_t offset, std::span<const std::byte> data) override {
    fs_.Remember(path_);
    const Status status = fs_.Count("write " + path_);
    if (!status.ok()) {
      MSA_RETURN_IF_ERROR(base_->WriteAt(offset, data.first(data.size() / 2)));
      return status;
    }
    return base_->WriteAt(offset, data);
  }
  Status Truncate(int64_t size) override {
    fs_.Remember(path_);
    MSA_RETURN_IF_ERROR(fs_.Count("truncate " + path_));
    return base_->Truncate(size);
  }
  Status Sync() override {
    MSA_RETURN_IF_ERROR(fs_.Count("sync " + path_));
    fs_.synced_.erase(path_);
    return OkStatus();
  }
  Result<int64_t> Size() const override { return base_->Size(); }
  Status Close() override { return base_->Close(); }

 private:
  FaultFileSystem& fs_;
  const std::string path_;
  std::unique_ptr<File> base_;
};

Status FaultFileSystem::Count(const std::string& what) {
  return operations_++ < fail_at_ ? OkStatus() : IoError(what + ": injected failure");
}

void FaultFileSystem::Remember(const std::string& path) {
  if (synced_.contains(path)) return;
  auto content = ReadFile(path);
  MSA_CHECK(content.ok());
  synced_.emplace(path, *std::move(content));
}

void FaultFileSystem::LosePower() {
  for (const auto& [path, content] : synced_) {
    if (!base_.Exists(path)) continue;
    auto file = base_.Open(path, OpenMode::kReadWrite);
    MSA_CHECK(file.ok() && (*file)->Truncate(0).ok() && (*file)->WriteAt(0, AsBytes(content)).ok());
  }
  for (const std::string& path : unsynced_names_) {
    [[maybe_unused]] const Status ignored = base_.Remove(path);
  }
  synced_.clear();
  unsynced_names_.clear();
}

Result<std::unique_ptr<File>> FaultFileSystem::Open(const std::string& path, OpenMode mode) {
  const bool is_new = mode == OpenMode::kCreate && !base_.Exists(path);
  MSA_ASSIGN_OR_RETURN(auto file, base_.Open(path, mode));
  if (is_new) unsynced_names_.insert(path);
  return std::make_unique<FaultFile>(*this, path, std::move(file));
}

Status FaultFileSystem::Remove(const std::string& path) {
  MSA_RETURN_IF_ERROR(Count("remove " + path));
  synced_.erase(path);
  return base_.Remove(path);
}

Status FaultFileSystem::Rename(const std::string& from, const std::string& to) {
  MSA_RETURN_IF_ERROR(Count("rename " + from));
  MSA_RETURN_IF_ERROR(base_.Rename(from, to));
  unsynced_names_.erase(from);
  unsynced_names_.insert(to);
  return OkStatus();
}

Status FaultFileSystem::MakeDirectory(const std::string& path) {
  MSA_RETURN_IF_ERROR(Count("make folder " + path));
  return base_.MakeDirectory(path);
}

Status FaultFileSystem::SyncDirectory(const std::string& path) {
  MSA_RETURN_IF_ERROR(Count("sync folder " + path));
  std::erase_if(unsynced_names_, [&](const std::string& name) {
    return std::filesystem::path(name).parent_path() == path;
  });
  return OkStatus();
}

Result<std::vector<std::string>> FaultFileSystem::List(const std::string& path) {
  return base_.List(path);
}

bool FaultFileSystem::Exists(const std::string& path) { return base_.Exists(path); }

}  // namespace msa
