// Reads and writes safetensors: an 8-byte little-endian header length, a JSON header, then tensor
// data. Ours keep the data from a multiple of 64 bytes on and put format and version into the
// metadata. Format: https://github.com/huggingface/safetensors
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "msa/base/dtype.h"
#include "msa/base/file.h"
#include "msa/base/status.h"

namespace msa {

struct SafeTensor {
  std::string name;
  DType dtype;
  std::vector<int64_t> shape;
  std::span<const std::byte> bytes;
  int64_t num_elements() const;
};

class SafetensorsFile {
 public:
  // Maps the file and checks the whole header (offsets within the file, sizes equal to shapes, no
  // overlap) before anything is handed out. kDataLoss names what is wrong; kUnimplemented a dtype
  // we do not read.
  static Result<std::shared_ptr<const SafetensorsFile>> Open(const std::string& path);

  const std::string& path() const { return path_; }
  const std::map<std::string, std::string, std::less<>>& metadata() const { return metadata_; }
  const std::vector<SafeTensor>& tensors() const { return tensors_; }
  const SafeTensor* Find(std::string_view name) const;  // null if absent
  int64_t size_bytes() const { return static_cast<int64_t>(mapping_.bytes().size()); }
  // The whole file.
  std::span<const std::byte> bytes() const { return mapping_.bytes(); }

 private:
  SafetensorsFile() = default;
  Status Parse();

  std::string path_;
  MappedFile mapping_;
  std::map<std::string, std::string, std::less<>> metadata_;
  std::vector<SafeTensor> tensors_;
  std::map<std::string, size_t, std::less<>> index_;
};

// The header of a file that will hold `tensors` (their `bytes` are not read, only sizes) in the
// order given: length field, JSON and padding, a multiple of 64 bytes. Append the tensors' bytes to
// get a file.
std::string SafetensorsHeader(std::span<const SafeTensor> tensors,
                              const std::map<std::string, std::string, std::less<>>& metadata);

}  // namespace msa
