// A borrowed row-major matrix.
#pragma once

#include <cstdint>
#include <span>
#include <type_traits>

#include "msa/base/check.h"

namespace msa {

// rows x cols elements of T, row i at data + i * stride. Copying copies the view.
template <class T>
struct MatrixView {
  T* data = nullptr;
  int64_t rows = 0;
  int64_t cols = 0;
  int64_t stride = 0;  // elements between rows, >= cols

  MatrixView() = default;
  MatrixView(T* data, int64_t rows, int64_t cols, int64_t stride)
      : data(data), rows(rows), cols(cols), stride(stride) {
    MSA_DCHECK(rows >= 0 && cols >= 0 && stride >= cols);
  }
  MatrixView(T* data, int64_t rows, int64_t cols) : MatrixView(data, rows, cols, cols) {}

  std::span<T> row(int64_t i) const {
    MSA_DCHECK(i >= 0 && i < rows);
    return {data + i * stride, static_cast<size_t>(cols)};
  }
  operator MatrixView<const T>() const  // NOLINT: implicit, as span does
    requires(!std::is_const_v<T>)
  {
    return {data, rows, cols, stride};
  }
};

}  // namespace msa
