// Our side of bench/encode_decode.py: loads a model once, then times what its standard input asks
// for, one command a line, one JSON line back.
//
//   encode PASSAGES TOKENS     Encode of PASSAGES passages of TOKENS tokens, all threads
//   prefill TOKENS             Feed of a prompt
//   decode PROMPT TOKENS       TOKENS greedy steps after a prompt (not counted)
//
//   encode_decode_bench MODEL THREADS WEIGHTS(i8|i4|f32|bf16|auto)

#include <chrono>
#include <cstdio>
#include <iostream>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "msa/base/function_ref.h"
#include "msa/model/memory_model.h"

namespace msa {
namespace {

double Seconds(FunctionRef<void()> f) {
  const auto start = std::chrono::steady_clock::now();
  f();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// The same ids on every run and for every length: speed does not depend on them.
std::vector<TokenId> Tokens(const MemoryModel& model, int64_t count) {
  std::mt19937 random(1);
  std::vector<TokenId> tokens(count);
  for (TokenId& token : tokens)
    token = static_cast<TokenId>(random() % static_cast<uint32_t>(model.backbone().vocab_size));
  return tokens;
}

double Encode(MemoryModel& model, int64_t passages, int64_t tokens) {
  const std::vector<TokenId> text = Tokens(model, passages * tokens);
  std::vector<std::span<const TokenId>> spans;
  for (int64_t i = 0; i < passages; ++i)
    spans.push_back(std::span(text).subspan(i * tokens, tokens));
  return Seconds([&] { MSA_CHECK(model.Encode(spans).ok()); });
}

double Prefill(MemoryModel& model, int64_t tokens) {
  const std::vector<TokenId> text = Tokens(model, tokens);
  auto session = std::move(model.StartSession(std::nullopt).value());
  return Seconds([&] { MSA_CHECK(session->Feed(text).ok()); });
}

double Decode(MemoryModel& model, int64_t prompt, int64_t tokens) {
  auto session = std::move(model.StartSession(std::nullopt).value());
  std::span<const float> logits = session->Feed(Tokens(model, prompt)).value();
  return Seconds([&] {
    for (int64_t i = 0; i < tokens; ++i) {
      const TokenId next = MemoryModel::Sample(logits, {}, i);
      logits = session->Feed(std::span(&next, 1)).value();
    }
  });
}

int Main(int argc, char** argv) {
  if (argc != 4) {
    std::fprintf(stderr, "usage: %s MODEL THREADS WEIGHTS\n", argv[0]);
    return 2;
  }
  LoadModelOptions options;
  options.num_threads = std::stoi(argv[2]);
  for (WeightMode mode :
       {WeightMode::kAuto, WeightMode::kF32, WeightMode::kBF16, WeightMode::kI8, WeightMode::kI4})
    if (WeightModeName(mode) == argv[3]) options.weights = mode;
  MemoryConfig config;
  config.passage_tokens = 2048;  // a limit only: passages are as long as asked for
  auto model = MemoryModel::Load(argv[1], "", config, options);
  if (!model.ok()) {
    std::cerr << model.status() << "\n";
    return 1;
  }
  std::cout << "{\"compute\": \"" << (*model)->compute_description()
            << "\", \"resident_bytes\": " << (*model)->resident_bytes() << "}" << std::endl;
  for (std::string line; std::getline(std::cin, line);) {
    std::istringstream words(line);
    std::string command;
    int64_t a = 0, b = 0;
    words >> command >> a >> b;
    double seconds = 0;
    if (command == "encode") seconds = Encode(**model, a, b);
    if (command == "prefill") seconds = Prefill(**model, a);
    if (command == "decode") seconds = Decode(**model, a, b);
    std::cout << "{\"seconds\": " << seconds << "}" << std::endl;
  }
  return 0;
}

}  // namespace
}  // namespace msa

int main(int argc, char** argv) { return msa::Main(argc, argv); }
