#include "msa/bank/fts5.h"

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "msa/bank/lexical_shard.h"
#include "msa/bank/lexical_text.h"
#include "msa/base/utf8.h"

namespace msa {
namespace {

constexpr double kK1 = 1.2;
constexpr double kB = 0.75;
constexpr char kPointerType[] = "msa::PassageScorer";

// Occurrences of a phrase in the current row. One column, so a position list is one varint an
// occurrence, and a varint ends at the byte without a high bit.
int Occurrences(const Fts5ExtensionApi* api, Fts5Context* context, int phrase, int* code) {
  Fts5PhraseIter it;
  int column = 0;
  int offset = 0;
  *code = api->xPhraseFirst(context, phrase, &it, &column, &offset);
  if (*code != SQLITE_OK || column < 0) return 0;
  int count = 1;
  for (const unsigned char* p = it.a; p < it.b; ++p) count += (*p & 0x80) == 0;
  return count;
}

void ScorePassage(const Fts5ExtensionApi* api, Fts5Context* context, sqlite3_context* result,
                  int num_args, sqlite3_value** args) {
  auto* scorer = num_args == 1
                     ? static_cast<PassageScorer*>(sqlite3_value_pointer(args[0], kPointerType))
                     : nullptr;
  if (scorer == nullptr) {
    sqlite3_result_error(result, "msa_score takes one scorer", -1);
    return;
  }
  sqlite3_result_int(result, 0);
  const int64_t slot = api->xRowid(context) - 1;
  if (slot < 0 || slot >= static_cast<int64_t>(scorer->lengths.size())) return;
  const int64_t passage = scorer->first_passage + slot;
  if (!scorer->visible->Contains(passage)) return;

  const double length = scorer->lengths[static_cast<size_t>(slot)];
  const double norm = kK1 * (1 - kB + kB * length / scorer->average_length);
  double score = 0;
  for (size_t i = 0; i < scorer->weights.size(); ++i) {
    int code = SQLITE_OK;
    const int count = Occurrences(api, context, scorer->first_phrase + static_cast<int>(i), &code);
    if (code != SQLITE_OK) {
      sqlite3_result_error_code(result, code);
      return;
    }
    if (count > 0) score += scorer->weights[i] * count * (kK1 + 1) / (count + norm);
  }
  scorer->top->Offer({score, passage});
}

// FTS5's own tokenizer, outside of any table.
class QuestionTokenizer {
 public:
  static Result<std::unique_ptr<QuestionTokenizer>> Create() {
    std::unique_ptr<QuestionTokenizer> self(new QuestionTokenizer);
    MSA_ASSIGN_OR_RETURN(self->db_, Database::Open(":memory:", SQLITE_OPEN_READWRITE));
    MSA_ASSIGN_OR_RETURN(fts5_api * api, Fts5Api(self->db_));
    void* user_data = nullptr;
    const std::string name(kTokenizerArguments[0]);
    int code = api->xFindTokenizer(api, name.c_str(), &user_data, &self->tokenizer_);
    if (code != SQLITE_OK) return SqliteStatus(code, "find tokenizer " + name);
    std::vector<const char*> arguments;
    for (const std::string_view argument : std::span(kTokenizerArguments).subspan(1)) {
      arguments.push_back(argument.data());
    }
    code = self->tokenizer_.xCreate(user_data, arguments.data(), static_cast<int>(arguments.size()),
                                    &self->instance_);
    if (code != SQLITE_OK) return SqliteStatus(code, "create tokenizer");
    return self;
  }

  ~QuestionTokenizer() {
    if (instance_ != nullptr) tokenizer_.xDelete(instance_);
  }

  Status Run(std::string_view text, std::vector<QuestionTerm>* terms) {
    struct Sink {
      std::string_view text;
      std::vector<QuestionTerm>* terms;
    } sink{text, terms};
    const auto on_token = [](void* context, int, const char* token, int size, int begin, int end) {
      auto* sink = static_cast<Sink*>(context);
      const auto word = TextBetween(sink->text, begin, end);
      sink->terms->push_back({std::string(token, static_cast<size_t>(size)), std::string(word)});
      return SQLITE_OK;
    };
    const int code = tokenizer_.xTokenize(instance_, &sink, FTS5_TOKENIZE_QUERY, text.data(),
                                          static_cast<int>(text.size()), on_token);
    return code == SQLITE_OK ? OkStatus() : SqliteStatus(code, "tokenize");
  }

 private:
  QuestionTokenizer() = default;

  Database db_;
  fts5_tokenizer tokenizer_{};
  Fts5Tokenizer* instance_ = nullptr;
};

}  // namespace

Result<fts5_api*> Fts5Api(const Database& db) {
  fts5_api* api = nullptr;
  MSA_ASSIGN_OR_RETURN(Statement statement, db.Prepare("SELECT fts5(?1)"));
  sqlite3_bind_pointer(statement.handle(), 1, &api, "fts5_api_ptr", nullptr);
  MSA_ASSIGN_OR_RETURN([[maybe_unused]] const bool row, statement.Step());
  if (api == nullptr) return Internal("this SQLite has no FTS5");
  return api;
}

Status RegisterPassageScorer(const Database& db) {
  MSA_ASSIGN_OR_RETURN(fts5_api * api, Fts5Api(db));
  const int code = api->xCreateFunction(api, "msa_score", nullptr, ScorePassage, nullptr);
  return code == SQLITE_OK ? OkStatus() : SqliteStatus(code, "register msa_score");
}

void BindPassageScorer(Statement& statement, int index, PassageScorer* scorer) {
  sqlite3_bind_pointer(statement.handle(), index, scorer, kPointerType, nullptr);
}

Result<std::vector<QuestionTerm>> TokenizeQuestion(std::string_view question) {
  // Longer than any question; keeps sizes within FTS5's int.
  constexpr size_t kMaxQuestionBytes = size_t{1} << 20;
  const std::string prepared = PrepareQuestion(question.substr(0, kMaxQuestionBytes));
  MSA_ASSIGN_OR_RETURN(auto tokenizer, QuestionTokenizer::Create());
  std::vector<QuestionTerm> terms;
  MSA_RETURN_IF_ERROR(tokenizer->Run(prepared, &terms));
  std::stable_sort(terms.begin(), terms.end(),
                   [](const auto& a, const auto& b) { return a.stem < b.stem; });
  terms.erase(std::unique(terms.begin(), terms.end(),
                          [](const auto& a, const auto& b) { return a.stem == b.stem; }),
              terms.end());
  return terms;
}

}  // namespace msa
