#include "msa/bank/keyring.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <utility>

#include "msa/bank/bytes.h"
#include "msa/bank/committed_files.h"
#include "msa/base/check.h"
#include "msa/base/hash.h"

namespace msa {
namespace {

constexpr std::string_view kMagic = "MSAKEYS1";
constexpr uint32_t kFormat = 1;
constexpr size_t kSlotBytes = 128;
constexpr int64_t kReadBytes = int64_t{1} << 20;  // a multiple of kSlotBytes

constexpr SecretKind kMasterKey = {"master key", "msa master key 1\n"};

using SlotBytes = std::array<std::byte, kSlotBytes>;

SlotBytes WithChecksum(const ByteWriter& writer) {
  SlotBytes slot{};
  MSA_CHECK(writer.bytes().size() <= kSlotBytes - sizeof(uint64_t));
  std::ranges::copy(writer.bytes(), slot.begin());
  const uint64_t checksum = Checksum64(std::span(slot).first(kSlotBytes - sizeof(uint64_t)));
  std::memcpy(slot.data() + kSlotBytes - sizeof(uint64_t), &checksum, sizeof(checksum));
  return slot;
}

bool ChecksumFits(std::span<const std::byte> slot) {
  uint64_t checksum = 0;
  std::memcpy(&checksum, slot.data() + kSlotBytes - sizeof(uint64_t), sizeof(checksum));
  return checksum == Checksum64(slot.first(kSlotBytes - sizeof(uint64_t)));
}

SlotBytes RootSlot(const BankId& bank, const SecretKey& master, const SecretKey& root) {
  ByteWriter writer;
  writer.PutBytes(AsBytes(kMagic));
  writer.Put<uint32_t>(kFormat);
  writer.Put<uint32_t>(kSlotBytes);
  writer.PutBytes(bank);
  writer.PutBytes(
      Sealer(master, bank, RandomNumber{}).Seal(CipherRole::kKeyringRoot, 0, 0, root.bytes()));
  return WithChecksum(writer);
}

SlotBytes KeySlot(const RandomNumber& number, Keyring::Kind kind, bool is_destroyed,
                  std::span<const std::byte> sealed) {
  ByteWriter writer;
  writer.Put<int64_t>(static_cast<int64_t>(kind));
  writer.Put<int64_t>(is_destroyed ? 1 : 0);
  writer.PutBytes(number);
  writer.PutBytes(sealed);
  return WithChecksum(writer);
}

SecretKey KeyOf(std::span<const std::byte> bytes) {
  Secret secret;
  MSA_CHECK(bytes.size() == secret.size());
  std::ranges::copy(bytes, secret.begin());
  return SecretKey(secret);
}

std::vector<std::byte> SealKey(const SecretKey& master, const BankId& bank,
                               const RandomNumber& number, Keyring::Kind kind,
                               const SecretKey& key) {
  return Sealer(master, bank, number)
      .Seal(CipherRole::kKeyringKey, static_cast<int64_t>(kind), 0, key.bytes());
}

Status NoMasterKey(const std::string& why) {
  return FailedPrecondition(why + ": set MSA_MASTER_KEY_FILE or MSA_MASTER_KEY");
}

}  // namespace

std::string KeyringPath(const BankId& bank) {
  const std::string folder = UserPath("MSA_KEYRINGS", "XDG_DATA_HOME", ".local/share", "keyrings");
  return folder.empty() ? "" : folder + "/" + HexEncode(bank) + ".keys";
}

Result<SecretKey> LoadMasterKey(bool make) {
  if (const char* hex = EnvironmentOrNull("MSA_MASTER_KEY")) {
    const auto secret = ParseHex<sizeof(Secret)>(hex);
    if (!secret) return InvalidArgument("MSA_MASTER_KEY must be 64 hexadecimal digits");
    return SecretKey(*secret);
  }
  const std::string path =
      UserPath("MSA_MASTER_KEY_FILE", "XDG_CONFIG_HOME", ".config", "master.key");
  if (path.empty()) return NoMasterKey("there is no place for a master key");
  const auto secret =
      make ? ReadOrMakeSecretFile(path, kMasterKey) : ReadSecretFile(path, kMasterKey);
  if (secret.status().code() == StatusCode::kNotFound)
    return NoMasterKey(secret.status().message());
  MSA_RETURN_IF_ERROR(secret.status());
  return SecretKey(*secret);
}

Result<SecretKey> ReadOrMakeMasterKey(const std::string& path) {
  MSA_ASSIGN_OR_RETURN(const Secret secret, ReadOrMakeSecretFile(path, kMasterKey));
  return SecretKey(secret);
}

size_t Keyring::HashNumber::operator()(const RandomNumber& number) const {
  size_t hash = 0;  // the numbers are random
  std::memcpy(&hash, number.data(), sizeof(hash));
  return hash;
}

Status Keyring::Create(FileSystem& fs, const std::string& path, const BankId& bank,
                       const SecretKey& master) {
  const std::filesystem::path folder = std::filesystem::path(path).parent_path();
  std::error_code error;
  if (std::filesystem::create_directories(folder, error)) {
    std::filesystem::permissions(folder, std::filesystem::perms::owner_all, error);
  }
  if (error) return ErrnoStatus("make folder " + folder.string(), error.value());
  if (fs.Exists(path)) return AlreadyExists(path + " is there already");
  MSA_ASSIGN_OR_RETURN(auto file, fs.Open(path, OpenMode::kCreate));
  MSA_RETURN_IF_ERROR(file->WriteAt(0, RootSlot(bank, master, SecretKey::Random())));
  MSA_RETURN_IF_ERROR(file->Sync());
  MSA_RETURN_IF_ERROR(file->Close());
  return fs.SyncDirectory(folder.string());
}

Result<std::unique_ptr<Keyring>> Keyring::Open(FileSystem& fs, const std::string& path,
                                               const BankId& bank, const SecretKey& master) {
  if (path.empty() || !fs.Exists(path)) {
    return FailedPrecondition("the bank is encrypted, and its keyring " + path +
                              " is not there: put it back, or set MSA_KEYRINGS to its folder; "
                              "without it nothing can be read");
  }
  std::unique_ptr<Keyring> keyring(new Keyring(fs, path, bank, master));
  MSA_ASSIGN_OR_RETURN(const auto file, fs.Open(path, OpenMode::kRead));
  const auto root = keyring->OpenRoot(*file, master);
  if (!root.ok()) return root.status().WithContext(path);
  keyring->root_ = *root;
  return keyring;
}

Result<SecretKey> Keyring::OpenRoot(const File& file, const SecretKey& master) const {
  SlotBytes slot;
  MSA_RETURN_IF_ERROR(file.ReadAt(0, slot));
  ByteReader reader(slot);
  if (AsChars(reader.GetBytes(kMagic.size())) != kMagic) return DataLoss("no keyring of msa");
  const auto format = reader.Get<uint32_t>();
  if (format > kFormat) {
    return Unimplemented("keyring format " + std::to_string(format) + ", this program reads " +
                         std::to_string(kFormat));
  }
  if (reader.Get<uint32_t>() != kSlotBytes || !ChecksumFits(slot)) {
    return DataLoss("the keyring's first 128 bytes are damaged");
  }
  if (!std::ranges::equal(reader.GetBytes(sizeof(BankId)), bank_)) {
    return DataLoss("the keyring of another bank");
  }
  const auto root = Sealer(master, bank_, RandomNumber{})
                        .Open(CipherRole::kKeyringRoot, 0, 0, reader.GetBytes(kSealedKeyBytes));
  if (!root.ok()) {
    return FailedPrecondition(
        "this master key does not open the keyring; give the one that the bank was made with, or "
        "that it was changed to last (MSA_MASTER_KEY_FILE or MSA_MASTER_KEY)");
  }
  return KeyOf(*root);
}

// A slot that is neither whole nor zero is one that a writer was stopped in before its commit, or
// damage; it is left as it is.
Status Keyring::ReadSlots() {
  MSA_ASSIGN_OR_RETURN(const auto file, fs_.Open(path_, OpenMode::kRead));
  // Another process may have changed the master key.
  MSA_RETURN_IF_ERROR(OpenRoot(*file, master_).status().WithContext(path_));
  slots_.clear();
  free_.clear();
  MSA_ASSIGN_OR_RETURN(const int64_t size, file->Size());
  end_ = std::max<int64_t>(size / kSlotBytes, 1) * kSlotBytes;
  slots_.reserve(static_cast<size_t>(end_ / kSlotBytes));
  std::vector<std::byte> bytes;
  for (int64_t begin = kSlotBytes; begin < end_; begin += static_cast<int64_t>(bytes.size())) {
    bytes.resize(static_cast<size_t>(std::min(kReadBytes, end_ - begin)));
    MSA_RETURN_IF_ERROR(file->ReadAt(begin, bytes));
    for (size_t offset = 0; offset < bytes.size(); offset += kSlotBytes) {
      const auto slot = std::span<const std::byte>(bytes).subspan(offset, kSlotBytes);
      const int64_t position = begin + static_cast<int64_t>(offset);
      ByteReader reader(slot);
      Slot read{position, static_cast<Kind>(reader.Get<int64_t>()), reader.Get<int64_t>() != 0, {}};
      RandomNumber number;
      std::ranges::copy(reader.GetBytes(sizeof(number)), number.begin());
      std::ranges::copy(reader.GetBytes(kSealedKeyBytes), read.sealed.begin());
      const bool is_known = read.kind == Kind::kDocument || read.kind == Kind::kShard;
      if (is_known && ChecksumFits(slot)) {
        slots_.insert_or_assign(number, read);
      } else if (std::ranges::all_of(slot, [](std::byte b) { return b == std::byte{0}; })) {
        free_.push_back(position);
      }
    }
  }
  // A file whose place another took is overwritten from its beginning.
  if (OpenRoot(*file, master_).ok()) return OkStatus();
  slots_.clear();
  free_.clear();
  end_ = 0;
  return FailedPrecondition(path_ + ": its master key was changed just now; open the bank again");
}

Status Keyring::OpenForWriting() {
  if (end_ == 0) MSA_RETURN_IF_ERROR(ReadSlots());
  if (writing_ == nullptr) {
    MSA_RETURN_IF_ERROR(ClearLeftovers());
    MSA_ASSIGN_OR_RETURN(writing_, fs_.Open(path_, OpenMode::kReadWrite));
  }
  return OkStatus();
}

Result<const Keyring::Slot*> Keyring::FindSlot(Kind kind, const RandomNumber& number) {
  const auto find = [&]() -> const Slot* {
    const auto found = slots_.find(number);
    return found != slots_.end() && found->second.kind == kind ? &found->second : nullptr;
  };
  if (end_ > 0) {
    if (const Slot* slot = find()) return slot;
  }
  MSA_RETURN_IF_ERROR(ReadSlots());
  return find();
}

Result<SecretKey> Keyring::Add(Kind kind, const RandomNumber& number) {
  const std::lock_guard lock(mutex_);
  MSA_RETURN_IF_ERROR(OpenForWriting());
  const SecretKey key = SecretKey::Random();
  Slot slot{TakePosition(), kind, false, {}};
  std::ranges::copy(SealKey(master_, bank_, number, kind, key), slot.sealed.begin());
  MSA_RETURN_IF_ERROR(WriteSlot(number, slot));
  return key;
}

int64_t Keyring::TakePosition() {
  if (free_.empty()) return std::exchange(end_, end_ + static_cast<int64_t>(kSlotBytes));
  const int64_t position = free_.back();
  free_.pop_back();
  return position;
}

Status Keyring::WriteSlot(const RandomNumber& number, const Slot& slot) {
  slots_.insert_or_assign(number, slot);
  is_dirty_ = true;
  if (slot.is_destroyed && slot.kind == Kind::kShard) {
    return writing_->WriteAt(slot.position, SlotBytes{});
  }
  return writing_->WriteAt(slot.position,
                           KeySlot(number, slot.kind, slot.is_destroyed, slot.sealed));
}

Result<SecretKey> Keyring::OpenSlot(const RandomNumber& number, const Slot& slot) const {
  const auto key =
      Sealer(master_, bank_, number)
          .Open(CipherRole::kKeyringKey, static_cast<int64_t>(slot.kind), 0, slot.sealed);
  if (!key.ok()) return key.status().WithContext(path_);
  return KeyOf(*key);
}

Result<std::optional<SecretKey>> Keyring::Find(Kind kind, const RandomNumber& number) {
  const std::lock_guard lock(mutex_);
  MSA_ASSIGN_OR_RETURN(const Slot* slot, FindSlot(kind, number));
  if (slot == nullptr || slot->is_destroyed) return std::optional<SecretKey>();
  MSA_ASSIGN_OR_RETURN(const SecretKey key, OpenSlot(number, *slot));
  return std::optional<SecretKey>(key);
}

Result<bool> Keyring::IsDestroyed(const RandomNumber& document) {
  const std::lock_guard lock(mutex_);
  MSA_ASSIGN_OR_RETURN(const Slot* slot, FindSlot(Kind::kDocument, document));
  return slot != nullptr && slot->is_destroyed;
}

Status Keyring::Destroy(Kind kind, const RandomNumber& number) {
  const std::lock_guard lock(mutex_);
  MSA_RETURN_IF_ERROR(OpenForWriting());
  const auto found = slots_.find(number);
  const bool is_there = found != slots_.end() && found->second.kind == kind;
  if (is_there ? found->second.is_destroyed : kind == Kind::kShard) return OkStatus();
  const int64_t position = is_there ? found->second.position : TakePosition();
  MSA_RETURN_IF_ERROR(WriteSlot(number, {position, kind, true, {}}));
  if (kind == Kind::kShard) {
    free_.push_back(position);
    slots_.erase(number);
  }
  return OkStatus();
}

Status Keyring::DestroyShardsExcept(const std::set<RandomNumber>& kept) {
  std::vector<RandomNumber> gone;
  {
    const std::lock_guard lock(mutex_);
    MSA_RETURN_IF_ERROR(OpenForWriting());
    for (const auto& [number, slot] : slots_) {
      if (slot.kind == Kind::kShard && !kept.contains(number)) gone.push_back(number);
    }
  }
  for (const RandomNumber& number : gone) MSA_RETURN_IF_ERROR(Destroy(Kind::kShard, number));
  return OkStatus();
}

Status Keyring::Sync() {
  const std::lock_guard lock(mutex_);
  if (!is_dirty_) return OkStatus();
  MSA_RETURN_IF_ERROR(OpenForWriting());
  MSA_RETURN_IF_ERROR(writing_->Sync());
  is_dirty_ = false;
  return OkStatus();
}

// The file before is overwritten after the new one has its name, so it needs a second name until
// then: the next writer, or change, finds it by that.
Status Keyring::ChangeMasterKey(const SecretKey& master) {
  const std::lock_guard lock(mutex_);
  MSA_CHECK(!is_dirty_);
  if (std::ranges::equal(master.bytes(), master_.bytes())) {
    return InvalidArgument(path_ + " has this master key already");
  }
  MSA_RETURN_IF_ERROR(ClearLeftovers());
  MSA_RETURN_IF_ERROR(ReadSlots());
  MSA_RETURN_IF_ERROR(WriteUnder(master, PathOf(Leftover::kNew)));
  std::error_code error;
  std::filesystem::create_hard_link(path_, PathOf(Leftover::kOld), error);
  if (error) return ErrnoStatus("link " + PathOf(Leftover::kOld), error.value());
  MSA_RETURN_IF_ERROR(fs_.SyncDirectory(Folder()));
  MSA_RETURN_IF_ERROR(fs_.Rename(PathOf(Leftover::kNew), path_));
  writing_.reset();
  master_ = master;
  MSA_RETURN_IF_ERROR(fs_.SyncDirectory(Folder()));
  MSA_RETURN_IF_ERROR(ReadSlots());
  return ClearLeftovers();
}

Status Keyring::WriteUnder(const SecretKey& master, const std::string& path) {
  // Slots that are not whole stay behind.
  std::vector<std::byte> bytes(static_cast<size_t>(end_));
  std::ranges::copy(RootSlot(bank_, master, root_), bytes.begin());
  for (const auto& [number, slot] : slots_) {
    std::vector<std::byte> sealed(kSealedKeyBytes);
    if (!slot.is_destroyed) {
      MSA_ASSIGN_OR_RETURN(const SecretKey key, OpenSlot(number, slot));
      sealed = SealKey(master, bank_, number, slot.kind, key);
    }
    std::ranges::copy(KeySlot(number, slot.kind, slot.is_destroyed, sealed),
                      bytes.begin() + slot.position);
  }
  MSA_ASSIGN_OR_RETURN(const auto file, fs_.Open(path, OpenMode::kCreate));
  std::error_code error;
  std::filesystem::permissions(path, std::filesystem::status(path_).permissions(), error);
  if (error) return ErrnoStatus("set who may read " + path, error.value());
  MSA_RETURN_IF_ERROR(file->WriteAt(0, bytes));
  MSA_RETURN_IF_ERROR(file->Sync());
  return file->Close();
}

Status Keyring::ClearLeftovers() {
  for (const Leftover leftover : {Leftover::kNew, Leftover::kOld}) {
    const std::string path = PathOf(leftover);
    if (!fs_.Exists(path)) continue;
    // Stopped before the new file had its name: both names are of the keyring.
    std::error_code error;
    const bool is_keyring = std::filesystem::equivalent(path, path_, error);
    if (error) return ErrnoStatus("compare " + path, error.value());
    if (!is_keyring) MSA_RETURN_IF_ERROR(OverwriteFile(fs_, path));
    MSA_RETURN_IF_ERROR(fs_.Remove(path));
    MSA_RETURN_IF_ERROR(fs_.SyncDirectory(Folder()));
  }
  return OkStatus();
}

std::string Keyring::Folder() const { return std::filesystem::path(path_).parent_path().string(); }

std::string Keyring::PathOf(Leftover leftover) const {
  return path_ + (leftover == Leftover::kNew ? ".new" : ".old");
}

void Keyring::Forget() {
  const std::lock_guard lock(mutex_);
  slots_.clear();
  free_.clear();
  end_ = 0;
  writing_.reset();
}

}  // namespace msa
