// Reads GGUF files (versions 2 and 3, little-endian): typed metadata, tensor directory, mapped
// tensor data. Everything read is bounded by the file's size before anything is allocated. Format:
// https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "msa/base/file.h"
#include "msa/base/status.h"

namespace msa {

// Tensor types this project reads; the values are GGUF's.
enum class GgmlType : uint32_t {
  kF32 = 0,
  kF16 = 1,
  kQ4_0 = 2,
  kQ4_1 = 3,
  kQ8_0 = 8,
  kQ4_K = 12,
  kQ6_K = 14,
  kBF16 = 30
};

// "F32", "Q4_K", …; "type 17" for one we do not read.
std::string GgmlTypeName(GgmlType type);
bool IsReadableGgmlType(GgmlType type);
// Elements of a block, and its bytes. REQUIRES: one of the types above.
int64_t GgmlBlockElements(GgmlType type);
int64_t GgmlBlockBytes(GgmlType type);

// Expands whole blocks: out.size() elements, a multiple of the block. Equal bit for bit to the
// `gguf` package's dequantize. kInvalidArgument if sizes do not match, kUnimplemented for other
// types.
Status DequantizeGgml(GgmlType type, std::span<const std::byte> blocks, std::span<float> out);

struct GgufTensor {
  std::string name;
  GgmlType type;
  std::vector<int64_t> shape;        // row-major, outermost first (the reverse of the file's order)
  std::span<const std::byte> bytes;  // in the mapping; empty if the type is one we do not read
  int64_t num_elements() const;
};

using GgufStrings = std::vector<std::string>;
using GgufInts = std::vector<int64_t>;
using GgufFloats = std::vector<double>;
// Integers and floats are widened, so that a caller never asks for a width.
using GgufValue =
    std::variant<int64_t, double, bool, std::string, GgufStrings, GgufInts, GgufFloats>;

class GgufFile {
 public:
  // kInvalidArgument: not a GGUF file; kDataLoss: truncated or contradictory (the message gives
  // offset, found, expected); kUnimplemented: a version or a tensor type we do not read (asked of
  // the tensors only when expanded).
  static Result<std::shared_ptr<const GgufFile>> Open(const std::string& path);

  const std::string& path() const { return path_; }
  const std::map<std::string, GgufValue, std::less<>>& metadata() const { return metadata_; }
  // kNotFound, or kInvalidArgument if the key holds another type; the message names key and file.
  Result<int64_t> GetInt(std::string_view key) const;
  Result<double> GetFloat(std::string_view key) const;  // integers too
  Result<std::string> GetString(std::string_view key) const;
  Result<const GgufStrings*> GetStrings(std::string_view key) const;
  Result<const GgufInts*> GetInts(std::string_view key) const;

  const std::vector<GgufTensor>& tensors() const { return tensors_; }
  // Null if there is none of that name.
  const GgufTensor* Find(std::string_view name) const;
  int64_t size_bytes() const { return static_cast<int64_t>(mapping_.bytes().size()); }

 private:
  GgufFile() = default;
  Status Parse();

  std::string path_;
  MappedFile mapping_;
  std::map<std::string, GgufValue, std::less<>> metadata_;
  std::vector<GgufTensor> tensors_;
  std::map<std::string, size_t, std::less<>> index_;
};

}  // namespace msa
