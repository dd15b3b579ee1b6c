#include "msa/text/process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <thread>
#include <utility>

#include "msa/base/check.h"

namespace msa {
namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kMaxErrorBytes = 4096;
constexpr int kPollMs = 50;  // how soon a cancellation is seen

class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Fd() { Reset(); }
  int get() const { return fd_; }
  void Reset() {
    if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  }

 private:
  int fd_ = -1;
};

struct Pipe {
  Fd read;
  Fd write;
};

Result<Pipe> MakePipe() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return ErrnoStatus("pipe", errno);
  return Pipe{Fd(ends[0]), Fd(ends[1])};
}

void SetLimit(__rlimit_resource resource, int64_t value) {
  const auto limit = static_cast<rlim_t>(value);
  const rlimit both{limit, limit};
  ::setrlimit(resource, &both);
}

// Between fork and exec only async-signal-safe calls are allowed: other threads of ours may have
// held any lock.
[[noreturn]] void ExecChild(char* const* argv, const ProcessLimits& limits, int null_fd, int out_fd,
                            int err_fd, int exec_error_fd) {
  ::setpgid(0, 0);
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  ::dup2(null_fd, STDIN_FILENO);
  ::dup2(out_fd, STDOUT_FILENO);
  ::dup2(err_fd, STDERR_FILENO);
  SetLimit(RLIMIT_AS, limits.memory_bytes);
  SetLimit(RLIMIT_CPU, limits.seconds);
  SetLimit(RLIMIT_CORE, 0);
  SetLimit(RLIMIT_FSIZE, 0);
  ::close_range(3, ~0U, CLOSE_RANGE_CLOEXEC);  // of other libraries; where the kernel knows it
  ::execvp(argv[0], argv);
  const int error = errno;
  // A lost report reads as an empty run; exit status 127 then still says failure.
  [[maybe_unused]] const ssize_t written = ::write(exec_error_fd, &error, sizeof(error));
  ::_exit(127);
}

// A started child. It is reaped, and whatever is left of its group killed, when this goes.
class Child {
 public:
  explicit Child(pid_t pid) : pid_(pid) {}
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child() {
    if (pid_ >= 0) Finish();
  }

  // Whether it has exited. It is not reaped yet, so that its number stays its own.
  bool HasExited() const {
    siginfo_t info{};
    return ::waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
           info.si_pid == pid_;
  }

  // Its wait status; kills it if it still runs.
  int Finish() {
    ::kill(-pid_, SIGKILL);
    ::kill(pid_, SIGKILL);  // in case it has not made its group yet
    int status = 0;
    while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
    }
    pid_ = -1;
    return status;
  }

 private:
  pid_t pid_;
};

// Appends what can be read now; closes at the end of the stream. Beyond `keep_bytes` it reads on
// and throws away. False if more than `keep_bytes` came.
bool Drain(Fd* fd, size_t keep_bytes, std::string* to) {
  char buffer[64 << 10];
  const ssize_t n = ::read(fd->get(), buffer, sizeof(buffer));
  if (n < 0) {
    if (errno != EINTR && errno != EAGAIN) fd->Reset();
    return true;
  }
  if (n == 0) {
    fd->Reset();
    return true;
  }
  const size_t room = keep_bytes - to->size();
  to->append(buffer, std::min(static_cast<size_t>(n), room));
  return static_cast<size_t>(n) <= room;
}

Status CheckDeadline(const ProcessLimits& limits, Clock::time_point deadline) {
  if (limits.cancelled != nullptr && limits.cancelled->load(std::memory_order_relaxed)) {
    return Cancelled("cancelled");
  }
  if (Clock::now() >= deadline) {
    return ResourceExhausted("took longer than " + std::to_string(limits.seconds) + " s");
  }
  return OkStatus();
}

// Reads both streams until both end.
Status Collect(const ProcessLimits& limits, Clock::time_point deadline, Fd* out, Fd* err,
               ProcessOutput* result) {
  while (out->get() >= 0 || err->get() >= 0) {
    MSA_RETURN_IF_ERROR(CheckDeadline(limits, deadline));
    pollfd polled[2] = {{out->get(), POLLIN, 0}, {err->get(), POLLIN, 0}};
    if (::poll(polled, 2, kPollMs) < 0 && errno != EINTR) return ErrnoStatus("poll", errno);
    if (polled[0].revents != 0 &&
        !Drain(out, static_cast<size_t>(limits.output_bytes), &result->out)) {
      return ResourceExhausted("wrote more than " + std::to_string(limits.output_bytes) + " bytes");
    }
    if (polled[1].revents != 0) Drain(err, kMaxErrorBytes, &result->err);
  }
  return OkStatus();
}

Status SignalStatus(int signal_number, const ProcessLimits& limits) {
  if (signal_number == SIGXCPU || signal_number == SIGKILL) {
    return ResourceExhausted("was stopped after " + std::to_string(limits.seconds) +
                             " s of processor time, or for memory");
  }
  return ResourceExhausted("died by signal " + std::to_string(signal_number) + " (" +
                           ::strsignal(signal_number) + "), perhaps at its limit of " +
                           std::to_string(limits.memory_bytes >> 20) + " MiB of memory");
}

// Fork and exec; kNotFound (or why else) if the program cannot be run.
Result<pid_t> Start(const std::vector<std::string>& argv, const ProcessLimits& limits, int out_fd,
                    int err_fd) {
  std::vector<char*> pointers;
  for (const std::string& argument : argv) pointers.push_back(const_cast<char*>(argument.c_str()));
  pointers.push_back(nullptr);
  const Fd null_fd(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  if (null_fd.get() < 0) return ErrnoStatus("open /dev/null", errno);
  MSA_ASSIGN_OR_RETURN(Pipe exec_error, MakePipe());

  const pid_t pid = ::fork();
  if (pid < 0) return ErrnoStatus("fork", errno);
  if (pid == 0) {
    ExecChild(pointers.data(), limits, null_fd.get(), out_fd, err_fd, exec_error.write.get());
  }
  exec_error.write.Reset();
  int error = 0;
  ssize_t n;
  do {
    n = ::read(exec_error.read.get(), &error, sizeof(error));
  } while (n < 0 && errno == EINTR);
  if (n == 0) return pid;  // closed by a successful exec
  Child(pid).Finish();
  return ErrnoStatus("run " + argv[0], error);
}

}  // namespace

Result<ProcessOutput> RunLimited(const std::vector<std::string>& argv,
                                 const ProcessLimits& limits) {
  MSA_CHECK(!argv.empty() && limits.seconds > 0 && limits.output_bytes > 0);
  const Clock::time_point deadline = Clock::now() + std::chrono::seconds(limits.seconds);
  MSA_ASSIGN_OR_RETURN(Pipe out, MakePipe());
  MSA_ASSIGN_OR_RETURN(Pipe err, MakePipe());
  MSA_ASSIGN_OR_RETURN(const pid_t pid, Start(argv, limits, out.write.get(), err.write.get()));
  Child child(pid);
  out.write.Reset();
  err.write.Reset();

  ProcessOutput result;
  MSA_RETURN_IF_ERROR(
      Collect(limits, deadline, &out.read, &err.read, &result).WithContext(argv[0]));
  // It may have closed its streams and go on working.
  while (!child.HasExited()) {
    MSA_RETURN_IF_ERROR(CheckDeadline(limits, deadline).WithContext(argv[0]));
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  const int status = child.Finish();
  if (WIFSIGNALED(status)) return SignalStatus(WTERMSIG(status), limits).WithContext(argv[0]);
  result.exit_status = WEXITSTATUS(status);
  return result;
}

}  // namespace msa
