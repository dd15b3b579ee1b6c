// Small documents and folders for the bank's tests.
#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "msa/bank/bank.h"

namespace msa {

// A folder that goes with the object.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    // Memory where there is some: these tests sync thousands of times.
    const std::filesystem::path memory = "/dev/shm";
    const bool usable = ::access(memory.c_str(), W_OK) == 0;
    const auto parent = usable ? memory : std::filesystem::temp_directory_path();
    std::string pattern = (parent / "msa_bank_XXXXXX").string();
    path_ = ::mkdtemp(pattern.data());
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

// An environment variable that has a value for as long as the object lives.
class ScopedVariable {
 public:
  ScopedVariable(const char* name, const std::string& value) : name_(name) {
    if (const char* old = ::getenv(name)) old_ = old;
    ::setenv(name, value.c_str(), 1);
  }
  ScopedVariable(const ScopedVariable&) = delete;
  ScopedVariable& operator=(const ScopedVariable&) = delete;
  ~ScopedVariable() {
    if (old_) {
      ::setenv(name_, old_->c_str(), 1);
    } else {
      ::unsetenv(name_);
    }
  }

 private:
  const char* name_;
  std::optional<std::string> old_;
};

// Where encrypted banks find their keys for as long as the object lives.
class KeysIn {
 public:
  explicit KeysIn(const TemporaryFolder& folder)
      : keyrings_("MSA_KEYRINGS", folder / "keyrings"),
        master_file_("MSA_MASTER_KEY_FILE", folder / "master.key"),
        master_("MSA_MASTER_KEY", "") {}

 private:
  const ScopedVariable keyrings_;
  const ScopedVariable master_file_;
  const ScopedVariable master_;
};

#define ASSERT_OK(expression)                               \
  do {                                                      \
    const auto& ok_status_ = ::msa::StatusOf((expression)); \
    ASSERT_TRUE(ok_status_.ok()) << ok_status_;             \
  } while (false)

inline Status StatusOf(Status status) { return status; }
template <class T>
Status StatusOf(const Result<T>& result) {
  return result.status();
}

// A document of `passages` passages of equal length, with a token for each word.
inline NewDocument MakeDocument(std::string key, std::string title, std::string text,
                                int64_t passages = 1) {
  NewDocument document;
  document.key = std::move(key);
  document.title = std::move(title);
  document.text = std::move(text);
  document.source_path = "/tmp/" + document.key;
  document.source_sha256 = std::string(64, 'a');
  document.source_bytes = static_cast<int64_t>(document.text.size());
  document.media_type = "text/plain";
  const auto size = static_cast<int64_t>(document.text.size());
  for (int64_t i = 0; i < passages; ++i) {
    NewPassage passage;
    passage.begin = size * i / passages;
    passage.end = size * (i + 1) / passages;
    passage.page = static_cast<int32_t>(i + 1);
    for (int64_t p = passage.begin; p < passage.end; ++p) {
      if (document.text[static_cast<size_t>(p)] == ' ') {
        passage.tokens.push_back(static_cast<int32_t>(p));
      }
    }
    document.passages.push_back(std::move(passage));
  }
  return document;
}

// Latents of `chunks` chunks a passage whose every number tells version, passage and row apart.
inline LatentBlock MakeLatents(const LatentLayout& layout, const std::vector<int64_t>& chunks,
                               int64_t seed) {
  LatentBlock block;
  block.chunks = chunks;
  block.chunk_tokens = 64;
  int64_t n = 0;
  for (const int64_t c : chunks) n += c;
  block.keys.resize(static_cast<size_t>(n * layout.key_row_bytes()));
  block.latents.resize(static_cast<size_t>(n * layout.latent_row_bytes()));
  for (size_t i = 0; i < block.keys.size(); ++i) {
    block.keys[i] = static_cast<std::byte>((static_cast<int64_t>(i) + seed * 7) & 0x7f);
  }
  for (size_t i = 0; i < block.latents.size(); ++i) {
    block.latents[i] = static_cast<std::byte>((static_cast<int64_t>(i) * 3 + seed) & 0x7f);
  }
  if (layout.key_dtype == DType::kI8) {
    block.key_scales.assign(static_cast<size_t>(n), 0.5f + static_cast<float>(seed));
  }
  block.latent_scales.assign(static_cast<size_t>(n * layout.latent_row_scales()),
                             1.0f + static_cast<float>(seed));
  return block;
}

}  // namespace msa
