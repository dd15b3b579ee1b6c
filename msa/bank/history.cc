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
  // Deaths only: the version came with the same revision, which then never showed it.
  bool is_fleeting;
};

// Ascending by revision, then by document.
Result<std::vector<Event>> ReadEvents(Catalog& catalog) {
  MSA_ASSIGN_OR_RETURN(
      Statement rows,
      catalog.db().Prepare(
          "SELECT birth, document, id, 0, 0 FROM versions UNION ALL"
          " SELECT d.revision, v.document, v.id, 1, v.birth = d.revision FROM deaths d"
          " JOIN versions v ON v.id = d.version"));
  std::vector<Event> events;
  while (true) {
    MSA_ASSIGN_OR_RETURN(const bool row, rows.Step());
    if (!row) break;
    events.push_back({rows.Int(0), rows.Int(1), rows.Int(2), rows.Int(3) != 0, rows.Int(4) != 0});
  }
  std::ranges::sort(events, {}, [](const Event& e) { return std::pair(e.revision, e.document); });
  return events;
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

// What the events of one revision make of each document.
Result<std::vector<DocumentChange>> ChangesOf(std::span<const Event> events, Keys& keys) {
  std::vector<DocumentChange> changes;
  for (size_t begin = 0; begin < events.size();) {
    bool was_there = false;
    int64_t alive = 0;  // versions that came and stayed
    size_t end = begin;
    for (; end < events.size() && events[end].document == events[begin].document; ++end) {
      const Event& event = events[end];
      was_there |= event.is_death && !event.is_fleeting;
      if (!event.is_death) ++alive;
      if (event.is_fleeting) --alive;
    }
    if (was_there || alive > 0) {
      MSA_ASSIGN_OR_RETURN(std::string key, keys.Find(events[begin].document));
      changes.push_back({std::move(key), !was_there  ? ChangeKind::kAdded
                                         : alive > 0 ? ChangeKind::kReplaced
                                                     : ChangeKind::kRemoved});
    }
    begin = end;
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
  MSA_ASSIGN_OR_RETURN(const std::vector<Event> events, ReadEvents(catalog));
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
      MSA_ASSIGN_OR_RETURN(info.changes, DiffRevisions(catalog, id - 1, id));
    } else {
      const auto of_revision = std::ranges::equal_range(events, id, {}, &Event::revision);
      MSA_ASSIGN_OR_RETURN(info.changes, ChangesOf({of_revision.begin(), of_revision.end()}, keys));
    }
    const auto [first, last] = erased.equal_range(id);
    for (auto it = first; it != last; ++it) {
      info.changes.push_back({it->second, ChangeKind::kErased});
    }
    if (!on_revision(info)) return OkStatus();
  }
}

}  // namespace msa
