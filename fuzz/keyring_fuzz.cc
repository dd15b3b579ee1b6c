// A keyring of bank 0 under master key 0, as it is and with checksums that fit, and with a first
// slot that opens where its own does not. What a plain reading of all slots says must be found, and
// nothing else; destroying keys, adding some and changing the master key must change nothing but
// that.
#include "msa/bank/keyring.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <set>

#include "msa/bank/bytes.h"
#include "msa/base/hash.h"
#include "support.h"

namespace {

using namespace msa;
using Kind = Keyring::Kind;

constexpr size_t kSlotBytes = 128;
constexpr size_t kChecksumAt = kSlotBytes - sizeof(uint64_t);
constexpr size_t kSealedAt = 32;
constexpr size_t kSealedBytes = sizeof(Secret) + Sealer::kExtraBytes;
constexpr Kind kKinds[] = {Kind::kDocument, Kind::kShard};

const SecretKey& MasterKey() {
  static const SecretKey key{Secret{}};
  return key;
}
const SecretKey& OtherMasterKey() {
  static const SecretKey key{Secret{std::byte{1}}};
  return key;
}

bool IsZero(std::string_view bytes) { return bytes.find_first_not_of('\0') == bytes.npos; }

std::string_view SlotAt(std::string_view file, size_t i) {
  return file.substr(i * kSlotBytes, kSlotBytes);
}

uint64_t ChecksumOf(std::string_view slot) {
  return Checksum64(AsBytes(slot.substr(0, kChecksumAt)));
}

// One that is not the first, as docs/bank-format.md has it.
struct Slot {
  Slot(std::string_view bytes, const SecretKey& master) : is_free(IsZero(bytes)) {
    ByteReader reader(AsBytes(bytes));
    kind = static_cast<Kind>(reader.Get<int64_t>());
    is_destroyed = reader.Get<int64_t>() != 0;
    MSA_CHECK(CopyBlob(reader.GetBytes(number.size()), &number));
    const auto sealed = reader.GetBytes(kSealedBytes);
    uint64_t checksum = 0;
    std::memcpy(&checksum, bytes.data() + kChecksumAt, sizeof(checksum));
    is_whole = (kind == Kind::kDocument || kind == Kind::kShard) && checksum == ChecksumOf(bytes);
    if (!is_whole || is_destroyed) return;
    const auto opened = Sealer(master, BankId{}, number)
                            .Open(CipherRole::kKeyringKey, static_cast<int64_t>(kind), 0, sealed);
    if (opened.ok()) key = AsChars(*opened);
  }

  bool IsOf(Kind k) const { return is_whole && kind == k; }
  bool IsDestroyedOf(Kind k) const { return IsOf(k) && is_destroyed; }
  bool IsLiveOf(Kind k) const { return IsOf(k) && !is_destroyed; }
  friend bool operator==(const Slot&, const Slot&) = default;

  bool is_free;
  bool is_whole;
  Kind kind;
  bool is_destroyed;
  RandomNumber number;
  std::string key;  // empty: none, or it does not open
};

std::vector<Slot> SlotsOf(std::string_view file, const SecretKey& master) {
  std::vector<Slot> slots;
  for (size_t i = 1; i < file.size() / kSlotBytes; ++i) slots.emplace_back(SlotAt(file, i), master);
  return slots;
}

// Several slots of one number, which no writer makes, leave open which of them counts.
void ExpectAnswers(Keyring& keyring, const RandomNumber& number, std::span<const Slot> slots) {
  const auto any = [&](auto is) { return std::ranges::any_of(slots, is); };
  for (const Kind kind : kKinds) {
    const bool is_there = any([&](const Slot& s) { return s.IsOf(kind); });
    const bool is_damaged =
        kind == Kind::kDocument && !slots.empty() && any([](const Slot& s) { return !s.is_whole; });
    const auto found = keyring.Find(kind, number);
    if (!found.ok()) {
      MSA_CHECK(found.status().code() == StatusCode::kDataLoss);
      MSA_CHECK(is_there ? any([&](const Slot& s) { return s.IsLiveOf(kind) && s.key.empty(); })
                         : is_damaged);
    } else if (*found) {
      const std::string_view key = AsChars((*found)->bytes());
      MSA_CHECK(any([&](const Slot& s) { return s.IsLiveOf(kind) && s.key == key; }));
    } else {
      MSA_CHECK(is_there ? any([&](const Slot& s) { return s.IsDestroyedOf(kind); }) : !is_damaged);
    }
  }
  const auto destroyed = keyring.IsDestroyed(number);
  MSA_CHECK(destroyed.ok());
  const bool may_be = any([](const Slot& s) { return s.IsDestroyedOf(Kind::kDocument); });
  const bool may_not_be = !may_be || any([](const Slot& s) { return s.IsLiveOf(Kind::kDocument); });
  MSA_CHECK(*destroyed ? may_be : may_not_be);
}

// In the order of the file, which needs no index, and the other way round.
void ExpectAllAnswers(Keyring& keyring, const std::vector<Slot>& slots) {
  std::map<RandomNumber, std::vector<Slot>> by_number = {{RandomNumber{std::byte{0xab}}, {}}};
  std::vector<RandomNumber> numbers = {by_number.begin()->first};
  for (const Slot& slot : slots) {
    if (slot.is_free) continue;
    auto& same = by_number[slot.number];
    if (same.empty()) numbers.push_back(slot.number);
    same.push_back(slot);
  }
  for (int pass = 0; pass < 2; ++pass) {
    keyring.Forget();
    std::ranges::reverse(numbers);
    for (const RandomNumber& number : numbers) ExpectAnswers(keyring, number, by_number[number]);
  }
}

class StoredKeyring {
 public:
  explicit StoredKeyring(std::string_view file) : path_(folder().Write("keys", file)) {}

  static std::string FirstSlot() {
    static const std::string slot = [] {
      const std::string path = folder().File("new.keys");
      MSA_CHECK(Keyring::Create(PosixFileSystem(), path, BankId{}, MasterKey()).ok());
      std::string content = ReadFile(path).value();
      std::filesystem::remove(path);
      return content;
    }();
    return slot;
  }

  // Null: it does not open.
  std::unique_ptr<Keyring> Open(const SecretKey& master) const {
    auto keyring = Keyring::Open(PosixFileSystem(), path_, BankId{}, master);
    return keyring.ok() ? *std::move(keyring) : nullptr;
  }
  std::string Content() const { return ReadFile(path_).value(); }
  std::vector<std::string> FilesBeside() const {
    return PosixFileSystem().List(folder().path()).value();
  }

 private:
  static const TestFolder& folder() {
    static const TestFolder folder;
    return folder;
  }

  const std::string path_;
};

// The master key under which it is then.
const SecretKey& ChangeMasterKey(const StoredKeyring& stored, Keyring& keyring) {
  const std::string before = stored.Content();
  const std::vector<Slot> slots = SlotsOf(before, MasterKey());
  const bool all_open = std::ranges::all_of(
      slots, [](const Slot& s) { return !s.is_whole || s.is_destroyed || !s.key.empty(); });
  const Status changed = keyring.ChangeMasterKey(OtherMasterKey());
  MSA_CHECK(changed.ok() == all_open);
  if (!all_open) {
    MSA_CHECK(changed.code() == StatusCode::kDataLoss && stored.Content() == before);
    return MasterKey();
  }
  MSA_CHECK(stored.Open(MasterKey()) == nullptr);
  const std::vector<Slot> after = SlotsOf(stored.Content(), OtherMasterKey());
  MSA_CHECK(after.size() == slots.size());
  for (size_t i = 0; i < slots.size(); ++i) {
    MSA_CHECK(slots[i].is_whole ? after[i] == slots[i] : after[i].is_free);
  }
  return OtherMasterKey();
}

// Destroys the key of every other document, and of every other shard; adds some then.
void DestroyAndAdd(const StoredKeyring& stored, Keyring& keyring, const SecretKey& master) {
  const std::string before = stored.Content();
  const std::vector<Slot> slots = SlotsOf(before, master);
  std::set<RandomNumber> documents;
  std::set<RandomNumber> shards;
  std::set<RandomNumber> kept_shards;
  for (size_t i = 0; i < slots.size(); ++i) {
    if (slots[i].IsOf(Kind::kShard)) {
      (i % 2 == 0 ? shards : kept_shards).insert(slots[i].number);
    } else if (!slots[i].is_free && i % 2 == 0) {
      documents.insert(slots[i].number);
    }
  }
  for (const RandomNumber& number : kept_shards) shards.erase(number);
  MSA_CHECK(keyring.DestroyShardsExcept(kept_shards).ok());
  for (const RandomNumber& number : documents) {
    MSA_CHECK(keyring.Destroy(Kind::kDocument, number).ok());
    MSA_CHECK(keyring.IsDestroyed(number).value());
    MSA_CHECK(!keyring.Find(Kind::kDocument, number).value());
  }
  std::map<RandomNumber, std::pair<Kind, std::string>> added;
  for (int i = 0; i < 6; ++i) {
    const RandomNumber number = MakeRandomNumber();
    const Kind kind = kKinds[i % 2];
    added[number] = {kind, std::string(AsChars(keyring.Add(kind, number).value().bytes()))};
  }
  MSA_CHECK(keyring.Sync().ok());

  const std::string after = stored.Content();
  MSA_CHECK(after.size() >= before.size() / kSlotBytes * kSlotBytes);
  for (size_t i = 0; i < slots.size(); ++i) {
    const Slot& slot = slots[i];
    if (slot.is_free) continue;  // may have been taken
    const auto goes_with = [&](Kind kind, const std::set<RandomNumber>& destroyed) {
      return (slot.IsLiveOf(kind) || !slot.is_whole) && destroyed.contains(slot.number);
    };
    const std::string_view bytes = SlotAt(before, i + 1);
    const std::string_view now = SlotAt(after, i + 1);
    const std::string_view sealed = now.substr(kSealedAt, kSealedBytes);
    if (goes_with(Kind::kShard, shards)) {
      // Free then, it may have been taken as well.
      MSA_CHECK(IsZero(sealed) || sealed != bytes.substr(kSealedAt, kSealedBytes));
    } else if (goes_with(Kind::kDocument, documents)) {
      const Slot destroyed(now, master);
      MSA_CHECK(destroyed.IsDestroyedOf(Kind::kDocument) && destroyed.number == slot.number);
      MSA_CHECK(IsZero(sealed));
    } else {
      MSA_CHECK(now == bytes);
    }
  }
  const auto opened = stored.Open(master);
  MSA_CHECK(opened != nullptr);
  ExpectAllAnswers(*opened, SlotsOf(after, master));
  for (const auto& [number, what] : added) {
    const auto found = opened->Find(what.first, number);
    MSA_CHECK(found.ok() && *found && AsChars((*found)->bytes()) == what.second);
  }
}

// False if it does not open.
bool Use(std::string_view file) {
  const StoredKeyring stored(file);
  const auto keyring = stored.Open(MasterKey());
  if (keyring == nullptr) return false;
  ExpectAllAnswers(*keyring, SlotsOf(file, MasterKey()));
  const SecretKey& master = ChangeMasterKey(stored, *keyring);
  DestroyAndAdd(stored, *keyring, master);
  MSA_CHECK(std::ranges::equal(stored.Open(master)->root().bytes(), keyring->root().bytes()));
  MSA_CHECK(stored.FilesBeside().size() == 1);
  return true;
}

std::string WithChecksums(std::string file) {
  for (size_t i = 0; i < file.size() / kSlotBytes; ++i) {
    if (IsZero(SlotAt(file, i))) continue;
    const uint64_t checksum = ChecksumOf(SlotAt(file, i));
    std::memcpy(file.data() + i * kSlotBytes + kChecksumAt, &checksum, sizeof(checksum));
  }
  return file;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string content(fuzz::Chars(data, size));
  const fuzz::AllocationLimit limit(size);
  for (std::string file : {content, WithChecksums(content)}) {
    if (Use(file)) continue;
    file.replace(0, std::min(file.size(), kSlotBytes), StoredKeyring::FirstSlot());
    MSA_CHECK(Use(file));
  }
  return 0;
}
