#include "msa/bank/fault_file_system.h"

#include <algorithm>
#include <filesystem>

#include "msa/base/check.h"

namespace msa {
namespace {

bool Keeps(const FaultFileSystem::KeepsUnsynced& keeps, const std::string& path) {
  return keeps != nullptr && keeps(path);
}

std::string ParentOf(const std::string& path) {
  return std::filesystem::path(path).parent_path().string();
}

void WriteAnew(const std::string& path, const std::string& content) {
  auto file = PosixFileSystem().Open(path, OpenMode::kCreate);
  MSA_CHECK(file.ok() && (*file)->WriteAt(0, AsBytes(content)).ok());
}

}  // namespace

class FaultFile final : public File {
 public:
  FaultFile(FaultFileSystem& fs, std::string path, std::unique_ptr<File> base)
      : fs_(fs), path_(std::move(path)), base_(std::move(base)) {}

  Status ReadAt(int64_t offset, std::span<std::byte> out) const override {
    return base_->ReadAt(offset, out);
  }
  Status WriteAt(int64_t offset, std::span<const std::byte> data) override {
    const size_t half = data.size() / 2;
    if (!fs_.failed()) {
      const auto count = static_cast<int64_t>(data.size());
      MSA_RETURN_IF_ERROR(fs_.Remember(path_, *base_, offset, count));
      MSA_RETURN_IF_ERROR(base_->WriteAt(offset, data.first(half)));
    }
    MSA_RETURN_IF_ERROR(fs_.Count("write " + path_));
    return base_->WriteAt(offset + static_cast<int64_t>(half), data.subspan(half));
  }
  Status Truncate(int64_t size) override {
    MSA_RETURN_IF_ERROR(fs_.Count("truncate " + path_));
    MSA_ASSIGN_OR_RETURN(const int64_t old_size, base_->Size());
    const int64_t count = std::max<int64_t>(0, old_size - size);
    MSA_RETURN_IF_ERROR(fs_.Remember(path_, *base_, size, count));
    return base_->Truncate(size);
  }
  Status Sync() override {
    MSA_RETURN_IF_ERROR(fs_.Count("sync " + path_));
    fs_.unsynced_.erase(path_);
    return OkStatus();
  }
  Result<int64_t> Size() const override { return base_->Size(); }
  Status Close() override { return base_->Close(); }

 private:
  FaultFileSystem& fs_;
  const std::string path_;
  std::unique_ptr<File> base_;
};

std::unique_ptr<File> FaultFileSystem::Wrap(std::string path, std::unique_ptr<File> base,
                                            bool is_new) {
  if (is_new) unsynced_names_.emplace(path, std::nullopt);
  return std::make_unique<FaultFile>(*this, std::move(path), std::move(base));
}

Status FaultFileSystem::Count(const std::string& what) {
  if (observer_ && !failed()) observer_();
  return operations_++ < fail_at_ ? OkStatus() : IoError(what + ": injected failure");
}

Status FaultFileSystem::Remember(const std::string& path, const File& file, int64_t offset,
                                 int64_t count) {
  MSA_ASSIGN_OR_RETURN(const int64_t size, file.Size());
  const int64_t there = std::clamp<int64_t>(size - offset, 0, count);
  Change change = {offset, std::vector<std::byte>(static_cast<size_t>(there)), size};
  if (there > 0) MSA_RETURN_IF_ERROR(file.ReadAt(offset, change.bytes));
  unsynced_[path].push_back(std::move(change));
  return OkStatus();
}

void FaultFileSystem::Undo(const std::vector<Change>& changes, const std::string& path) {
  auto file = PosixFileSystem().Open(path, OpenMode::kReadWrite);
  MSA_CHECK(file.ok());
  for (auto change = changes.rbegin(); change != changes.rend(); ++change) {
    MSA_CHECK((*file)->WriteAt(change->offset, change->bytes).ok() &&
              (*file)->Truncate(change->file_bytes).ok());
  }
}

void FaultFileSystem::Lose(const std::string& root, const std::string& copy,
                           const KeepsUnsynced& keeps) const {
  const auto in_copy = [&](const std::string& path) { return copy + path.substr(root.size()); };
  for (const auto& [path, changes] : unsynced_) {
    if (base_.Exists(in_copy(path)) && !Keeps(keeps, path)) Undo(changes, in_copy(path));
  }
  for (const auto& [path, replaced] : unsynced_names_) {
    if (Keeps(keeps, path)) continue;
    std::filesystem::remove_all(in_copy(path));
    // Its folder may be gone, as one that was not synced either.
    if (replaced && base_.Exists(ParentOf(in_copy(path)))) WriteAnew(in_copy(path), *replaced);
  }
  for (const auto& [path, before] : renamed_) {
    if (!base_.Exists(in_copy(path)) || Keeps(keeps, path)) continue;
    MSA_CHECK(base_.Rename(in_copy(path), in_copy(before)).ok());
  }
}

void FaultFileSystem::LosePower(const KeepsUnsynced& keeps) {
  Lose("", "", keeps);
  unsynced_.clear();
  unsynced_names_.clear();
  renamed_.clear();
}

void FaultFileSystem::CopyAfterPowerLoss(const std::string& root, const std::string& copy,
                                         const KeepsUnsynced& keeps) const {
  std::filesystem::remove_all(copy);
  std::filesystem::copy(root, copy, std::filesystem::copy_options::recursive);
  Lose(root, copy, keeps);
}

void FaultFileSystem::ForgetName(const std::string& path) {
  unsynced_.erase(path);
  const auto name = unsynced_names_.find(path);
  // What it replaced may come back.
  if (name != unsynced_names_.end() && !name->second) unsynced_names_.erase(name);
}

void FaultFileSystem::ForgetBelow(const std::string& folder) {
  const auto lies_below = [&](const auto& entry) { return entry.first.starts_with(folder + "/"); };
  std::erase_if(unsynced_, lies_below);
  std::erase_if(unsynced_names_, lies_below);
  std::erase_if(renamed_, lies_below);
}

void FaultFileSystem::MoveBelow(const std::string& from, const std::string& to) {
  const auto move = [&](auto& by_path) {
    const std::string prefix = from + "/";
    for (auto entry = by_path.lower_bound(prefix);
         entry != by_path.end() && entry->first.starts_with(prefix);
         entry = by_path.lower_bound(prefix)) {
      auto node = by_path.extract(entry);
      node.key().replace(0, from.size(), to);
      by_path.insert(std::move(node));
    }
  };
  move(unsynced_);
  move(unsynced_names_);
  move(renamed_);
}

Result<std::unique_ptr<File>> FaultFileSystem::Open(const std::string& path, OpenMode mode) {
  const bool is_new = mode == OpenMode::kCreate && !base_.Exists(path);
  MSA_ASSIGN_OR_RETURN(auto file, base_.Open(path, mode));
  return Wrap(path, std::move(file), is_new);
}

Status FaultFileSystem::Remove(const std::string& path) {
  MSA_RETURN_IF_ERROR(Count("remove " + path));
  ForgetName(path);
  return base_.Remove(path);
}

Status FaultFileSystem::Rename(const std::string& from, const std::string& to) {
  MSA_RETURN_IF_ERROR(Count("rename " + from));
  if (std::filesystem::is_directory(from)) return RenameFolder(from, to);
  std::optional<std::string> replaced;
  if (base_.Exists(to)) {
    MSA_ASSIGN_OR_RETURN(replaced, ReadFile(to));
  }
  MSA_RETURN_IF_ERROR(base_.Rename(from, to));
  auto changes = unsynced_.extract(from);
  ForgetName(from);
  unsynced_.erase(to);
  if (!changes.empty()) {
    changes.key() = to;
    unsynced_.insert(std::move(changes));
  }
  unsynced_names_.emplace(to, std::move(replaced));
  return OkStatus();
}

Status FaultFileSystem::RenameFolder(const std::string& from, const std::string& to) {
  MSA_RETURN_IF_ERROR(base_.Rename(from, to));
  ForgetBelow(to);
  MoveBelow(from, to);
  if (unsynced_names_.erase(from) > 0) {
    unsynced_names_.emplace(to, std::nullopt);
  } else {
    renamed_.insert_or_assign(to, from);
  }
  return OkStatus();
}

Status FaultFileSystem::MakeDirectory(const std::string& path) {
  MSA_RETURN_IF_ERROR(Count("make folder " + path));
  const bool is_new = !base_.Exists(path);
  MSA_RETURN_IF_ERROR(base_.MakeDirectory(path));
  if (!is_new) return OkStatus();
  const std::string name = path.substr(0, path.find_last_not_of('/') + 1);
  ForgetBelow(name);
  unsynced_names_.emplace(name, std::nullopt);
  return OkStatus();
}

Status FaultFileSystem::SyncDirectory(const std::string& path) {
  MSA_RETURN_IF_ERROR(Count("sync folder " + path));
  const auto lies_here = [&](const auto& entry) { return ParentOf(entry.first) == path; };
  std::erase_if(unsynced_names_, lies_here);
  std::erase_if(renamed_, lies_here);
  return OkStatus();
}

Result<std::vector<std::string>> FaultFileSystem::List(const std::string& path) {
  return base_.List(path);
}

bool FaultFileSystem::Exists(const std::string& path) { return base_.Exists(path); }

}  // namespace msa
