#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "msa/train/pack.h"

namespace msa {
namespace {

using Json = nlohmann::json;

constexpr int kFormatVersion = 1;

// Where DTypeSize(dtype) bytes are a T and the tensor is aligned for it.
template <class T>
std::span<const T> As(const SafeTensor& tensor) {
  return {reinterpret_cast<const T*>(tensor.bytes.data()),
          static_cast<size_t>(tensor.num_elements())};
}

std::string At(const char* tensor, size_t i) {
  return std::string(tensor) + "[" + std::to_string(i) + "]";
}

Status ReadSource(const Json& json, PackSource* source) {
  const auto text = [&](const char* key, std::string* out) {
    if (!json.contains(key) || !json[key].is_string()) return false;
    *out = json[key].get<std::string>();
    return true;
  };
  const auto count = [&](const char* key, int64_t* out) {
    if (!json.contains(key) || !json[key].is_number_integer()) return false;
    *out = json[key].get<int64_t>();
    return *out >= 0;
  };
  if (!json.is_object() || !text("name", &source->name) || !text("kind", &source->kind) ||
      !text("sha256", &source->sha256) || !count("rows", &source->rows) ||
      !count("passages", &source->passages) || !count("questions", &source->questions) ||
      !count("tokens", &source->tokens) ||
      !count("dropped_duplicates", &source->dropped_duplicates) ||
      !count("dropped_overlap", &source->dropped_overlap)) {
    return DataLoss("config: a source lacks a field of docs/pack-format.md");
  }
  return OkStatus();
}

}  // namespace

// Fills a Pack from its file and checks it.
class PackChecker {
 public:
  static Result<std::shared_ptr<const Pack>> Open(const std::string& path) {
    MSA_ASSIGN_OR_RETURN(auto file, SafetensorsFile::Open(path));
    std::shared_ptr<Pack> pack(new Pack());
    pack->file_ = std::move(file);
    const Status status = PackChecker(pack.get()).Fill();
    if (!status.ok()) return status.WithContext(path);
    return std::shared_ptr<const Pack>(std::move(pack));
  }

 private:
  explicit PackChecker(Pack* pack) : pack_(*pack), file_(*pack->file_) {}

  Status Fill() {
    MSA_RETURN_IF_ERROR(ReadMetadata());
    MSA_RETURN_IF_ERROR(ReadTensors());
    MSA_RETURN_IF_ERROR(CheckPassages());
    return CheckQuestions();
  }

  Status ReadMetadata() {
    const auto& metadata = file_.metadata();
    const auto value = [&](const char* key) {
      const auto found = metadata.find(key);
      return found == metadata.end() ? std::string() : found->second;
    };
    if (value("format") != "msa-pack") return DataLoss("not a token pack: no format \"msa-pack\"");
    if (value("format_version") != std::to_string(kFormatVersion)) {
      return Unimplemented("pack format version " + value("format_version") +
                           "; this program reads version " + std::to_string(kFormatVersion));
    }
    const Json config = Json::parse(value("config"), nullptr, false);
    if (!config.is_object() || !config.contains("vocab_size") ||
        !config["vocab_size"].is_number_integer() || !config.contains("passage_tokens") ||
        !config["passage_tokens"].is_number_integer() || !config.contains("tokenizer") ||
        !config["tokenizer"].is_string() || !config.contains("sources") ||
        !config["sources"].is_array()) {
      return DataLoss("config is not what docs/pack-format.md says");
    }
    pack_.vocab_size_ = config["vocab_size"].get<int64_t>();
    pack_.passage_tokens_ = config["passage_tokens"].get<int64_t>();
    pack_.tokenizer_ = config["tokenizer"].get<std::string>();
    for (const Json& json : config["sources"]) {
      MSA_RETURN_IF_ERROR(ReadSource(json, &pack_.sources_.emplace_back()));
    }
    return OkStatus();
  }

  Status ReadTensors() {
    MSA_RETURN_IF_ERROR(ReadTokens("tokens", &pack_.tokens_));
    MSA_RETURN_IF_ERROR(ReadTokens("question_tokens", &pack_.question_tokens_));
    MSA_RETURN_IF_ERROR(ReadTokens("answer_tokens", &pack_.answer_tokens_));
    MSA_RETURN_IF_ERROR(Read("sentence_start", DType::kU8, 1, &pack_.sentence_start_));
    MSA_RETURN_IF_ERROR(Read("passage_begin", DType::kI64, 1, &pack_.passage_begin_));
    MSA_RETURN_IF_ERROR(Read("passage_document", DType::kI32, 1, &pack_.passage_document_));
    MSA_RETURN_IF_ERROR(Read("passage_source", DType::kI32, 1, &pack_.passage_source_));
    MSA_RETURN_IF_ERROR(Read("question_begin", DType::kI64, 1, &pack_.question_begin_));
    MSA_RETURN_IF_ERROR(Read("answer_begin", DType::kI64, 1, &pack_.answer_begin_));
    MSA_RETURN_IF_ERROR(Read("question_source", DType::kI32, 1, &pack_.question_source_));
    MSA_RETURN_IF_ERROR(Read("question_kind", DType::kU8, 1, &pack_.question_kind_));
    MSA_RETURN_IF_ERROR(Read("question_span", DType::kI32, 2, &pack_.question_span_));
    MSA_RETURN_IF_ERROR(Read("positive_begin", DType::kI64, 1, &pack_.positive_begin_));
    MSA_RETURN_IF_ERROR(Read("positive", DType::kI32, 1, &pack_.positive_));
    MSA_RETURN_IF_ERROR(Read("negative_begin", DType::kI64, 1, &pack_.negative_begin_));
    return Read("negative", DType::kI32, 1, &pack_.negative_);
  }

  Result<const SafeTensor*> Find(const char* name) const {
    const SafeTensor* tensor = file_.Find(name);
    if (tensor == nullptr) return DataLoss("tensor " + std::string(name) + " is missing");
    const auto address = reinterpret_cast<uintptr_t>(tensor->bytes.data());
    if (address % static_cast<uintptr_t>(DTypeSize(tensor->dtype)) != 0) {
      return DataLoss("tensor " + std::string(name) + " is not aligned to its elements");
    }
    return tensor;
  }

  // `columns` 1: a vector, else [n, columns].
  template <class T>
  Status Read(const char* name, DType dtype, int64_t columns, std::span<const T>* out) const {
    MSA_ASSIGN_OR_RETURN(const SafeTensor* tensor, Find(name));
    const size_t rank = columns == 1 ? 1 : 2;
    if (tensor->dtype != dtype || tensor->shape.size() != rank ||
        (rank == 2 && tensor->shape[1] != columns)) {
      return DataLoss("tensor " + std::string(name) + " must be " + std::string(DTypeName(dtype)) +
                      (rank == 2 ? " [n, " + std::to_string(columns) + "]" : " [n]"));
    }
    *out = As<T>(*tensor);
    return OkStatus();
  }

  Status ReadTokens(const char* name, TokenView* out) const {
    MSA_ASSIGN_OR_RETURN(const SafeTensor* tensor, Find(name));
    if (tensor->shape.size() != 1 ||
        (tensor->dtype != DType::kU16 && tensor->dtype != DType::kI32)) {
      return DataLoss("tensor " + std::string(name) + " must be u16 [n] or i32 [n]");
    }
    const int64_t size = tensor->num_elements();
    *out = tensor->dtype == DType::kU16 ? TokenView(As<uint16_t>(*tensor).data(), nullptr, size)
                                        : TokenView(nullptr, As<int32_t>(*tensor).data(), size);
    for (int64_t i = 0; i < size; ++i) {
      if ((*out)[i] < 0 || (*out)[i] >= pack_.vocab_size_) {
        return DataLoss(At(name, static_cast<size_t>(i)) + " is " + std::to_string((*out)[i]) +
                        ", the vocabulary has " + std::to_string(pack_.vocab_size_));
      }
    }
    return OkStatus();
  }

  // `begin` cuts `total` entries into `pieces`, each at least `least` and at most `most` long.
  static Status CheckBegin(const char* name, std::span<const int64_t> begin, size_t pieces,
                           int64_t total, int64_t least, int64_t most = INT64_MAX) {
    if (begin.size() != pieces + 1) {
      return DataLoss(std::string(name) + " has " + std::to_string(begin.size()) +
                      " entries, expected " + std::to_string(pieces + 1));
    }
    if (begin.front() != 0 || begin.back() != total) {
      return DataLoss(std::string(name) + " must go from 0 to " + std::to_string(total));
    }
    for (size_t i = 0; i < pieces; ++i) {
      // Between 0 and `total` all along, so the difference cannot overflow.
      if (begin[i + 1] < begin[i] || begin[i + 1] > total) {
        return DataLoss(At(name, i + 1) + " is out of order");
      }
      const int64_t length = begin[i + 1] - begin[i];
      if (length < least || length > most) {
        return DataLoss(At(name, i) + " begins a piece of " + std::to_string(length) +
                        " entries, expected " + std::to_string(least) + " or more" +
                        (most == INT64_MAX ? "" : ", at most " + std::to_string(most)));
      }
    }
    return OkStatus();
  }

  static Status CheckRange(const char* name, std::span<const int32_t> values, size_t size,
                           size_t limit) {
    if (values.size() != size) {
      return DataLoss(std::string(name) + " has " + std::to_string(values.size()) +
                      " entries, expected " + std::to_string(size));
    }
    for (size_t i = 0; i < values.size(); ++i) {
      if (values[i] < 0 || static_cast<size_t>(values[i]) >= limit) {
        return DataLoss(At(name, i) + " is " + std::to_string(values[i]) + ", expected below " +
                        std::to_string(limit));
      }
    }
    return OkStatus();
  }

  Status CheckPassages() {
    const size_t count = pack_.passage_document_.size();
    MSA_RETURN_IF_ERROR(CheckBegin("passage_begin", pack_.passage_begin_, count,
                                   pack_.tokens_.size(), 1, pack_.passage_tokens_));
    MSA_RETURN_IF_ERROR(
        CheckRange("passage_source", pack_.passage_source_, count, pack_.sources_.size()));
    if (static_cast<int64_t>(pack_.sentence_start_.size()) != pack_.tokens_.size()) {
      return DataLoss("sentence_start must have an entry a token");
    }
    for (size_t i = 0; i < pack_.sentence_start_.size(); ++i) {
      if (pack_.sentence_start_[i] > 1) return DataLoss(At("sentence_start", i) + " is not 0 or 1");
    }
    int32_t next = 0;
    for (size_t i = 0; i < count; ++i) {
      const int32_t document = pack_.passage_document_[i];
      if (document != next && (i == 0 || document != next - 1)) {
        return DataLoss(At("passage_document", i) + " is " + std::to_string(document) +
                        ", expected " + std::to_string(next) + " or the one before");
      }
      next = document + 1;
    }
    pack_.num_documents_ = next;
    return OkStatus();
  }

  Status CheckQuestions() const {
    const size_t count = pack_.question_kind_.size();
    const size_t passages = pack_.passage_document_.size();
    MSA_RETURN_IF_ERROR(CheckBegin("question_begin", pack_.question_begin_, count,
                                   pack_.question_tokens_.size(), 1));
    MSA_RETURN_IF_ERROR(
        CheckBegin("answer_begin", pack_.answer_begin_, count, pack_.answer_tokens_.size(), 0));
    MSA_RETURN_IF_ERROR(CheckBegin("positive_begin", pack_.positive_begin_, count,
                                   static_cast<int64_t>(pack_.positive_.size()), 1));
    MSA_RETURN_IF_ERROR(CheckBegin("negative_begin", pack_.negative_begin_, count,
                                   static_cast<int64_t>(pack_.negative_.size()), 0));
    MSA_RETURN_IF_ERROR(
        CheckRange("question_source", pack_.question_source_, count, pack_.sources_.size()));
    MSA_RETURN_IF_ERROR(CheckRange("positive", pack_.positive_, pack_.positive_.size(), passages));
    MSA_RETURN_IF_ERROR(CheckRange("negative", pack_.negative_, pack_.negative_.size(), passages));
    if (pack_.question_span_.size() != 2 * count) {
      return DataLoss("question_span must have an entry a question");
    }
    for (size_t i = 0; i < count; ++i) {
      if (pack_.question_kind_[i] >= kNumQuestionKinds) {
        return DataLoss(At("question_kind", i) + " is no kind");
      }
      const auto q = static_cast<int64_t>(i);
      const Pack::Range span = pack_.Span(q);
      const bool cut = pack_.Kind(q) == QuestionKind::kCut;
      const int64_t length = pack_.Passage(pack_.Positives(q)[0]).size();
      if (cut ? span.begin < 0 || span.begin >= span.end || span.end > length
              : span.begin != 0 || span.end != 0) {
        return DataLoss(At("question_span", i) + " is " + std::to_string(span.begin) + " to " +
                        std::to_string(span.end) + ", outside its passage");
      }
    }
    return OkStatus();
  }

  Pack& pack_;
  const SafetensorsFile& file_;
};

Result<std::shared_ptr<const Pack>> Pack::Open(const std::string& path) {
  return PackChecker::Open(path);
}

}  // namespace msa
