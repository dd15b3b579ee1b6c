#include "msa/cli/common.h"

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <nlohmann/json.hpp>

#include "msa/base/utf8.h"
#include "msa/engine/json.h"

namespace msa::cli {
namespace {

std::atomic<bool> interrupted = false;
static_assert(std::atomic<bool>::is_always_lock_free);

void OnInterrupt(int signal) {
  if (interrupted.exchange(true)) {
    std::signal(signal, SIG_DFL);
    std::raise(signal);
  }
}

}  // namespace

const std::atomic<bool>& InterruptFlag() {
  static const bool installed = [] {
    std::signal(SIGINT, OnInterrupt);
    std::signal(SIGTERM, OnInterrupt);
    return true;
  }();
  (void)installed;
  return interrupted;
}

void CommonOptions::AddBank(CLI::App& command) {
  command.add_option("BANK", bank, "Folder of the bank")->required();
}

void CommonOptions::AddOutput(CLI::App& command) {
  command.add_flag("--json", json, "Print JSON, an object a line");
  command.add_flag("-q,--quiet", quiet, "No progress bars and notes");
}

void CommonOptions::AddModel(CLI::App& command) {
  command
      .add_option(
          "--model", engine.model_path,
          "GGUF file or Hugging Face folder (default: $MSA_MODEL, or SmolLM2-135M-Instruct)")
      ->group("Model");
  command
      .add_option("--adapter", engine.adapter_path,
                  "Adapter file, or none (default: the one that comes with the default model)")
      ->group("Model");
  command
      .add_option("--chat-template", engine.chat_family,
                  "Family, where the model's own template is not recognised")
      ->check(CLI::IsMember({"smollm2", "llama3", "qwen3"}))
      ->group("Model");
  command.add_option("--weights", weights_, "How weights stay in memory")
      ->check(CLI::IsMember({"auto", "f32", "bf16", "i8", "i4"}))
      ->capture_default_str()
      ->group("Model");
  command.add_option("--device", engine.load.device, "cpu or cuda")
      ->capture_default_str()
      ->group("Model");
  command.add_option("--threads", engine.load.num_threads, "Threads; 0: one per core")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str()
      ->group("Model");
}

void CommonOptions::AddMemory(CLI::App& command, const std::string& group) {
  MemoryConfig& memory = engine.memory;
  command.add_option("--passage-tokens", memory.passage_tokens, "W: tokens of a passage")
      ->check(CLI::Range(16, 65536))
      ->capture_default_str()
      ->group(group);
  command
      .add_option("--chunk-tokens", memory.chunk_tokens,
                  "P: tokens that one latent holds (default: the adapter's, or 64)")
      ->check(CLI::Range(1, 65536))
      ->group(group);
  command
      .add_option("--memory-layers", memory.memory_layers,
                  "Layers that keep latents (default: the adapter's, or the upper half)")
      ->delimiter(',')
      ->group(group);
  command
      .add_option("--routing-layers", memory.routing_layers,
                  "Memory layers that keep routing keys (default: the adapter's, or the last)")
      ->delimiter(',')
      ->group(group);
  command.add_option("--key-dtype", key_dtype_, "Routing keys: f32, bf16, f16, i8")
      ->check(CLI::IsMember({"f32", "bf16", "f16", "i8"}))
      ->capture_default_str()
      ->group(group);
  command.add_option("--latent-dtype", latent_dtype_, "Latents: f32, bf16, f16, i8")
      ->check(CLI::IsMember({"f32", "bf16", "f16", "i8"}))
      ->capture_default_str()
      ->group(group);
}

void CommonOptions::AddWhere(CLI::App& command, const std::string& which) {
  command.add_option("--where", where, which + ": KEY=VALUE; repeatable")->allow_extra_args(false);
}

void CommonOptions::AddAt(CLI::App& command) {
  command
      .add_option("--at", at, "A revision of the past (`msa log` lists them); labels are today's")
      ->type_name("REV")
      ->check(CLI::NonNegativeNumber);
}

void CommonOptions::AddReadmit(CLI::App& command) {
  command.add_flag("--readmit", engine.readmit, "Take documents that were erased before");
}

void CommonOptions::AddEncrypt(CLI::App& command) {
  command
      .add_flag(
          "--encrypt", engine.encrypt,
          "Encrypt a new bank. Its keyring and the master key lie outside of it; without them "
          "nobody can read it")
      ->group("New bank");
}

void CommonOptions::AddWriting(CLI::App& command) {
  command
      .add_option("--author", engine.author,
                  "Who makes the revision (default: the name of the user)")
      ->group("Revision");
  command.add_option("--message", engine.message, "Why it is made")->group("Revision");
}

Result<EngineOptions> CommonOptions::Engine() const {
  EngineOptions options = engine;
  for (const WeightMode mode :
       {WeightMode::kAuto, WeightMode::kF32, WeightMode::kBF16, WeightMode::kI8, WeightMode::kI4}) {
    if (WeightModeName(mode) == weights_) options.load.weights = mode;
  }
  options.memory.key_dtype = *ParseDType(key_dtype_);        // checked by the parser
  options.memory.latent_dtype = *ParseDType(latent_dtype_);  // likewise
  options.progress = Progress();
  options.cancelled = &InterruptFlag();
  return options;
}

Result<LabelFilter> CommonOptions::Where() const {
  LabelFilter filter;
  for (const std::string& condition : where) {
    const size_t equals = condition.find('=');
    if (equals == std::string::npos || equals == 0) {
      return InvalidArgument("--where takes KEY=VALUE, not \"" + condition + "\"");
    }
    filter[condition.substr(0, equals)] = condition.substr(equals + 1);
  }
  return filter;
}

int ReportError(const Status& status, bool json) {
  if (json) {
    const nlohmann::ordered_json error = {
        {"error", {{"code", StatusCodeName(status.code())}, {"message", status.message()}}}};
    PrintJson(error);
  }
  std::fprintf(stderr, "msa: error: %s\n", status.message().c_str());
  return status.code() == StatusCode::kCancelled ? kInterrupted : kFailed;
}

void AddSigningKey(CLI::App& command, std::string* key) {
  command.add_option("--key", *key,
                     "Signing key, made if absent (default: $MSA_SIGNING_KEY, or "
                     "~/.config/msa/signing.key)");
}

void AddHeads(CLI::App& command, std::string* heads) {
  command.add_option("--heads", *heads, "Which ranking: fused, lexical or latent")
      ->check(CLI::IsMember({"fused", "lexical", "latent"}))
      ->capture_default_str();
}

void AddHops(CLI::App& command, int64_t* hops) {
  command
      .add_option("--hops", *hops,
                  "Rounds of search: in each but the first, passages of documents whose titles "
                  "stand in the best ones rank higher")
      ->check(CLI::Range(1, 16))
      ->capture_default_str();
}

void AddCipherKeys(CLI::App& app) {
  // Banks look for keys where the environment says; for one command, the options say it.
  const auto set = [](const char* variable) {
    return [variable](const std::string& value) { ::setenv(variable, value.c_str(), 1); };
  };
  app.add_option_function<std::string>(
         "--master-key",
         [file = set("MSA_MASTER_KEY_FILE"), key = set("MSA_MASTER_KEY")](const std::string& path) {
           file(path);
           key("");  // which would come first
         },
         "File of the master key, made with the first encrypted bank (default: $MSA_MASTER_KEY, 64 "
         "hex digits, or $MSA_MASTER_KEY_FILE, or ~/.config/msa/master.key)")
      ->type_name("FILE")
      ->group("Encrypted banks");
  app.add_option_function<std::string>(
         "--keyrings", set("MSA_KEYRINGS"),
         "Folder of keyrings, a file a bank (default: $MSA_KEYRINGS, or "
         "~/.local/share/msa/keyrings)")
      ->type_name("FOLDER")
      ->group("Encrypted banks");
  app.fallthrough();
}

int Finish(const Status& status, bool json) {
  return status.ok() ? static_cast<int>(kDone) : ReportError(status, json);
}

std::string JsonText(const nlohmann::ordered_json& json) {
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

void PrintJson(const nlohmann::ordered_json& json) { std::cout << JsonText(json) << std::endl; }

Status ReadQuestions(std::istream& in, const std::function<bool(const Question&)>& on_question) {
  std::string line;
  for (int64_t number = 1; std::getline(in, line); ++number) {
    if (!line.empty() && line.back() == '\r') line.pop_back();
    if (line.find_first_not_of(" \t") == std::string::npos) continue;
    Question question{std::nullopt, ReplaceInvalidUtf8(line)};
    if (line.front() == '{') {
      const auto row = nlohmann::json::parse(line, nullptr, false);
      if (!row.is_object() || !row.contains("query") || !row["query"].is_string()) {
        return InvalidArgument("standard input, line " + std::to_string(number) +
                               ": expected JSON with a string \"query\"");
      }
      question.text = row["query"].get<std::string>();
      if (row.contains("id")) question.id = row["id"].dump();
    }
    if (!on_question(question)) break;
  }
  return OkStatus();
}

std::string DescribePlace(const Retrieved& result) {
  std::string place = result.title;
  if (result.document.find(result.title) == std::string::npos)
    place += " (" + result.document + ")";
  if (result.title == result.document.substr(result.document.rfind('/') + 1))
    place = result.document;
  if (result.page > 0) place += ", page " + std::to_string(result.page);
  return place + " [" + std::to_string(result.begin) + "-" + std::to_string(result.end) + "]";
}

std::string Snippet(std::string_view text, size_t width) {
  std::string line;
  bool space = false;
  for (size_t i = 0; i < text.size();) {
    const auto length = static_cast<size_t>(DecodeUtf8(text.substr(i)).length_bytes);
    const std::string_view c = text.substr(i, length);
    i += length;
    if (c == " " || c == "\n" || c == "\t" || c == "\r" || c == "\f") {
      space = !line.empty();
      continue;
    }
    if (line.size() + length + (space ? 1 : 0) > width) return line + "…";
    if (space) line += ' ';
    space = false;
    line += c;
  }
  return line;
}

void PrintAdded(const AddReport& report) {
  std::printf(
      "%lld added, %lld replaced, %lld unchanged, %zu failed; %lld passages, %s tokens; revision "
      "%lld\n",
      static_cast<long long>(report.added), static_cast<long long>(report.replaced),
      static_cast<long long>(report.unchanged), report.failures.size(),
      static_cast<long long>(report.passages),
      HumanCount(static_cast<double>(report.tokens)).c_str(),
      static_cast<long long>(report.revision.value));
}

std::string DescribeEncoded(const EncodeReport& report) {
  char seconds[32];
  std::snprintf(seconds, sizeof(seconds), "%.1f", report.seconds);
  return std::to_string(report.passages) + " passages encoded into " +
         std::to_string(report.latents) + " latents (" +
         HumanCount(static_cast<double>(report.tokens)) + " tokens, " + seconds + " s)";
}

void PrintAddNotes(const CommonOptions& options, const AddReport& report) {
  for (const LoadFailure& failure : report.failures) {
    std::fprintf(stderr, "msa: %s: %s\n", failure.path.c_str(), failure.reason.message().c_str());
  }
  for (const std::string& key : report.erased) {
    std::fprintf(stderr,
                 "msa: %s: was erased from this bank, so it was left out (--readmit takes it)\n",
                 key.c_str());
  }
  if (report.unencoded_passages > 0 && !options.quiet) {
    std::fprintf(stderr, "%s\n", UnencodedNote(options.bank, report.unencoded_passages).c_str());
  }
}

int ReportAdded(const CommonOptions& options, const AddReport& report) {
  if (options.json) {
    PrintJson(ToJson(report));
  } else {
    PrintAdded(report);
  }
  PrintAddNotes(options, report);
  if (report.cancelled) return kInterrupted;
  if (report.failures.empty()) return kDone;
  return report.added + report.replaced + report.unchanged > 0 ? kPartly : kFailed;
}

void PrintChanges(const std::vector<DocumentChange>& changes) {
  for (const DocumentChange& change : changes) {
    std::printf("%-8s  %s\n", std::string(ChangeName(change.change)).c_str(), change.key.c_str());
  }
}

std::string UnencodedNote(const std::string& bank, int64_t passages, RevisionId at) {
  if (passages == 0) return "";
  const std::string count = "note: " + std::to_string(passages) + " passages ";
  if (at.valid()) {
    return count + "of revision " + std::to_string(at.value) +
           " have no latents; they are found and read by their text";
  }
  return count + "have no latents yet; run: msa encode " + bank;
}

void PrintUnkeptNote(int64_t passages) {
  if (passages == 0) return;
  std::fprintf(stderr,
               "note: %lld passages are not searched, because their text is not kept any more\n",
               static_cast<long long>(passages));
}

}  // namespace msa::cli
