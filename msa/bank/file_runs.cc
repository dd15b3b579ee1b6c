#include "msa/bank/file_runs.h"

#include <algorithm>
#include <set>

#include "msa/bank/committed_files.h"
#include "msa/bank/latent_catalog.h"
#include "msa/bank/pending_erasure.h"

namespace msa {
namespace {

constexpr int64_t kPieceBytes = int64_t{4} << 20;

Status AddFrames(Catalog& catalog, const std::set<int64_t>& doomed, FileRuns* runs) {
  MSA_ASSIGN_OR_RETURN(
      Statement rows,
      catalog.db().Prepare("SELECT file, position, length, checksum, id FROM versions"
                           " WHERE NOT flags & ?1"));
  rows.Bind(kTextNotKept);
  while (true) {
    MSA_ASSIGN_OR_RETURN(const bool row, rows.Step());
    if (!row) return OkStatus();
    (*runs)[FileId{rows.Int(0)}].push_back({rows.Int(1), rows.Int(2),
                                            static_cast<uint64_t>(rows.Int(3)),
                                            doomed.contains(rows.Int(4))});
  }
}

Status AddBlocks(Catalog& catalog, const Catalog::FileRow& tail, const std::set<int64_t>& doomed,
                 FileRuns* runs) {
  MSA_ASSIGN_OR_RETURN(const EncodingInfo encoding, GetEncoding(catalog, tail.encoding));
  const LatentRowSizes sizes(encoding.layout);
  MSA_ASSIGN_OR_RETURN(const auto places, ReadPlacesInFile(catalog, tail.encoding, tail.id));
  for (const LatentPlace& place : places) {
    (*runs)[tail.id].push_back({place.position, TailBlockBytes(sizes, place.num_chunks),
                                place.checksum, doomed.contains(place.version)});
  }
  return OkStatus();
}

Status CheckRuns(const Catalog::FileRow& file, const std::vector<FileRun>& runs) {
  int64_t end = kFileHeaderBytes;
  for (const FileRun& run : runs) {
    if (run.position < end || run.bytes < 0 || run.bytes > file.length - run.position) {
      return DataLoss("catalog: the run of file " + std::to_string(file.id.value) + " at byte " +
                      std::to_string(run.position) + ", length " + std::to_string(run.bytes) +
                      ", overlaps another or leaves the file");
    }
    end = run.end();
  }
  return OkStatus();
}

}  // namespace

Result<FileRuns> ReadRuns(Catalog& catalog) {
  MSA_ASSIGN_OR_RETURN(const auto doomed, ReadDoomedVersions(catalog));
  MSA_ASSIGN_OR_RETURN(const auto files, catalog.Files());
  FileRuns runs;
  MSA_RETURN_IF_ERROR(AddFrames(catalog, doomed, &runs));
  for (const Catalog::FileRow& file : files) {
    if (file.kind != FileKind::kTail) continue;
    MSA_RETURN_IF_ERROR(AddBlocks(catalog, file, doomed, &runs));
  }
  for (auto& [file, of_file] : runs) std::ranges::sort(of_file, {}, &FileRun::position);
  for (const Catalog::FileRow& file : files) {
    const auto found = runs.find(file.id);
    if (found != runs.end()) MSA_RETURN_IF_ERROR(CheckRuns(file, found->second));
  }
  return runs;
}

std::span<const FileRun> RunsOf(const FileRuns& runs, FileId file) {
  const auto found = runs.find(file);
  return found == runs.end() ? std::span<const FileRun>() : found->second;
}

Result<std::vector<FileRange>> FindStrayBytes(const File& file, int64_t length,
                                              std::span<const FileRun> runs) {
  std::vector<FileRange> strays;
  std::vector<std::byte> bytes;
  const auto search = [&](int64_t begin, int64_t end) -> Status {
    for (; begin < end; begin += static_cast<int64_t>(bytes.size())) {
      bytes.resize(static_cast<size_t>(std::min(kPieceBytes, end - begin)));
      MSA_RETURN_IF_ERROR(file.ReadAt(begin, bytes));
      if (std::ranges::all_of(bytes, [](std::byte b) { return b == std::byte{0}; })) continue;
      strays.push_back({begin, static_cast<int64_t>(bytes.size())});
    }
    return OkStatus();
  };
  int64_t next = kFileHeaderBytes;
  for (const FileRun& run : runs) {
    MSA_RETURN_IF_ERROR(search(next, run.position));
    next = run.end();
  }
  MSA_RETURN_IF_ERROR(search(next, length));
  return strays;
}

Status ClearStrayBytes(File& file, int64_t length, std::span<const FileRun> runs) {
  MSA_ASSIGN_OR_RETURN(const auto strays, FindStrayBytes(file, length, runs));
  if (strays.empty()) return OkStatus();
  for (const FileRange& stray : strays) {
    MSA_RETURN_IF_ERROR(ZeroRange(file, stray.position, stray.bytes));
  }
  return file.Sync();
}

}  // namespace msa
