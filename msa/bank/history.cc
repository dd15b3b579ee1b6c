#include "msa/bank/history.h"

#include <algorithm>
#include <map>

#include "msa/base/hash.h"

namespace msa {
namespace {

// A version that came with a revision, or went with it.
struct Event {
  int64_t revision;
  int64_t document;
  int64_t version;
  bool is_death;
};

// Of every version that was ever seen: those that went with the revision they came with, as erased
// ones do, were not.
Result<std::vector<Event>> ReadEvents(Catalog& catalog) {
  MSA_ASSIGN_OR_RETURN(
      Statement versions,
      catalog.db().Prepare("SELECT id, document, birth FROM versions ORDER BY id"));
  MSA_ASSIGN_OR_RETURN(DeathWalk deaths, DeathWalk::Begin(catalog.db()));
  std::vector<Event> events;
  while (true) {
    MSA_ASSIGN_OR_RETURN(const bool row, versions.Step());
    if (!row) return events;
    const int64_t version = versions.Int(0);
    const int64_t birth = versions.Int(2);
    const size_t begin = events.size();
    events.push_back({birth, versions.Int(1), version, false});
    bool is_seen = true;
    MSA_RETURN_IF_ERROR(deaths.Next(version, [&](int64_t revision) {
      events.push_back({revision, versions.Int(1), version, true});
      is_seen = is_seen && revision != birth;
    }));
    if (!is_seen) events.resize(begin);
  }
}

class Keys {
 public:
  static Result<Keys> Create(Catalog& catalog) {
    MSA_ASSIGN_OR_RETURN(Statement key,
                         catalog.db().Prepare("SELECT key FROM documents WHERE id = ?1"));
    return Keys(std::move(key));
  }

  Result<std::string> Find(int64_t document) {
    MSA_ASSIGN_OR_RETURN(const bool row, key_.Bind(document).Step());
    std::string key(row ? key_.Text(0) : std::string_view());
    key_.Reset();
    if (!row) return DataLoss("catalog: document " + std::to_string(document) + " has no row");
    return key;
  }

 private:
  explicit Keys(Statement key) : key_(std::move(key)) {}
  Statement key_;
};

// What happened to the documents, in memory, so that the changes of each revision cost what they
// are.
class Events {
 public:
  static Result<Events> Read(Catalog& catalog) {
    MSA_ASSIGN_OR_RETURN(auto events, ReadEvents(catalog));
    return Events(std::move(events));
  }

  // Ascending by document.
  std::span<const Event> Of(int64_t revision) const {
    const auto found = std::ranges::equal_range(by_revision_, revision, {}, &Event::revision);
    return {found.begin(), found.end()};
  }
  // Ascending: all that may look different from the two paths.
  std::vector<int64_t> DocumentsThatDiffer(const RevisionPath& a, const RevisionPath& b) const {
    std::vector<int64_t> documents;
    for (const RevisionPath::Run& run : RevisionPath::Difference(a, b)) {
      auto event = std::ranges::lower_bound(by_revision_, run.first, {}, &Event::revision);
      for (; event != by_revision_.end() && event->revision <= run.last; ++event) {
        documents.push_back(event->document);
      }
    }
    std::ranges::sort(documents);
    documents.erase(std::ranges::unique(documents).begin(), documents.end());
    return documents;
  }
  // The version of a document that is visible from a path; 0 if there is none.
  int64_t VisibleVersion(int64_t document, const RevisionPath& path) {
    SortByDocument();
    int64_t visible = 0;
    const auto found = std::ranges::equal_range(by_document_, document, {}, &Event::document);
    for (auto event = found.begin(); event != found.end();) {
      const int64_t version = event->version;
      bool is_born = false;
      bool is_dead = false;
      for (; event != found.end() && event->version == version; ++event) {
        if (path.Contains(event->revision)) (event->is_death ? is_dead : is_born) = true;
      }
      if (is_born && !is_dead) visible = version;
    }
    return visible;
  }

 private:
  explicit Events(std::vector<Event> events) : by_revision_(std::move(events)) {
    std::ranges::sort(by_revision_, {},
                      [](const Event& e) { return std::pair(e.revision, e.document); });
  }
  // Only a log with revisions that went back needs it.
  void SortByDocument() {
    if (by_document_.size() == by_revision_.size()) return;
    by_document_ = by_revision_;
    std::ranges::sort(by_document_, {},
                      [](const Event& e) { return std::pair(e.document, e.version); });
  }

  std::vector<Event> by_revision_;  // then by document
  std::vector<Event> by_document_;  // then by version
};

// What the events of one revision make of each document.
Result<std::vector<DocumentChange>> ChangesOf(std::span<const Event> events, Keys& keys) {
  std::vector<DocumentChange> changes;
  for (size_t begin = 0; begin < events.size();) {
    bool came = false;
    bool went = false;
    size_t end = begin;
    for (; end < events.size() && events[end].document == events[begin].document; ++end) {
      (events[end].is_death ? went : came) = true;
    }
    MSA_ASSIGN_OR_RETURN(std::string key, keys.Find(events[begin].document));
    changes.push_back({std::move(key), !went  ? ChangeKind::kAdded
                                       : came ? ChangeKind::kReplaced
                                              : ChangeKind::kRemoved});
    begin = end;
  }
  return changes;
}

// As DiffRevisions, from the events.
Result<std::vector<DocumentChange>> ChangesBetween(Catalog& catalog, int64_t from, int64_t to,
                                                   Events& events, Keys& keys) {
  MSA_ASSIGN_OR_RETURN(const RevisionPath from_path, catalog.ReadPath(from));
  MSA_ASSIGN_OR_RETURN(const RevisionPath to_path, catalog.ReadPath(to));
  std::vector<DocumentChange> changes;
  for (const int64_t document : events.DocumentsThatDiffer(from_path, to_path)) {
    const int64_t before = events.VisibleVersion(document, from_path);
    const int64_t after = events.VisibleVersion(document, to_path);
    if (before == after) continue;
    MSA_ASSIGN_OR_RETURN(std::string key, keys.Find(document));
    changes.push_back({std::move(key), before == 0  ? ChangeKind::kAdded
                                       : after == 0 ? ChangeKind::kRemoved
                                                    : ChangeKind::kReplaced});
  }
  return changes;
}

RevisionInfo ReadRevision(const Statement& row) {
  RevisionInfo info;
  info.id = RevisionId{row.Int(0)};
  info.parent = RevisionId{row.Int(1)};
  info.unix_ms = row.Int(2);
  info.author = row.Text(3);
  info.message = row.Text(4);
  info.kind = static_cast<RevisionKind>(row.Int(5));
  info.documents = row.Int(6);
  return info;
}

// Numbers of the documents that each revision erased, from the chain.
Result<std::multimap<int64_t, std::string>> ReadErased(Catalog& catalog) {
  MSA_ASSIGN_OR_RETURN(
      Statement rows,
      catalog.db().Prepare("SELECT revision, number FROM chain WHERE operation = ?1 ORDER BY seq"));
  rows.Bind(static_cast<int64_t>(ChainOperation::kErase));
  std::multimap<int64_t, std::string> erased;
  while (true) {
    MSA_ASSIGN_OR_RETURN(const bool row, rows.Step());
    if (!row) return erased;
    erased.emplace(rows.Int(0), HexEncode(rows.Blob(1)));
  }
}

}  // namespace

Status CheckRevision(const CatalogState& state, int64_t revision) {
  if (revision >= 0 && revision <= state.head.revision) return OkStatus();
  return NotFound("there is no revision " + std::to_string(revision) + "; the newest is " +
                  std::to_string(state.head.revision) + " (`msa log` lists them)");
}

Result<std::vector<DocumentChange>> DiffRevisions(Catalog& catalog, int64_t from, int64_t to) {
  MSA_ASSIGN_OR_RETURN(const RevisionPath from_path, catalog.ReadPath(from));
  MSA_ASSIGN_OR_RETURN(const RevisionPath to_path, catalog.ReadPath(to));
  MSA_ASSIGN_OR_RETURN(const auto candidates, catalog.DocumentsThatDiffer(from_path, to_path));
  const auto find_visible = [&](const RevisionPath& path, DocId document) {
    catalog.SetPath(&path);
    auto version = catalog.FindVisible(document);
    catalog.SetPath(nullptr);
    return version;
  };
  std::vector<DocumentChange> changes;
  for (const DocId document : candidates) {
    MSA_ASSIGN_OR_RETURN(auto before, find_visible(from_path, document));
    MSA_ASSIGN_OR_RETURN(auto after, find_visible(to_path, document));
    if (!before && !after) continue;
    if (before && after && before->info.version == after->info.version) continue;
    changes.push_back(
        {std::move((before ? before : after)->info.key), !before  ? ChangeKind::kAdded
                                                         : !after ? ChangeKind::kRemoved
                                                                  : ChangeKind::kReplaced});
  }
  return changes;
}

Status ReadLog(Catalog& catalog, const CatalogState& state,
               FunctionRef<bool(const RevisionInfo&)> on_revision) {
  MSA_ASSIGN_OR_RETURN(Events events, Events::Read(catalog));
  MSA_ASSIGN_OR_RETURN(const auto erased, ReadErased(catalog));
  MSA_ASSIGN_OR_RETURN(Keys keys, Keys::Create(catalog));
  MSA_ASSIGN_OR_RETURN(
      Statement rows,
      catalog.db().Prepare("SELECT id, ifnull(parent, -1), time, author, message, kind, documents"
                           " FROM revisions WHERE id <= ?1 ORDER BY id DESC"));
  rows.Bind(state.head.revision);
  while (true) {
    MSA_ASSIGN_OR_RETURN(const bool row, rows.Step());
    if (!row) return OkStatus();
    RevisionInfo info = ReadRevision(rows);
    const int64_t id = info.id.value;
    if (info.kind == RevisionKind::kRevert) {
      MSA_ASSIGN_OR_RETURN(info.changes, ChangesBetween(catalog, id - 1, id, events, keys));
    } else {
      MSA_ASSIGN_OR_RETURN(info.changes, ChangesOf(events.Of(id), keys));
    }
    const auto [first, last] = erased.equal_range(id);
    for (auto it = first; it != last; ++it) {
      info.changes.push_back({it->second, ChangeKind::kErased});
    }
    if (!on_revision(info)) return OkStatus();
  }
}

}  // namespace msa
