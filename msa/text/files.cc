#include "msa/text/files.h"

#include <sys/stat.h>

#include <cerrno>
#include <set>
#include <utility>

#include "msa/base/file.h"
#include "msa/base/utf8.h"

namespace msa {
namespace {

class Walker {
 public:
  Walker(FunctionRef<bool(const FoundFile&)> on_file,
         FunctionRef<void(const LoadFailure&)> on_failure)
      : on_file_(on_file), on_failure_(on_failure) {}

  bool Visit(const std::string& path) {
    struct stat st{};
    if (::stat(path.c_str(), &st) != 0) return Fail(path, ErrnoStatus("open", errno));
    // Only links can lead to a folder, or to a file of one name, a second time.
    if ((S_ISDIR(st.st_mode) || st.st_nlink == 1) && !seen_.insert({st.st_dev, st.st_ino}).second) {
      return true;
    }
    if (S_ISDIR(st.st_mode)) return VisitFolder(path);
    if (!S_ISREG(st.st_mode)) return Fail(path, InvalidArgument("not a regular file"));
    return on_file_({path, static_cast<int64_t>(st.st_size)});
  }

 private:
  // As deep as folders nest, which the longest path allowed bounds to some 2,000.
  bool VisitFolder(const std::string& path) {
    const auto names = PosixFileSystem().List(path);
    if (!names.ok()) return Fail(path, names.status());
    for (const std::string& name : *names) {
      if (name.starts_with('.')) continue;
      if (!Visit(path.ends_with('/') ? path + name : path + "/" + name)) return false;
    }
    return true;
  }

  bool Fail(const std::string& path, Status reason) {
    on_failure_({ReplaceInvalidUtf8(path), std::move(reason)});
    return true;
  }

  FunctionRef<bool(const FoundFile&)> on_file_;
  FunctionRef<void(const LoadFailure&)> on_failure_;
  std::set<std::pair<dev_t, ino_t>> seen_;
};

}  // namespace

bool WalkFiles(const std::vector<std::string>& paths, FunctionRef<bool(const FoundFile&)> on_file,
               FunctionRef<void(const LoadFailure&)> on_failure) {
  Walker walker(on_file, on_failure);
  for (const std::string& path : paths) {
    if (!(path == "-" ? on_file({path, 0}) : walker.Visit(path))) return false;
  }
  return true;
}

}  // namespace msa
