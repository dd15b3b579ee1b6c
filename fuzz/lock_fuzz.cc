// Records of the file `lock` that somebody holds and that hold anything.
#include <fcntl.h>
#include <unistd.h>

#include "msa/bank/lock.h"
#include "support.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace msa;
  static const TestFolder folder;
  const std::string path = folder.Write("lock", "");
  const auto writer = LockRecord::AcquireWriter(path);
  const auto reader = LockRecord::AcquireReader(path);
  MSA_CHECK(writer.ok() && reader.ok());
  folder.Write("lock", fuzz::Chars(data, size));

  const fuzz::AllocationLimit limit(size);
  const auto behind = LockRecord::FindReadersBehind(path, 1);
  MSA_CHECK(behind.ok() && behind->size() <= 1);
  fuzz::Ignore(LockRecord::AcquireWriter(path));
  fuzz::Ignore(LockRecord::AcquireReader(path));
  return 0;
}
