// The `msa` command. Each subcommand is a file of its own beside this one.

#include <cstdio>
#include <exception>

#include "msa/cli/common.h"

int main(int argc, char** argv) {
  using namespace msa::cli;
  CLI::App app{"A memory of documents for a language model: add, search, ask, with citations."};
  app.set_version_flag("--version", "msa " MSA_VERSION);
  app.require_subcommand(1);
  app.footer(
      "Exit status: 0 done, 1 failed, 2 wrong usage, 3 done in part (a file failed, or no answer "
      "was found),\n"
      "130 interrupted. `msa COMMAND --help` describes a command.");
  AddCipherKeys(app);
  int exit_status = kDone;
  DeclareAdd(app, &exit_status);
  DeclareSync(app, &exit_status);
  DeclareRemove(app, &exit_status);
  DeclareLog(app, &exit_status);
  DeclareDiff(app, &exit_status);
  DeclareRevert(app, &exit_status);
  DeclareAudit(app, &exit_status);
  DeclareErase(app, &exit_status);
  DeclareVerifyErased(app, &exit_status);
  DeclareBackup(app, &exit_status);
  DeclareRestore(app, &exit_status);
  DeclareRepair(app, &exit_status);
  DeclareEncrypt(app, &exit_status);
  DeclareRekey(app, &exit_status);
  DeclareEncode(app, &exit_status);
  DeclareMigrate(app, &exit_status);
  DeclareCompact(app, &exit_status);
  DeclareSearch(app, &exit_status);
  DeclareAsk(app, &exit_status);
  DeclareChat(app, &exit_status);
  DeclareList(app, &exit_status);
  DeclareShow(app, &exit_status);
  DeclareExport(app, &exit_status);
  DeclareImport(app, &exit_status);
  DeclareInfo(app, &exit_status);
  DeclareTrain(app, &exit_status);
  DeclareEval(app, &exit_status);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? kDone : kUsage;
  } catch (const std::exception& error) {
    // libtorch and the standard library throw; nothing of ours does.
    std::fprintf(stderr, "msa: error: %s\n", error.what());
    return kFailed;
  }
  return exit_status;
}
