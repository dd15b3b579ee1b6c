// The file `lock`: at most one writer, and the readers, each known by process id. The locks are the
// kernel's (open-file-description locks on single bytes), so they end with their holder, however it
// ends. docs/bank-format.md, "lock", is the layout.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "msa/base/status.h"

namespace msa {

// One locked record of the file; unlocked when destroyed.
class LockRecord {
 public:
  // Record 0. kUnavailable names the process that holds it.
  static Result<LockRecord> AcquireWriter(const std::string& path);
  // The first free reader's record. kResourceExhausted if 1023 readers are there.
  static Result<LockRecord> AcquireReader(const std::string& path);

  // Who holds a reader's record.
  struct Holder {
    int64_t process_id;
    int64_t epoch;  // that it has confirmed
  };
  // Readers that have not confirmed `epoch` yet.
  static Result<std::vector<Holder>> FindReadersBehind(const std::string& path, int64_t epoch);

  LockRecord() = default;
  LockRecord(LockRecord&& other) noexcept;
  LockRecord& operator=(LockRecord&& other) noexcept;
  ~LockRecord();

  bool held() const { return fd_ >= 0; }
  // Says that this holder has dropped everything older than the erase epoch `epoch`.
  Status ConfirmEpoch(int64_t epoch);

 private:
  LockRecord(int fd, int64_t record) : fd_(fd), record_(record) {}
  int fd_ = -1;
  int64_t record_ = 0;
};

}  // namespace msa
