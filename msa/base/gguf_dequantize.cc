// GGUF's block formats into f32. Each value is computed by the same f32 operations in the same
// order as the `gguf` package does it, since a fused or reordered one would round differently (this
// file is compiled with -ffp-contract=off). Layouts: ggml's ggml-common.h.
#include <array>
#include <cstring>

#include "msa/base/dtype.h"
#include "msa/base/gguf.h"

namespace msa {
namespace {

struct GgmlTypeInfo {
  GgmlType type;
  const char* name;
  int64_t block_elements;
  int64_t block_bytes;
};

constexpr std::array<GgmlTypeInfo, 8> kTypes = {{{GgmlType::kF32, "F32", 1, 4},
                                                 {GgmlType::kF16, "F16", 1, 2},
                                                 {GgmlType::kBF16, "BF16", 1, 2},
                                                 {GgmlType::kQ8_0, "Q8_0", 32, 34},
                                                 {GgmlType::kQ4_0, "Q4_0", 32, 18},
                                                 {GgmlType::kQ4_1, "Q4_1", 32, 20},
                                                 {GgmlType::kQ4_K, "Q4_K", 256, 144},
                                                 {GgmlType::kQ6_K, "Q6_K", 256, 210}}};

const GgmlTypeInfo* FindType(GgmlType type) {
  for (const GgmlTypeInfo& info : kTypes) {
    if (info.type == type) return &info;
  }
  return nullptr;
}

uint16_t LoadU16(const uint8_t* p) { return static_cast<uint16_t>(p[0] | p[1] << 8); }
float LoadF16(const uint8_t* p) { return ToFloat(F16{LoadU16(p)}); }

void ExpandF32(const uint8_t* block, float* out) { std::memcpy(out, block, sizeof(float)); }
void ExpandF16(const uint8_t* block, float* out) { *out = LoadF16(block); }
void ExpandBF16(const uint8_t* block, float* out) { *out = ToFloat(BF16{LoadU16(block)}); }

void ExpandQ8_0(const uint8_t* block, float* out) {
  const float d = LoadF16(block);
  for (int i = 0; i < 32; ++i) out[i] = static_cast<float>(static_cast<int8_t>(block[2 + i])) * d;
}

void ExpandQ4_0(const uint8_t* block, float* out) {
  const float d = LoadF16(block);
  for (int i = 0; i < 16; ++i) {
    out[i] = d * static_cast<float>((block[2 + i] & 15) - 8);
    out[i + 16] = d * static_cast<float>((block[2 + i] >> 4) - 8);
  }
}

void ExpandQ4_1(const uint8_t* block, float* out) {
  const float d = LoadF16(block);
  const float m = LoadF16(block + 2);
  for (int i = 0; i < 16; ++i) {
    out[i] = d * static_cast<float>(block[4 + i] & 15) + m;
    out[i + 16] = d * static_cast<float>(block[4 + i] >> 4) + m;
  }
}

// f16 d, f16 dmin, 12 bytes of 6-bit scales and minima, 128 bytes of nibbles: for each 64 values 32
// bytes, the low nibbles first.
void ExpandQ4_K(const uint8_t* block, float* out) {
  const float d = LoadF16(block);
  const float dmin = LoadF16(block + 2);
  const uint8_t* packed = block + 4;
  const uint8_t* q = block + 16;
  for (int group = 0; group < 8; ++group) {
    int scale, minimum;
    if (group < 4) {
      scale = packed[group] & 63;
      minimum = packed[group + 4] & 63;
    } else {
      scale = (packed[group + 4] & 15) | (packed[group - 4] >> 2 & 0x30);
      minimum = packed[group + 4] >> 4 | (packed[group] >> 2 & 0x30);
    }
    const float ds = d * static_cast<float>(scale);
    const float dm = dmin * static_cast<float>(minimum);
    const uint8_t* bytes = q + 32 * (group / 2);
    const int shift = 4 * (group % 2);
    for (int i = 0; i < 32; ++i) {
      out[32 * group + i] = ds * static_cast<float>(bytes[i] >> shift & 15) - dm;
    }
  }
}

// 128 bytes of low nibbles, 64 of high bit pairs, 16 signed scales (one for 16 values), f16 d. A
// half of 128 values takes 64 low bytes and 32 high ones.
void ExpandQ6_K(const uint8_t* block, float* out) {
  const auto* scales = reinterpret_cast<const int8_t*>(block + 192);
  const float d = LoadF16(block + 208);
  for (int half = 0; half < 2; ++half) {
    const uint8_t* low = block + 64 * half;
    const uint8_t* high = block + 128 + 32 * half;
    for (int run = 0; run < 4; ++run) {  // 32 values each
      for (int i = 0; i < 32; ++i) {
        const int nibble = low[32 * (run % 2) + i] >> (4 * (run / 2)) & 15;
        const int value = (nibble | (high[i] >> (2 * run) & 3) << 4) - 32;
        const int position = 128 * half + 32 * run + i;
        const float scale = d * static_cast<float>(scales[position / 16]);
        out[position] = scale * static_cast<float>(value);
      }
    }
  }
}

template <class Expand>
void ForEachBlock(const GgmlTypeInfo& info, std::span<const std::byte> blocks, float* out,
                  Expand expand) {
  const auto* block = reinterpret_cast<const uint8_t*>(blocks.data());
  const uint8_t* end = block + blocks.size();
  for (; block != end; block += info.block_bytes, out += info.block_elements) expand(block, out);
}

}  // namespace

std::string GgmlTypeName(GgmlType type) {
  const GgmlTypeInfo* info = FindType(type);
  return info != nullptr ? info->name : "type " + std::to_string(static_cast<uint32_t>(type));
}

bool IsReadableGgmlType(GgmlType type) { return FindType(type) != nullptr; }

int64_t GgmlBlockElements(GgmlType type) {
  const GgmlTypeInfo* info = FindType(type);
  MSA_CHECK(info != nullptr);
  return info->block_elements;
}

int64_t GgmlBlockBytes(GgmlType type) {
  const GgmlTypeInfo* info = FindType(type);
  MSA_CHECK(info != nullptr);
  return info->block_bytes;
}

Status DequantizeGgml(GgmlType type, std::span<const std::byte> blocks, std::span<float> out) {
  const GgmlTypeInfo* info = FindType(type);
  if (info == nullptr) {
    std::string known;
    for (const GgmlTypeInfo& i : kTypes) known += std::string(" ") + i.name;
    return Unimplemented("tensor " + GgmlTypeName(type) + " is not read; those that are:" + known);
  }
  const auto block_bytes = static_cast<size_t>(info->block_bytes);
  const auto block_elements = static_cast<size_t>(info->block_elements);
  if (blocks.size() % block_bytes != 0 || out.size() % block_elements != 0 ||
      blocks.size() / block_bytes != out.size() / block_elements) {
    return InvalidArgument(std::to_string(blocks.size()) + " bytes of " + info->name +
                           " do not hold " + std::to_string(out.size()) + " elements");
  }
  switch (type) {
    case GgmlType::kF32: ForEachBlock(*info, blocks, out.data(), ExpandF32); break;
    case GgmlType::kF16: ForEachBlock(*info, blocks, out.data(), ExpandF16); break;
    case GgmlType::kBF16: ForEachBlock(*info, blocks, out.data(), ExpandBF16); break;
    case GgmlType::kQ8_0: ForEachBlock(*info, blocks, out.data(), ExpandQ8_0); break;
    case GgmlType::kQ4_0: ForEachBlock(*info, blocks, out.data(), ExpandQ4_0); break;
    case GgmlType::kQ4_1: ForEachBlock(*info, blocks, out.data(), ExpandQ4_1); break;
    case GgmlType::kQ4_K: ForEachBlock(*info, blocks, out.data(), ExpandQ4_K); break;
    case GgmlType::kQ6_K: ForEachBlock(*info, blocks, out.data(), ExpandQ6_K); break;
  }
  return OkStatus();
}

}  // namespace msa
