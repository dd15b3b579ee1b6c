#include "msa/bank/revision_totals.h"

namespace msa {

Result<std::vector<RevisionTotals>> ComputeTotals(Catalog& catalog) {
  std::vector<RevisionTotals> totals;
  MSA_ASSIGN_OR_RETURN(Statement newest,
                       catalog.db().Prepare("SELECT ifnull(max(id), 0), count(*) FROM revisions"));
  MSA_RETURN_IF_ERROR(newest.Step().status());
  const int64_t revisions = newest.Int(0);
  if (revisions != newest.Int(1)) return DataLoss("catalog: revisions do not count from 1");
  newest.Reset();
  totals.resize(static_cast<size_t>(revisions));

  // First what each revision changes. A version that dies in the revision of its birth is never
  // seen, whatever its other deaths.
  MSA_ASSIGN_OR_RETURN(
      Statement changes,
      catalog.db().Prepare(
          "WITH seen AS (SELECT id, birth, num_passages, num_tokens, text_bytes FROM versions v"
          " WHERE NOT EXISTS"
          " (SELECT 1 FROM deaths d WHERE d.version = v.id AND d.revision = v.birth))"
          " SELECT birth, 1, num_passages, num_tokens, text_bytes FROM seen UNION ALL"
          " SELECT d.revision, -1, s.num_passages, s.num_tokens, s.text_bytes FROM seen s"
          " JOIN deaths d ON d.version = s.id"));
  while (true) {
    MSA_ASSIGN_OR_RETURN(const bool row, changes.Step());
    if (!row) break;
    const int64_t revision = changes.Int(0);
    if (revision < 1 || revision > revisions) {
      return DataLoss("catalog: a version names revision " + std::to_string(revision) +
                      ", which is not there");
    }
    const RevisionTotals version{1, changes.Int(2), changes.Int(3), changes.Int(4)};
    RevisionTotals& total = totals[static_cast<size_t>(revision - 1)];
    if (changes.Int(1) > 0) {
      total += version;
    } else {
      total -= version;
    }
  }
  // Then the sum along each path; parents come first.
  MSA_ASSIGN_OR_RETURN(Statement parents,
                       catalog.db().Prepare("SELECT id, parent FROM revisions"
                                            " WHERE parent IS NOT NULL ORDER BY id"));
  while (true) {
    MSA_ASSIGN_OR_RETURN(const bool row, parents.Step());
    if (!row) return totals;
    const int64_t id = parents.Int(0);
    const int64_t parent = parents.Int(1);
    if (id < 1 || parent < 1 || parent >= id) {
      return DataLoss("catalog: revision " + std::to_string(id) + " has parent " +
                      std::to_string(parent));
    }
    totals[static_cast<size_t>(id - 1)] += totals[static_cast<size_t>(parent - 1)];
  }
}

}  // namespace msa
