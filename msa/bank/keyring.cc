#include "msa/bank/keyring.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <numeric>
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
constexpr int64_t kPartBytes = 4096;              // likewise
constexpr size_t kNumberOffset = 16;
constexpr int kSlotBits = 32;  // of an entry of the index

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

bool HasNumber(std::span<const std::byte> slot, const RandomNumber& number) {
  return std::ranges::equal(slot.subspan(kNumberOffset, number.size()), number);
}

bool IsFree(std::span<const std::byte> slot) {
  return std::ranges::all_of(slot, [](std::byte b) { return b == std::byte{0}; });
}

// Entries of one number begin with its first bytes, whatever slot they name.
uint64_t IndexEntry(std::span<const std::byte> number, int64_t slot) {
  uint32_t begin = 0;  // the numbers are random
  std::memcpy(&begin, number.data(), sizeof(begin));
  return uint64_t{begin} << kSlotBits | static_cast<uint64_t>(slot);
}

// Three passes over the bits of the numbers: 28 ms for a million entries, which comparing sorts
// in 72.
void SortByNumber(std::vector<uint64_t>& entries) {
  constexpr int kDigitBits = 11;
  constexpr uint64_t kDigits = uint64_t{1} << kDigitBits;
  std::vector<uint64_t> sorted(entries.size());
  for (int shift = kSlotBits; shift < 64; shift += kDigitBits) {
    const auto digit = [&](uint64_t entry) { return (entry >> shift) % kDigits; };
    std::array<size_t, kDigits + 1> begin{};
    for (const uint64_t entry : entries) ++begin[digit(entry) + 1];
    std::partial_sum(begin.begin(), begin.end(), begin.begin());
    for (const uint64_t entry : entries) sorted[begin[digit(entry)]++] = entry;
    entries.swap(sorted);
  }
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
  MSA_ASSIGN_OR_RETURN(keyring->reading_, fs.Open(path, OpenMode::kRead));
  const auto root = keyring->OpenRoot(*keyring->reading_, master);
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

std::optional<Keyring::Slot> Keyring::ParseSlot(std::span<const std::byte> bytes) {
  ByteReader reader(bytes);
  Slot slot{static_cast<Kind>(reader.Get<int64_t>()), reader.Get<int64_t>() != 0, {}, {}};
  std::ranges::copy(reader.GetBytes(slot.number.size()), slot.number.begin());
  std::ranges::copy(reader.GetBytes(slot.sealed.size()), slot.sealed.begin());
  const bool is_known = slot.kind == Kind::kDocument || slot.kind == Kind::kShard;
  return is_known && ChecksumFits(bytes) ? std::optional(slot) : std::nullopt;
}

Result<std::unique_ptr<File>> Keyring::OpenFile() const {
  MSA_ASSIGN_OR_RETURN(auto file, fs_.Open(path_, OpenMode::kRead));
  // Another process may have changed the master key.
  MSA_RETURN_IF_ERROR(OpenRoot(*file, master_).status().WithContext(path_));
  return file;
}

Status Keyring::OpenForReading() {
  if (reading_ != nullptr) return OkStatus();
  MSA_ASSIGN_OR_RETURN(reading_, OpenFile());
  return OkStatus();
}

Status Keyring::OpenForWriting() {
  if (end_ == 0) MSA_RETURN_IF_ERROR(ReadIndex());
  if (writing_ == nullptr) {
    MSA_RETURN_IF_ERROR(ClearLeftovers());
    MSA_ASSIGN_OR_RETURN(writing_, fs_.Open(path_, OpenMode::kReadWrite));
  }
  return OkStatus();
}

// Slots are not verified here. One that is neither whole nor zero is one that a writer was stopped
// in before its commit, or damage.
Status Keyring::ReadIndex() {
  MSA_ASSIGN_OR_RETURN(auto file, OpenFile());
  Clear();
  reading_ = std::move(file);
  MSA_ASSIGN_OR_RETURN(const int64_t size, reading_->Size());
  const int64_t slots = std::max<int64_t>(size / kSlotBytes, 1);
  if (slots >> kSlotBits != 0) return Unimplemented(path_ + " has more than 2^32 slots");
  end_ = slots * kSlotBytes;
  index_.reserve(static_cast<size_t>(slots));
  const Status status = ForEachSlot([&](int64_t position, std::span<const std::byte> slot) {
    if (IsFree(slot)) {
      free_.push_back(position);
      return OkStatus();
    }
    index_.push_back(IndexEntry(slot.subspan(kNumberOffset), position / kSlotBytes));
    if (ByteReader(slot).Get<int64_t>() == static_cast<int64_t>(Kind::kShard)) {
      shards_.insert(position);
    }
    return OkStatus();
  });
  // A file whose place another took is overwritten from its beginning.
  if (status.ok() && OpenRoot(*reading_, master_).ok()) {
    SortByNumber(index_);
    return OkStatus();
  }
  Clear();
  MSA_RETURN_IF_ERROR(status);
  return FailedPrecondition(path_ + ": its master key was changed just now; open the bank again");
}

Status Keyring::ForEachSlot(
    FunctionRef<Status(int64_t position, std::span<const std::byte> slot)> on_slot) const {
  std::vector<std::byte> bytes;
  for (int64_t begin = kSlotBytes; begin < end_; begin += static_cast<int64_t>(bytes.size())) {
    bytes.resize(static_cast<size_t>(std::min(kReadBytes, end_ - begin)));
    MSA_RETURN_IF_ERROR(reading_->ReadAt(begin, bytes));
    for (size_t offset = 0; offset < bytes.size(); offset += kSlotBytes) {
      MSA_RETURN_IF_ERROR(on_slot(begin + static_cast<int64_t>(offset),
                                  std::span(bytes).subspan(offset, kSlotBytes)));
    }
  }
  return OkStatus();
}

Status Keyring::ReadPart(int64_t position) {
  part_.begin = position / kPartBytes * kPartBytes;
  part_.bytes.clear();
  MSA_ASSIGN_OR_RETURN(const int64_t size, reading_->Size());
  const int64_t rest = size / kSlotBytes * kSlotBytes - part_.begin;
  if (rest <= 0) return OkStatus();
  std::vector<std::byte> bytes(static_cast<size_t>(std::min(kPartBytes, rest)));
  MSA_RETURN_IF_ERROR(reading_->ReadAt(part_.begin, bytes));
  part_.bytes = std::move(bytes);
  return OkStatus();
}

std::vector<Keyring::Place> Keyring::PlacesInPart(const RandomNumber& number) const {
  std::vector<Place> places;
  for (size_t offset = 0; offset < part_.bytes.size(); offset += kSlotBytes) {
    const auto slot = std::span(part_.bytes).subspan(offset, kSlotBytes);
    const int64_t position = part_.begin + static_cast<int64_t>(offset);
    if (position > 0 && HasNumber(slot, number) && !IsFree(slot)) {
      places.push_back({position, ParseSlot(slot)});
    }
  }
  return places;
}

Result<std::vector<Keyring::Place>> Keyring::PlacesInFile(const RandomNumber& number) {
  std::set<int64_t> positions;
  const uint64_t begin = IndexEntry(number, 0);
  const uint64_t past_begin = begin + (uint64_t{1} << kSlotBits) - 1;
  for (auto entry = std::ranges::lower_bound(index_, begin);
       entry != index_.end() && *entry <= past_begin; ++entry) {
    positions.insert(static_cast<int64_t>(*entry - begin) * static_cast<int64_t>(kSlotBytes));
  }
  if (const auto found = written_.find(number); found != written_.end()) {
    positions.insert(found->second);
  }
  std::vector<Place> places;
  for (const int64_t position : positions) {
    MSA_RETURN_IF_ERROR(ReadPart(position));
    for (const Place& place : PlacesInPart(number)) {
      if (place.position == position) places.push_back(place);
    }
  }
  return places;
}

Result<std::optional<Keyring::Slot>> Keyring::FindSlot(Kind kind, const RandomNumber& number) {
  const auto whole = [&](const std::vector<Place>& places) {
    std::optional<Slot> slot;
    for (const Place& place : places) {
      if (place.slot && place.slot->kind == kind) slot = place.slot;
    }
    return slot;
  };
  MSA_RETURN_IF_ERROR(OpenForReading());
  if (auto slot = whole(PlacesInPart(number))) return slot;
  if (end_ > 0) {
    MSA_ASSIGN_OR_RETURN(const auto places, PlacesInFile(number));
    if (auto slot = whole(places)) return slot;
  } else {
    // Who reads documents in their order finds the next key here, and needs no index.
    MSA_RETURN_IF_ERROR(ReadPart(part_.begin + static_cast<int64_t>(part_.bytes.size())));
    if (auto slot = whole(PlacesInPart(number))) return slot;
  }
  MSA_RETURN_IF_ERROR(ReadIndex());
  MSA_ASSIGN_OR_RETURN(const auto places, PlacesInFile(number));
  return whole(places);
}

Result<SecretKey> Keyring::Add(Kind kind, const RandomNumber& number) {
  const std::lock_guard lock(mutex_);
  MSA_RETURN_IF_ERROR(OpenForWriting());
  const SecretKey key = SecretKey::Random();
  Slot slot{kind, false, number, {}};
  std::ranges::copy(SealKey(master_, bank_, number, kind, key), slot.sealed.begin());
  MSA_RETURN_IF_ERROR(WriteSlot(TakePosition(), slot));
  return key;
}

int64_t Keyring::TakePosition() {
  if (free_.empty()) return std::exchange(end_, end_ + static_cast<int64_t>(kSlotBytes));
  const int64_t position = free_.back();
  free_.pop_back();
  return position;
}

Status Keyring::WriteSlot(int64_t position, const Slot& slot) {
  is_dirty_ = true;
  part_.bytes.clear();
  if (slot.is_destroyed && slot.kind == Kind::kShard) {
    MSA_RETURN_IF_ERROR(writing_->WriteAt(position, SlotBytes{}));
    written_.erase(slot.number);
    shards_.erase(position);
    free_.push_back(position);
    return OkStatus();
  }
  MSA_RETURN_IF_ERROR(
      writing_->WriteAt(position, KeySlot(slot.number, slot.kind, slot.is_destroyed, slot.sealed)));
  written_.insert_or_assign(slot.number, position);
  if (slot.kind == Kind::kShard) shards_.insert(position);
  return OkStatus();
}

Result<SecretKey> Keyring::OpenSlot(const Slot& slot) const {
  const auto key =
      Sealer(master_, bank_, slot.number)
          .Open(CipherRole::kKeyringKey, static_cast<int64_t>(slot.kind), 0, slot.sealed);
  if (!key.ok()) return key.status().WithContext(path_);
  return KeyOf(*key);
}

Result<std::optional<SecretKey>> Keyring::Find(Kind kind, const RandomNumber& number) {
  const std::lock_guard lock(mutex_);
  MSA_ASSIGN_OR_RETURN(const auto slot, FindSlot(kind, number));
  if (slot && !slot->is_destroyed) {
    MSA_ASSIGN_OR_RETURN(const SecretKey key, OpenSlot(*slot));
    return std::optional<SecretKey>(key);
  }
  if (!slot && kind == Kind::kDocument) {
    MSA_ASSIGN_OR_RETURN(const auto places, PlacesInFile(number));
    const auto damaged =
        std::ranges::find_if(places, [](const Place& place) { return !place.slot; });
    if (damaged != places.end()) {
      return DataLoss(path_ + ": the key of document " + HexEncode(number) + ", at byte " +
                      std::to_string(damaged->position) + ", is damaged");
    }
  }
  return std::optional<SecretKey>();
}

Result<bool> Keyring::IsDestroyed(const RandomNumber& document) {
  const std::lock_guard lock(mutex_);
  MSA_ASSIGN_OR_RETURN(const auto slot, FindSlot(Kind::kDocument, document));
  return slot && slot->is_destroyed;
}

// What is left of a key in a slot that is not whole goes too.
Status Keyring::Destroy(Kind kind, const RandomNumber& number) {
  const std::lock_guard lock(mutex_);
  MSA_RETURN_IF_ERROR(OpenForWriting());
  MSA_ASSIGN_OR_RETURN(auto places, PlacesInFile(number));
  std::erase_if(places, [&](const Place& place) { return place.slot && place.slot->kind != kind; });
  if (places.empty() && kind == Kind::kDocument) places.push_back({TakePosition(), std::nullopt});
  for (const Place& place : places) {
    if (place.slot && place.slot->is_destroyed) continue;
    MSA_RETURN_IF_ERROR(WriteSlot(place.position, {kind, true, number, {}}));
  }
  return OkStatus();
}

Status Keyring::DestroyShardsExcept(const std::set<RandomNumber>& kept) {
  std::vector<RandomNumber> gone;
  {
    const std::lock_guard lock(mutex_);
    MSA_RETURN_IF_ERROR(OpenForWriting());
    for (const int64_t position : shards_) {
      SlotBytes bytes;
      MSA_RETURN_IF_ERROR(reading_->ReadAt(position, bytes));
      const auto slot = ParseSlot(bytes);
      if (slot && slot->kind == Kind::kShard && !kept.contains(slot->number)) {
        gone.push_back(slot->number);
      }
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
  MSA_RETURN_IF_ERROR(ReadIndex());
  MSA_RETURN_IF_ERROR(WriteUnder(master, PathOf(Leftover::kNew)));
  std::error_code error;
  std::filesystem::create_hard_link(path_, PathOf(Leftover::kOld), error);
  if (error) return ErrnoStatus("link " + PathOf(Leftover::kOld), error.value());
  MSA_RETURN_IF_ERROR(fs_.SyncDirectory(Folder()));
  MSA_RETURN_IF_ERROR(fs_.Rename(PathOf(Leftover::kNew), path_));
  Clear();
  writing_.reset();
  master_ = master;
  MSA_RETURN_IF_ERROR(fs_.SyncDirectory(Folder()));
  MSA_RETURN_IF_ERROR(OpenForReading());
  return ClearLeftovers();
}

Status Keyring::WriteUnder(const SecretKey& master, const std::string& path) {
  MSA_ASSIGN_OR_RETURN(const auto file, fs_.Open(path, OpenMode::kCreate));
  std::error_code error;
  std::filesystem::permissions(path, std::filesystem::status(path_).permissions(), error);
  if (error) return ErrnoStatus("set who may read " + path, error.value());
  std::vector<std::byte> bytes;
  int64_t end = 0;  // of what is written
  const auto put = [&](std::span<const std::byte> slot) {
    bytes.insert(bytes.end(), slot.begin(), slot.end());
  };
  const auto write = [&] {
    const int64_t begin = std::exchange(end, end + static_cast<int64_t>(bytes.size()));
    return file->WriteAt(begin, std::exchange(bytes, {}));
  };
  put(RootSlot(bank_, master, root_));
  MSA_RETURN_IF_ERROR(ForEachSlot([&](int64_t, std::span<const std::byte> old) -> Status {
    const auto slot = ParseSlot(old);
    if (!slot) {
      put(SlotBytes{});  // those that are not whole stay behind
    } else {
      std::vector<std::byte> sealed(kSealedKeyBytes);
      if (!slot->is_destroyed) {
        MSA_ASSIGN_OR_RETURN(const SecretKey key, OpenSlot(*slot));
        sealed = SealKey(master, bank_, slot->number, slot->kind, key);
      }
      put(KeySlot(slot->number, slot->kind, slot->is_destroyed, sealed));
    }
    return std::ssize(bytes) < kReadBytes ? OkStatus() : write();
  }));
  MSA_RETURN_IF_ERROR(write());
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
  Clear();
  writing_.reset();
}

void Keyring::Clear() {
  reading_.reset();
  part_ = {};
  index_.clear();
  written_.clear();
  shards_.clear();
  free_.clear();
  end_ = 0;
}

}  // namespace msa
