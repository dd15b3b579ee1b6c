#include "msa/kernels/convert.h"

#include "msa/base/check.h"

namespace msa {

RunConversion ChooseConversion(DType dtype, Isa isa) {
  MSA_CHECK(IsaSupported(isa));
  return isa == Isa::kReference ? ref::Conversion(dtype) : cpu::ConversionAvx2(dtype);
}

}  // namespace msa
