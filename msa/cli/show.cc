#include <cstdio>
#include <nlohmann/json.hpp>

#include "msa/base/utf8.h"
#include "msa/cli/common.h"
#include "msa/engine/json.h"

namespace msa::cli {
namespace {

struct Options : CommonOptions {
  std::vector<std::string> documents;
  std::vector<int64_t> span;
  bool passages = false;
};

Status ShowDocument(const Options& options, const Snapshot& snapshot, const std::string& document) {
  MSA_ASSIGN_OR_RETURN(const DocumentInfo info, snapshot.FindDocument(document));
  MSA_ASSIGN_OR_RETURN(const DocumentContent content, snapshot.ReadContent(info.version));
  std::string_view text = content.text;
  if (!options.span.empty()) {
    const int64_t begin = options.span[0];
    const int64_t end = options.span[1];
    if (begin < 0 || end < begin || end > static_cast<int64_t>(text.size())) {
      return InvalidArgument("span " + std::to_string(begin) + " " + std::to_string(end) +
                             " is not within the " + std::to_string(text.size()) + " bytes of " +
                             info.key);
    }
    text = TextBetween(text, begin, end);
  }
  if (options.json) {
    auto json = ToJson(info);
    json["text"] = text;
    json["passage_spans"] = nlohmann::ordered_json::array();
    for (const PassageInfo& p : content.passages) json["passage_spans"].push_back({p.begin, p.end});
    PrintJson(json);
  } else if (options.passages) {
    for (const PassageInfo& p : content.passages) {
      std::printf("%lld-%lld%s  %d tokens  %s\n", static_cast<long long>(p.begin),
                  static_cast<long long>(p.end),
                  p.page > 0 ? (", page " + std::to_string(p.page)).c_str() : "", p.num_tokens,
                  Snippet(TextBetween(text, p.begin, p.end), 80).c_str());
    }
  } else {
    std::fwrite(text.data(), 1, text.size(), stdout);
  }
  return OkStatus();
}

Status Show(const Options& options) {
  if (!options.span.empty() && options.documents.size() > 1) {
    return InvalidArgument("--span takes one document, not " +
                           std::to_string(options.documents.size()));
  }
  MSA_ASSIGN_OR_RETURN(const auto bank, Bank::Open(options.bank));
  MSA_ASSIGN_OR_RETURN(const auto snapshot, options.OpenSnapshot(*bank));
  for (const std::string& document : options.documents) {
    MSA_RETURN_IF_ERROR(ShowDocument(options, *snapshot, document));
  }
  return OkStatus();
}

}  // namespace

void DeclareShow(CLI::App& app, int* exit_status) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("show", "Print the kept text of documents, byte for byte");
  options->AddBank(*command);
  command->add_option("DOC", options->documents, "Ids, keys, or a unique part of key or title")
      ->required();
  auto* span =
      command
          ->add_option("--span", options->span, "Only bytes BEGIN to END, as citations give them")
          ->expected(2)
          ->type_name("BEGIN END");
  options->AddAt(*command);
  command->add_flag("--passages", options->passages, "List the passages instead")->excludes(span);
  options->AddOutput(*command);
  command->callback(
      [options, exit_status] { *exit_status = Finish(Show(*options), options->json); });
}

}  // namespace msa::cli
