// The keys of an encrypted bank: one for each document and each lexical shard, in a file outside of
// the bank, each sealed under the master key. Whoever destroys a key here has destroyed what was
// sealed with it in every copy of the bank. docs/bank-format.md, "Encryption", has the layout.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "msa/bank/cipher.h"
#include "msa/base/file.h"
#include "msa/base/function_ref.h"
#include "msa/base/status.h"

namespace msa {

// Where the keyring of a bank lies: in $MSA_KEYRINGS, else in msa/keyrings of $XDG_DATA_HOME, else
// of ~/.local/share. Empty: there is no home.
std::string KeyringPath(const BankId& bank);

// The key that seals keyrings: $MSA_MASTER_KEY (64 hex digits), else that of the file
// $MSA_MASTER_KEY_FILE, else of msa/master.key in $XDG_CONFIG_HOME, else in ~/.config.
// kFailedPrecondition says what to do where there is none. `make`: the file is made if absent.
Result<SecretKey> LoadMasterKey(bool make = false);
// That of a file, which is made if absent.
Result<SecretKey> ReadOrMakeMasterKey(const std::string& path);

// Slots are read, and verified, when their keys are asked for: in memory is where each lies, 8
// bytes a key, and that only once a key is asked for that does not lie beside the one before.
// Thread-safe. One process writes at a time (the bank's lock sees to it); keys that others add are
// found, keys that others destroy are forgotten by Forget. When another changes the master key,
// keys that were not read before are kFailedPrecondition.
class Keyring {
 public:
  enum class Kind : int64_t { kDocument = 1, kShard = 2 };

  // A new file with a new root key, synced, in a folder that is made if absent. kAlreadyExists: one
  // is there.
  static Status Create(FileSystem& fs, const std::string& path, const BankId& bank,
                       const SecretKey& master);
  // kFailedPrecondition: there is none, or the master key does not open it; the message says what
  // to do. kDataLoss: damage.
  static Result<std::unique_ptr<Keyring>> Open(FileSystem& fs, const std::string& path,
                                               const BankId& bank, const SecretKey& master);

  // The key that keys of the whole bank derive from.
  const SecretKey& root() const { return root_; }
  const std::string& path() const { return path_; }

  // Makes a key. It is durable after Sync; one that no commit needs in the end does no harm.
  Result<SecretKey> Add(Kind kind, const RandomNumber& number);
  // nullopt: there is none, or one of a shard that is damaged. kDataLoss names the place of a
  // document's that is. Costs a pass over the file where it was not there before.
  Result<std::optional<SecretKey>> Find(Kind kind, const RandomNumber& number);
  // True if there was a key of that document, and it was destroyed.
  Result<bool> IsDestroyed(const RandomNumber& document);
  // Overwrites a key; no error if there is none. Of a document the number stays, so that a copy of
  // the bank that still holds the document is known to be older than its erasure.
  Status Destroy(Kind kind, const RandomNumber& number);
  // Destroys the keys of all shards but these.
  Status DestroyShardsExcept(const std::set<RandomNumber>& kept);
  // Makes what was added and destroyed durable.
  Status Sync();
  // Seals all keys under another master key, in a new file that takes the place of this one: at any
  // moment one of the two master keys opens all, and the one before opens nothing after that. What
  // the old file held is overwritten. REQUIRES: nothing waits for Sync. kInvalidArgument: it is the
  // master key already.
  Status ChangeMasterKey(const SecretKey& master);
  // Drops what is in memory; keys are read from the file again.
  void Forget();

 private:
  static constexpr size_t kSealedKeyBytes = sizeof(Secret) + Sealer::kExtraBytes;
  struct Slot {
    Kind kind;
    bool is_destroyed;
    RandomNumber number;
    std::array<std::byte, kSealedKeyBytes> sealed;
  };
  // Where the number of a key was found. `slot`: nullopt if it is not whole.
  struct Place {
    int64_t position;
    std::optional<Slot> slot;
  };
  struct HashNumber {
    size_t operator()(const RandomNumber& number) const;
  };

  // What a change of the master key writes, and what it replaces.
  enum class Leftover { kNew, kOld };

  Keyring(FileSystem& fs, std::string path, const BankId& bank, const SecretKey& master)
      : fs_(fs), path_(std::move(path)), bank_(bank), root_(master), master_(master) {}
  // The root key, if `master` opens it.
  Result<SecretKey> OpenRoot(const File& file, const SecretKey& master) const;
  std::string Folder() const;
  std::string PathOf(Leftover leftover) const;
  // nullopt: it is not whole.
  static std::optional<Slot> ParseSlot(std::span<const std::byte> bytes);

  // REQUIRES of what follows: mutex_ is held.
  Result<std::unique_ptr<File>> OpenFile() const;
  Status OpenForReading();
  Status OpenForWriting();
  // Finds out where all slots lie.
  Status ReadIndex();
  // Calls on_slot with all slots that the file had when its index was read.
  Status ForEachSlot(
      FunctionRef<Status(int64_t position, std::span<const std::byte> slot)> on_slot) const;
  // Makes part_ the one that holds what lies at a position; empty at the end of the file.
  Status ReadPart(int64_t position);
  // Those in part_ of that number, in their order; in all of the file, by its index.
  std::vector<Place> PlacesInPart(const RandomNumber& number) const;
  Result<std::vector<Place>> PlacesInFile(const RandomNumber& number);
  // nullopt: no whole slot has it.
  Result<std::optional<Slot>> FindSlot(Kind kind, const RandomNumber& number);
  int64_t TakePosition();
  // Of a shard that is destroyed nothing stays.
  Status WriteSlot(int64_t position, const Slot& slot);
  Result<SecretKey> OpenSlot(const Slot& slot) const;
  void Clear();
  // All of the file, sealed under another master key, synced.
  Status WriteUnder(const SecretKey& master, const std::string& path);
  // Overwrites and removes what a change of the master key left that was stopped.
  Status ClearLeftovers();

  FileSystem& fs_;
  const std::string path_;
  const BankId bank_;
  SecretKey root_;

  std::mutex mutex_;  // guards what follows
  SecretKey master_;
  std::unique_ptr<File> reading_;  // null: nothing was read yet
  struct {
    int64_t begin = 0;
    std::vector<std::byte> bytes;
  } part_;  // of the file, as it was read last
  // Where slots lie: the first four bytes of the number in the upper half, the slot's number in the
  // file in the lower one, ascending. Of the file as it was read; what was written since is in
  // written_.
  std::vector<uint64_t> index_;
  std::unordered_map<RandomNumber, int64_t, HashNumber> written_;
  std::set<int64_t> shards_;   // positions of their slots
  std::vector<int64_t> free_;  // positions of slots that hold nothing
  int64_t end_ = 0;            // of the last slot; 0: there is no index yet
  std::unique_ptr<File> writing_;
  bool is_dirty_ = false;
};

}  // namespace msa
