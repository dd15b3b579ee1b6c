// Training curves as a picture.
#pragma once

#include <string>

#include "msa/base/status.h"

namespace msa {

// Draws the numbers of a training log (JSON lines with "step") as one SVG, a panel each for what
// shares a scale: losses in nats, shares (accuracy, information kept), tokens a second.
Status WriteCurves(const std::string& log_path, const std::string& svg_path);

}  // namespace msa
