// Tokens a second of encoding and of decoding; one JSON line a case. bench/model_bench.py runs it
// beside llama.cpp on the same file.
//
//   msa_model_bench MODEL [--weights i8] [--threads 2] [--tokens 8192] [--passage 256] [--decode
//   128]
//                   [--repeats 5]

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "msa/model/memory_model.h"

namespace msa {
namespace {

using Clock = std::chrono::steady_clock;

struct Settings {
  std::string model;
  std::string weights = "auto";
  std::map<std::string, int64_t> numbers = {
      {"threads", 0}, {"tokens", 8192}, {"passage", 256}, {"decode", 128}, {"repeats", 5}};
  int64_t operator[](const std::string& name) const { return numbers.at(name); }
};

Result<Settings> Parse(int argc, char** argv) {
  Settings settings;
  if (argc < 2) return InvalidArgument("usage: msa_model_bench MODEL [--option value …]");
  settings.model = argv[1];
  for (int i = 2; i + 1 < argc; i += 2) {
    const std::string name = std::string_view(argv[i]).starts_with("--") ? argv[i] + 2 : argv[i];
    if (name == "weights") {
      settings.weights = argv[i + 1];
    } else if (settings.numbers.contains(name)) {
      settings.numbers[name] = std::stoll(argv[i + 1]);
    } else {
      return InvalidArgument("unknown option " + name);
    }
  }
  return settings;
}

// Calls f, which returns the seconds it counts, once to warm up and then `repeats` times;
// ascending.
template <class F>
Result<std::vector<double>> Repeat(int64_t repeats, F f) {
  std::vector<double> seconds;
  for (int64_t i = 0; i <= repeats; ++i) {
    MSA_ASSIGN_OR_RETURN(const double taken, f());
    if (i > 0) seconds.push_back(taken);
  }
  std::sort(seconds.begin(), seconds.end());
  return seconds;
}

double SecondsSince(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

Result<double> TimeEncode(MemoryModel& model, std::span<const std::span<const TokenId>> passages) {
  const auto start = Clock::now();
  MSA_RETURN_IF_ERROR(model.Encode(passages).status());
  return SecondsSince(start);
}

// Of the steps alone.
Result<double> TimeDecode(MemoryModel& model, std::span<const TokenId> prompt, int64_t steps) {
  MSA_ASSIGN_OR_RETURN(auto session, model.StartSession(std::nullopt));
  MSA_ASSIGN_OR_RETURN(auto logits, session->Feed(prompt));
  const auto start = Clock::now();
  for (int64_t i = 0; i < steps; ++i) {
    const TokenId token = MemoryModel::Sample(logits, {}, 0);
    MSA_ASSIGN_OR_RETURN(logits, session->Feed(std::span(&token, 1)));
  }
  return SecondsSince(start);
}

void Report(const MemoryModel& model, const std::string& name, double tokens,
            const std::vector<double>& seconds) {
  std::printf(
      "{\"case\": \"%s\", \"compute\": \"%s\", \"tokens_per_s\": %.1f, \"fastest\": %.1f, "
      "\"slowest\": %.1f}\n",
      name.c_str(), model.compute_description().c_str(), tokens / seconds[seconds.size() / 2],
      tokens / seconds.front(), tokens / seconds.back());
  std::fflush(stdout);
}

Status Run(const Settings& settings) {
  LoadModelOptions load;
  load.num_threads = static_cast<int>(settings["threads"]);
  for (const WeightMode mode :
       {WeightMode::kF32, WeightMode::kBF16, WeightMode::kI8, WeightMode::kI4}) {
    if (settings.weights == WeightModeName(mode)) load.weights = mode;
  }
  MemoryConfig memory;
  memory.passage_tokens = std::max<int64_t>(settings["passage"], memory.chunk_tokens);
  MSA_ASSIGN_OR_RETURN(const auto model, MemoryModel::Load(settings.model, "", memory, load));

  std::mt19937 random(1);
  std::vector<TokenId> tokens(static_cast<size_t>(settings["tokens"]));
  for (TokenId& token : tokens) {
    token = static_cast<TokenId>(random() % static_cast<uint64_t>(model->backbone().vocab_size));
  }
  const std::span<const TokenId> all(tokens);
  std::vector<std::span<const TokenId>> passages;
  const auto length = static_cast<size_t>(settings["passage"]);
  for (size_t i = 0; i < tokens.size(); i += length) {
    passages.push_back(all.subspan(i, std::min(length, tokens.size() - i)));
  }
  const int64_t repeats = settings["repeats"];
  MSA_ASSIGN_OR_RETURN(const auto encode,
                       Repeat(repeats, [&] { return TimeEncode(*model, passages); }));
  Report(*model, "encode", static_cast<double>(tokens.size()), encode);
  const auto prompt = all.first(std::min<size_t>(64, tokens.size()));
  const int64_t steps = settings["decode"];
  MSA_ASSIGN_OR_RETURN(const auto decode,
                       Repeat(repeats, [&] { return TimeDecode(*model, prompt, steps); }));
  Report(*model, "decode", static_cast<double>(steps), decode);
  return OkStatus();
}

}  // namespace
}  // namespace msa

int main(int argc, char** argv) {
  const auto settings = msa::Parse(argc, argv);
  const msa::Status status = settings.ok() ? msa::Run(*settings) : settings.status();
  if (!status.ok()) std::fprintf(stderr, "msa_model_bench: %s\n", status.ToString().c_str());
  return status.ok() ? 0 : 1;
}
