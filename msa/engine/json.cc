#include "msa/engine/json.h"

#include <ctime>
#include <nlohmann/json.hpp>

namespace msa {

using Json = nlohmann::ordered_json;

Json ToJson(const Retrieved& result) {
  Json json = {
      {"document", result.document}, {"title", result.title}, {"span", {result.begin, result.end}}};
  if (result.page > 0) json["page"] = result.page;
  json["score"] = result.score;
  json["heads"] = Json::object();
  for (const auto& [head, rank] : result.heads) {
    json["heads"][head] = {{"rank", rank.rank}, {"score", rank.score}};
  }
  json["text"] = result.text;
  return json;
}

Json ToJson(const Counters& counters) {
  return {{"passages", counters.passages},
          {"latents", counters.latents},
          {"bytes_read", counters.bytes_read},
          {"seconds", counters.seconds}};
}

Json ToJson(const SearchResponse& response) {
  Json json = {
      {"query", response.query}, {"revision", response.revision.value}, {"results", Json::array()}};
  for (const Retrieved& result : response.results) json["results"].push_back(ToJson(result));
  json["unencoded_passages"] = response.unencoded_passages;
  json["unkept_passages"] = response.unkept_passages;
  json["counters"] = ToJson(response.counters);
  return json;
}

Json ToJson(const AskResponse& response) {
  Json json = {{"question", response.question}, {"answer", response.answer},
               {"answered", response.answered}, {"revision", response.revision.value},
               {"citations", Json::array()},    {"retrieved", Json::array()}};
  for (const Citation& citation : response.citations) {
    Json item = ToJson(citation.evidence);
    item["sentence"] = citation.sentence;
    item["support"] = citation.support;
    json["citations"].push_back(std::move(item));
  }
  for (const Retrieved& result : response.retrieved) json["retrieved"].push_back(ToJson(result));
  json["unencoded_passages"] = response.unencoded_passages;
  json["unkept_passages"] = response.unkept_passages;
  json["counters"] = ToJson(response.counters);
  return json;
}

Json ToJson(const AddReport& report) {
  Json json = {{"added", report.added},
               {"replaced", report.replaced},
               {"unchanged", report.unchanged},
               {"erased", report.erased},
               {"failed", Json::array()},
               {"revision", report.revision.value},
               {"passages", report.passages},
               {"tokens", report.tokens},
               {"reused_passages", report.reused_passages},
               {"imported_passages", report.imported_passages},
               {"encoded_passages", report.encoded_passages},
               {"unencoded_passages", report.unencoded_passages},
               {"cancelled", report.cancelled},
               {"seconds",
                {{"add", report.add_seconds},
                 {"encode", report.encode_seconds},
                 {"model", report.model_seconds},
                 {"write", report.write_seconds}}}};
  for (const LoadFailure& failure : report.failures) {
    json["failed"].push_back({{"path", failure.path}, {"reason", failure.reason.message()}});
  }
  return json;
}

Json ToJson(const DocumentChange& change) {
  return {{"document", change.key}, {"change", ChangeName(change.change)}};
}

Json ToJson(const SyncReport& report) {
  Json json = ToJson(report.add);
  json["changes"] = Json::array();
  for (const DocumentChange& change : report.changes) json["changes"].push_back(ToJson(change));
  return json;
}

Json ToJson(const RemoveReport& report) {
  return {{"removed", report.removed}, {"revision", report.revision.value}};
}

Json ToJson(const RevisionInfo& revision) {
  Json json = {{"revision", revision.id.value},
               {"parent", revision.parent.valid() ? Json(revision.parent.value) : Json()},
               {"time", FormatUtc(revision.unix_ms)},
               {"author", revision.author},
               {"message", revision.message},
               {"changes", Json::array()}};
  for (const DocumentChange& change : revision.changes) json["changes"].push_back(ToJson(change));
  return json;
}

Json ToJson(const EraseReport& report) {
  return {{"erased", report.numbers.size()},
          {"numbers", report.numbers},
          {"revision", report.revision.value},
          {"pending", !report.waits_for.empty()},
          {"waits_for", report.waits_for}};
}

Json ToJson(const Retention& retention) {
  Json json = {{"text", "all"}, {"latents_days", retention.latents_days}};
  if (retention.text_days != Retention::kForever) json["text"] = retention.text_days;
  return json;
}

Json ToJson(const CompactReport& report) {
  return {{"retention", ToJson(report.retention)},
          {"bytes_before", report.bytes_before},
          {"bytes_after", report.bytes_after},
          {"files", report.files},
          {"dropped_texts", report.dropped_texts},
          {"dropped_latents", report.dropped_latents},
          {"damaged", report.damaged}};
}

Json ToJson(const AuditReport& report) {
  return {{"revisions", report.revisions},
          {"chain", {{"length", report.chain_entries}, {"head", report.chain_head}}},
          {"erase_epoch", report.erase_epoch},
          {"verified_bytes", report.verified_bytes},
          {"partial", !report.unchecked.empty()},
          {"unchecked", report.unchecked}};
}

Json ToJson(const ErasureProof& proof) {
  return {{"verified", proof.documents},
          {"chain_length", proof.chain_entries},
          {"sharing", proof.sharing}};
}

Json ToJson(const BackupReport& report) {
  return {{"revision", report.revision.value},
          {"copied_bytes", report.copied_bytes},
          {"kept_bytes", report.kept_bytes}};
}

Json ToJson(const RestoreReport& report) {
  return {{"revision", report.revision.value},
          {"documents", report.documents},
          {"erased", report.erased},
          {"readmitted", report.readmitted},
          {"copied_bytes", report.copied_bytes}};
}

std::string FormatUtc(int64_t unix_ms) {
  const std::time_t seconds = unix_ms / 1000;
  std::tm utc{};
  gmtime_r(&seconds, &utc);
  char text[64];
  const size_t size = std::strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &utc);
  return std::string(text, size);
}

Json ToJson(const EncodeReport& report) {
  return {{"encoded_passages", report.passages}, {"tokens", report.tokens},
          {"latents", report.latents},           {"unencoded_passages", report.left_passages},
          {"cancelled", report.cancelled},       {"seconds", report.seconds}};
}

Json ToJson(const MigrateReport& report) {
  Json json = {{"from", report.from.empty() ? Json() : Json(report.from)},
               {"to", report.to},
               {"moved", report.moved}};
  json.update(ToJson(report.encode));
  return json;
}

Json ToJson(const DocumentInfo& document) {
  return {{"id", document.id.value},
          {"document", document.key},
          {"title", document.title},
          {"type", document.media_type},
          {"path", document.source_path},
          {"sha256", document.source_sha256},
          {"source_bytes", document.source_bytes},
          {"text_bytes", document.text_bytes},
          {"passages", document.num_passages},
          {"tokens", document.num_tokens},
          {"text_kept", document.text_kept},
          {"labels", document.labels},
          {"revision", document.born.value},
          {"added_unix_ms", document.added_unix_ms}};
}

}  // namespace msa
