// What the subcommands share: options, exit statuses, Ctrl-C, printing.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <iosfwd>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "msa/engine/engine.h"

namespace msa::cli {

// The exit statuses, as `msa --help` prints them.
enum ExitStatus {
  kDone = 0,           // all that was asked is done
  kFailed = 1,         // nothing was done; the error says why
  kUsage = 2,          // the command line is wrong
  kPartly = 3,         // done in part: a file failed, a question has no supported answer
  kInterrupted = 130,  // Ctrl-C; what was committed stays
};

// Options of several subcommands. Each Add… declares one group of them on a subcommand.
struct CommonOptions {
  std::string bank;
  bool json = false;
  bool quiet = false;
  EngineOptions engine;
  std::vector<std::string> where;
  int64_t at = -1;  // not given

  void AddBank(CLI::App& command);
  void AddOutput(CLI::App& command);
  void AddModel(CLI::App& command);
  // Shapes of latents, under a heading of the help text.
  void AddMemory(CLI::App& command, const std::string& group = "New bank");
  void AddWhere(CLI::App& command, const std::string& which =
                                       "Only documents whose label (or title, path, type) "
                                       "equals");
  void AddAt(CLI::App& command);
  void AddReadmit(CLI::App& command);
  void AddEncrypt(CLI::App& command);  // of commands that make banks
  void AddWriting(CLI::App& command);  // who writes a revision, and why

  // Bars, unless --quiet or --json.
  ProgressMode Progress() const { return quiet || json ? ProgressMode::kOff : ProgressMode::kAuto; }
  // Engine options with what the flags say; the interrupt flag is wired in.
  Result<EngineOptions> Engine() const;
  Result<LabelFilter> Where() const;
  RevisionId At() const { return RevisionId{at}; }
  // The latest revision, or that of --at.
  Result<std::shared_ptr<const Snapshot>> OpenSnapshot(Bank& of) const {
    return at < 0 ? of.Latest() : of.At(At());
  }

 private:
  std::string weights_ = "auto";
  std::string key_dtype_ = "i8";
  std::string latent_dtype_ = "i8";
};

// Prints "msa: error: …" (or {"error": {"code", "message"}} with json) and returns the exit status
// for it.
int ReportError(const Status& status, bool json);
// --key of the commands that sign.
void AddSigningKey(CLI::App& command, std::string* key);

// --heads of the commands that rank: a name for HeadsByName.
void AddHeads(CLI::App& command, std::string* heads);
// --hops of the commands that rank.
void AddHops(CLI::App& command, int64_t* hops);

// --master-key and --keyrings, before or after any subcommand.
void AddCipherKeys(CLI::App& app);

// The exit status of a command that ended so, once an error is reported.
int Finish(const Status& status, bool json);
// JSON on one line; what is no UTF-8 becomes U+FFFD.
std::string JsonText(const nlohmann::ordered_json& json);
// A line of standard output, at once.
void PrintJson(const nlohmann::ordered_json& json);

// Reads what a subcommand named "-" asks of standard input: a question a line, or JSON lines
// {"id"?, "query"}.
struct Question {
  std::optional<std::string> id;  // the JSON text of "id"
  std::string text;
};
// Calls on_question for each; stops early when it returns false. kInvalidArgument names the line.
Status ReadQuestions(std::istream& in, const std::function<bool(const Question&)>& on_question);

// Becomes true at the first Ctrl-C (or SIGTERM); the second one ends the program at once.
const std::atomic<bool>& InterruptFlag();

// "Title, page 3 [120-245]" with the document's key where it differs from the title.
std::string DescribePlace(const Retrieved& result);
// The text on one line, at most `width` bytes, cut at a character.
std::string Snippet(std::string_view text, size_t width);
// What one addition did, for people: "3 added, 0 replaced, …".
void PrintAdded(const AddReport& report);
// "12 passages encoded into 96 latents (3.1K tokens, 1.2 s)".
std::string DescribeEncoded(const EncodeReport& report);
// What it left out and what it still lacks, on standard error.
void PrintAddNotes(const CommonOptions& options, const AddReport& report);
// All that `msa add` says of what it did, and its exit status.
int ReportAdded(const CommonOptions& options, const AddReport& report);
// "added     KEY" for each.
void PrintChanges(const std::vector<DocumentChange>& changes);
// "note: 12 passages have no latents yet; run: msa encode BANK", or nothing. Of a revision of the
// past, which nobody encodes: that text is read instead.
std::string UnencodedNote(const std::string& bank, int64_t passages, RevisionId at = {});
// "note: 12 passages are not searched, because their text is not kept any more", on standard error,
// or nothing.
void PrintUnkeptNote(int64_t passages);

// One function a subcommand: declares it on `app`; its callback sets *exit_status.
void DeclareAdd(CLI::App& app, int* exit_status);
void DeclareSync(CLI::App& app, int* exit_status);
void DeclareRemove(CLI::App& app, int* exit_status);
void DeclareErase(CLI::App& app, int* exit_status);
void DeclareVerifyErased(CLI::App& app, int* exit_status);
void DeclareLog(CLI::App& app, int* exit_status);
void DeclareDiff(CLI::App& app, int* exit_status);
void DeclareRevert(CLI::App& app, int* exit_status);
void DeclareAudit(CLI::App& app, int* exit_status);
void DeclareBackup(CLI::App& app, int* exit_status);
void DeclareRestore(CLI::App& app, int* exit_status);
void DeclareRepair(CLI::App& app, int* exit_status);
void DeclareEncrypt(CLI::App& app, int* exit_status);
void DeclareRekey(CLI::App& app, int* exit_status);
void DeclareEncode(CLI::App& app, int* exit_status);
void DeclareMigrate(CLI::App& app, int* exit_status);
void DeclareCompact(CLI::App& app, int* exit_status);
void DeclareSearch(CLI::App& app, int* exit_status);
void DeclareAsk(CLI::App& app, int* exit_status);
void DeclareChat(CLI::App& app, int* exit_status);
void DeclareList(CLI::App& app, int* exit_status);
void DeclareShow(CLI::App& app, int* exit_status);
void DeclareExport(CLI::App& app, int* exit_status);
void DeclareImport(CLI::App& app, int* exit_status);
void DeclareInfo(CLI::App& app, int* exit_status);
void DeclareTrain(CLI::App& app, int* exit_status);
void DeclareTrainRun(CLI::App& train, int* exit_status);  // `msa train run`
void DeclareEval(CLI::App& app, int* exit_status);

}  // namespace msa::cli
