#include "msa/train/pack_writer.h"

#include <nlohmann/json.hpp>

#include "msa/base/check.h"
#include "msa/base/file.h"

namespace msa {
namespace {

template <class T>
SafeTensor Tensor(const char* name, DType dtype, const std::vector<T>& values,
                  int64_t columns = 1) {
  const auto size = static_cast<int64_t>(values.size());
  SafeTensor tensor{name, dtype, {size}, std::as_bytes(std::span(values))};
  if (columns > 1) tensor.shape = {size / columns, columns};
  return tensor;
}

Status WriteTensors(FileSystem& files, const std::string& path, std::string_view header,
                    std::span<const SafeTensor> tensors) {
  MSA_ASSIGN_OR_RETURN(const auto file, files.Open(path, OpenMode::kCreate));
  MSA_RETURN_IF_ERROR(file->Truncate(0));
  MSA_RETURN_IF_ERROR(file->WriteAt(0, AsBytes(header)));
  auto offset = static_cast<int64_t>(header.size());
  for (const SafeTensor& tensor : tensors) {
    MSA_RETURN_IF_ERROR(file->WriteAt(offset, tensor.bytes));
    offset += static_cast<int64_t>(tensor.bytes.size());
  }
  MSA_RETURN_IF_ERROR(file->Sync());
  return file->Close();
}

}  // namespace

nlohmann::ordered_json ToJson(const PackSource& source) {
  return {{"name", source.name},
          {"kind", source.kind},
          {"rows", source.rows},
          {"passages", source.passages},
          {"questions", source.questions},
          {"tokens", source.tokens},
          {"dropped_duplicates", source.dropped_duplicates},
          {"dropped_overlap", source.dropped_overlap},
          {"sha256", source.sha256}};
}

void PackWriter::Tokens::Append(std::span<const TokenId> ids) {
  if (narrow) {
    for (const TokenId id : ids) ids16.push_back(static_cast<uint16_t>(id));
  } else {
    ids32.insert(ids32.end(), ids.begin(), ids.end());
  }
}

PackWriter::PackWriter(int64_t vocab_size, std::string tokenizer_fingerprint,
                       int64_t passage_tokens)
    : vocab_size_(vocab_size),
      tokenizer_fingerprint_(std::move(tokenizer_fingerprint)),
      passage_tokens_(passage_tokens) {
  const bool narrow = vocab_size <= UINT16_MAX + 1;
  for (Tokens* tokens : {&tokens_, &question_tokens_, &answer_tokens_}) tokens->narrow = narrow;
}

int32_t PackWriter::AddPassage(const PackPassage& passage) {
  MSA_CHECK(!passage.tokens.empty() && passage.sentence_start.size() == passage.tokens.size());
  MSA_CHECK(num_passages() < INT32_MAX);
  const int32_t index = static_cast<int32_t>(num_passages());
  MSA_CHECK(!passage.continues || index > 0);
  passage_document_.push_back(static_cast<int32_t>(num_documents()) - (passage.continues ? 1 : 0));
  passage_source_.push_back(passage.source);
  tokens_.Append(passage.tokens);
  sentence_start_.insert(sentence_start_.end(), passage.sentence_start.begin(),
                         passage.sentence_start.end());
  passage_begin_.push_back(passage_begin_.back() + static_cast<int64_t>(passage.tokens.size()));
  return index;
}

void PackWriter::AddQuestion(const PackQuestion& question) {
  MSA_CHECK(!question.question.empty() && !question.positives.empty());
  question_kind_.push_back(static_cast<uint8_t>(question.kind));
  question_source_.push_back(question.source);
  question_span_.push_back(question.span.begin);
  question_span_.push_back(question.span.end);
  question_tokens_.Append(question.question);
  answer_tokens_.Append(question.answer);
  const auto end = [](std::vector<int64_t>* begin, size_t added) {
    begin->push_back(begin->back() + static_cast<int64_t>(added));
  };
  end(&question_begin_, question.question.size());
  end(&answer_begin_, question.answer.size());
  end(&positive_begin_, question.positives.size());
  end(&negative_begin_, question.negatives.size());
  positive_.insert(positive_.end(), question.positives.begin(), question.positives.end());
  negative_.insert(negative_.end(), question.negatives.begin(), question.negatives.end());
}

TokenView PackWriter::Passage(int32_t passage) const {
  const auto at = static_cast<size_t>(passage);
  const TokenView all(tokens_.narrow ? tokens_.ids16.data() : nullptr,
                      tokens_.narrow ? nullptr : tokens_.ids32.data(), num_tokens());
  return all.Slice(passage_begin_[at], passage_begin_[at + 1] - passage_begin_[at]);
}

Status PackWriter::Write(const std::string& path, std::span<const PackSource> sources,
                         const std::string& options_json) const {
  nlohmann::ordered_json config = {{"vocab_size", vocab_size_},
                                   {"tokenizer", tokenizer_fingerprint_},
                                   {"passage_tokens", passage_tokens_},
                                   {"options", nlohmann::ordered_json::parse(options_json)},
                                   {"sources", nlohmann::ordered_json::array()}};
  for (const PackSource& source : sources) config["sources"].push_back(ToJson(source));
  const auto tokens = [](const char* name, const Tokens& of) {
    return of.narrow ? Tensor(name, DType::kU16, of.ids16) : Tensor(name, DType::kI32, of.ids32);
  };
  // Wide elements first: each tensor then begins at a multiple of its elements' size.
  const std::vector<SafeTensor> tensors = {
      Tensor("passage_begin", DType::kI64, passage_begin_),
      Tensor("question_begin", DType::kI64, question_begin_),
      Tensor("answer_begin", DType::kI64, answer_begin_),
      Tensor("positive_begin", DType::kI64, positive_begin_),
      Tensor("negative_begin", DType::kI64, negative_begin_),
      Tensor("passage_document", DType::kI32, passage_document_),
      Tensor("passage_source", DType::kI32, passage_source_),
      Tensor("question_source", DType::kI32, question_source_),
      Tensor("question_span", DType::kI32, question_span_, 2),
      Tensor("positive", DType::kI32, positive_),
      Tensor("negative", DType::kI32, negative_),
      tokens("tokens", tokens_),
      tokens("question_tokens", question_tokens_),
      tokens("answer_tokens", answer_tokens_),
      Tensor("sentence_start", DType::kU8, sentence_start_),
      Tensor("question_kind", DType::kU8, question_kind_),
  };
  const std::string header = SafetensorsHeader(
      tensors, {{"format", "msa-pack"}, {"format_version", "1"}, {"config", config.dump()}});
  FileSystem& files = PosixFileSystem();
  const std::string unfinished = path + ".unfinished";
  Status status = WriteTensors(files, unfinished, header, tensors);
  if (status.ok()) status = files.Rename(unfinished, path);
  if (!status.ok()) {
    if (files.Exists(unfinished)) (void)files.Remove(unfinished);
    return status;
  }
  return SyncNameOf(files, path);
}

}  // namespace msa
