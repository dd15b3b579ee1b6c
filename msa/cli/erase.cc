#include <cstdio>
#include <nlohmann/json.hpp>

#include "msa/cli/common.h"
#include "msa/engine/json.h"

namespace msa::cli {
namespace {

struct Options : CommonOptions {
  EraseRequest request;
  std::string certificate;
  std::string key;
};

int Erase(const Options& options) {
  const auto engine_options = options.Engine();
  const auto where = options.Where();
  if (!engine_options.ok()) return ReportError(engine_options.status(), options.json);
  if (!where.ok()) return ReportError(where.status(), options.json);
  const auto engine = Engine::Open(options.bank, *engine_options);
  if (!engine.ok()) return ReportError(engine.status(), options.json);
  const auto report =
      (*engine)->Erase({options.request.documents, *where}, options.certificate, options.key);
  if (!report.ok()) return ReportError(report.status(), options.json);
  const bool pending = !report->waits_for.empty();
  if (options.json) {
    PrintJson(ToJson(*report));
  } else {
    std::printf("%zu erased; revision %lld\n", report->numbers.size(),
                static_cast<long long>(report->revision.value));
  }
  if (pending) {
    std::fprintf(
        stderr,
        "msa: pending: nothing answers with them any more, but these may still hold parts: "
        "%s. When they have ended, run: msa erase %s\n",
        report->waits_for.c_str(), options.bank.c_str());
  }
  return pending ? kPartly : kDone;
}

}  // namespace

void DeclareErase(CLI::App& app, int* exit_status) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand(
      "erase",
      "Erase documents for good, from every revision: text, tokens, latents, index, names, labels. "
      "Cannot be undone. Without DOC and --where: go on with an erasure that had to wait");
  options->AddBank(*command);
  command->add_option("DOC", options->request.documents,
                      "Ids, keys, or unique parts of keys or titles, of any revision");
  options->AddWhere(*command,
                    "Documents of which any version has this label (or title, path, type)");
  command->add_option("--certificate", options->certificate,
                      "Write a signed certificate of the erasure to this file");
  AddSigningKey(*command, &options->key);
  options->AddWriting(*command);
  options->AddOutput(*command);
  command->callback([options, exit_status] { *exit_status = Erase(*options); });
}

}  // namespace msa::cli
