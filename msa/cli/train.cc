#include <cstdio>
#include <nlohmann/json.hpp>

#include "msa/base/file.h"
#include "msa/cli/common.h"
#include "msa/model/weight_source.h"
#include "msa/train/build_pack.h"
#include "msa/train/pack_writer.h"
#include "msa/train/vocabulary.h"

namespace msa::cli {
namespace {

struct PackCommand : CommonOptions {
  PackOptions pack;
  std::vector<std::string> limits;  // NAME=N
  std::string vocab_out;
};

Result<std::map<std::string, int64_t>> ParseLimits(const std::vector<std::string>& limits) {
  std::map<std::string, int64_t> parsed;
  for (const std::string& limit : limits) {
    const size_t equals = limit.rfind('=');
    const std::string number = equals == limit.npos ? "" : limit.substr(equals + 1);
    if (number.empty() || number.size() > 15 ||
        number.find_first_not_of("0123456789") != number.npos) {
      return InvalidArgument("--limit-tokens takes NAME=N, not \"" + limit + "\"");
    }
    parsed[limit.substr(0, equals)] = std::stoll(number);
  }
  return parsed;
}

Result<std::unique_ptr<Tokenizer>> LoadTokenizer(std::string model_path) {
  if (model_path.empty()) {
    MSA_ASSIGN_OR_RETURN(model_path, DefaultModelPath());
  }
  MSA_ASSIGN_OR_RETURN(const auto weights, WeightSource::Open(model_path));
  return weights->LoadTokenizer();
}

nlohmann::ordered_json ToJson(const PackReport& report) {
  nlohmann::ordered_json sources = nlohmann::ordered_json::array();
  for (const PackSource& source : report.sources) {
    sources.push_back(ToJson(source));
  }
  const auto& kinds = report.questions_by_kind;
  return {{"passages", report.passages},
          {"documents", report.documents},
          {"tokens", report.tokens},
          {"questions", report.questions},
          {"question_tokens", report.question_tokens},
          {"questions_by_kind",
           {{"standalone", kinds[0]},
            {"in_context", kinds[1]},
            {"cut", kinds[2]},
            {"quotation", kinds[3]},
            {"blank", kinds[4]},
            {"mention", kinds[5]}}},
          {"sources", std::move(sources)}};
}

void Print(const PackReport& report) {
  std::printf("%-28s %8s %9s %9s %8s %10s %8s\n", "source", "rows", "passages", "questions",
              "tokens", "duplicates", "overlap");
  for (const PackSource& source : report.sources) {
    std::printf("%-28s %8lld %9lld %9lld %8s %10lld %8lld\n", source.name.c_str(),
                static_cast<long long>(source.rows), static_cast<long long>(source.passages),
                static_cast<long long>(source.questions),
                HumanCount(static_cast<double>(source.tokens)).c_str(),
                static_cast<long long>(source.dropped_duplicates),
                static_cast<long long>(source.dropped_overlap));
  }
  const auto& kinds = report.questions_by_kind;
  std::printf(
      "%lld documents, %lld passages, %s tokens; %lld questions: %lld standalone, %lld in context, "
      "%lld cut, %lld quotations, %lld blanks, %lld mentions\n",
      static_cast<long long>(report.documents), static_cast<long long>(report.passages),
      HumanCount(static_cast<double>(report.tokens)).c_str(),
      static_cast<long long>(report.questions), static_cast<long long>(kinds[0]),
      static_cast<long long>(kinds[1]), static_cast<long long>(kinds[2]),
      static_cast<long long>(kinds[3]), static_cast<long long>(kinds[4]),
      static_cast<long long>(kinds[5]));
}

Status WriteVocabulary(const Tokenizer& tokenizer, const std::string& path) {
  return WriteFileAtomically(PosixFileSystem(), path, VocabularyJson(tokenizer) + "\n");
}

int RunPack(const PackCommand& command) {
  PackOptions options = command.pack;
  auto limits = ParseLimits(command.limits);
  if (!limits.ok()) return ReportError(limits.status(), command.json);
  options.limit_tokens = std::move(*limits);
  options.progress = command.quiet || command.json ? ProgressMode::kOff : ProgressMode::kAuto;
  options.cancelled = &InterruptFlag();
  const auto tokenizer = LoadTokenizer(command.engine.model_path);
  if (!tokenizer.ok()) return ReportError(tokenizer.status(), command.json);
  const auto report = BuildPack(**tokenizer, options);
  if (!report.ok()) return ReportError(report.status(), command.json);
  if (!command.vocab_out.empty()) {
    const Status status = WriteVocabulary(**tokenizer, command.vocab_out);
    if (!status.ok()) return ReportError(status, command.json);
  }
  if (command.json) {
    PrintJson(ToJson(*report));
  } else {
    Print(*report);
  }
  return kDone;
}

void DeclarePack(CLI::App& train, int* exit_status) {
  auto command = std::make_shared<PackCommand>();
  PackOptions& pack = command->pack;
  CLI::App* app = train.add_subcommand(
      "pack", "Turn JSONL (.jsonl or .jsonl.zst) into one file of tokens to train on");
  app->add_option("--out", pack.out, "The pack to write")->required();
  app->add_option("--corpus", pack.corpora, "Documents: {\"title\"?, \"text\"} a row; repeatable")
      ->allow_extra_args(false);
  app->add_option("--pairs", pack.pairs,
                  "Questions: {\"query\", \"positive\", \"answer\"?, \"standalone\"?, \"title\"?, "
                  "\"positives\"?, \"negatives\"?} a row; repeatable")
      ->allow_extra_args(false);
  app->add_option("--eval", pack.evaluation,
                  "Folder of {docs,queries}.jsonl[.zst], or of such folders: whatever shares 13 "
                  "words in a row or a question with it is dropped; repeatable")
      ->allow_extra_args(false);
  app->add_option("--passage-tokens", pack.passage_tokens, "W: tokens of a passage")
      ->check(CLI::Range(16, 65536))
      ->capture_default_str();
  app->add_option("--seed", pack.seed, "For the questions made and the rows taken at random")
      ->capture_default_str();
  const auto share = [&](const char* name, double* value, const char* what) {
    app->add_option(name, *value, what)->check(CLI::Range(0.0, 1.0))->capture_default_str();
  };
  share("--cut", &pack.made.cut,
        "Share of a corpus's passages that get one of their sentences as a question");
  share("--quote", &pack.made.quote, "Likewise, a quotation to continue");
  share("--blank", &pack.made.blank, "Likewise, a sentence with a name or number left out");
  share("--mention", &pack.made.mention,
        "Likewise, up to three sentences to be found by words of them");
  app->add_option(
         "--limit-tokens", command->limits,
         "NAME=N: take rows of the source NAME (a file's name without extension) at random "
         "until they have N tokens; repeatable")
      ->allow_extra_args(false);
  app->add_option("--vocab-out", command->vocab_out,
                  "Also write the vocabulary as JSON, for programs without the model");
  app->add_option("--threads", pack.num_threads, "Threads; 0: one per core")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
  app->add_option(
      "--model", command->engine.model_path,
      "GGUF file or Hugging Face folder whose tokenizer is used (default: $MSA_MODEL, or "
      "SmolLM2-135M-Instruct)");
  command->AddOutput(*app);
  app->callback([command, exit_status] { *exit_status = RunPack(*command); });
}

}  // namespace

void DeclareTrain(CLI::App& app, int* exit_status) {
  CLI::App* train = app.add_subcommand("train", "Make an adapter: what a memory learns");
  train->require_subcommand(1);
  DeclarePack(*train, exit_status);
  DeclareTrainRun(*train, exit_status);
}

}  // namespace msa::cli
