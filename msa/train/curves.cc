#include "msa/train/curves.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>
#include <vector>

#include "msa/base/file.h"

namespace msa {
namespace {

using Json = nlohmann::json;
using Series = std::vector<std::pair<double, double>>;  // step, value

constexpr double kWidth = 860;
constexpr double kPanelHeight = 220;
constexpr double kLeft = 70, kRight = 150, kTop = 28, kBottom = 30;
constexpr std::array<const char*, 8> kColours = {"#1f77b4", "#d62728", "#2ca02c", "#9467bd",
                                                 "#ff7f0e", "#17becf", "#8c564b", "#7f7f7f"};

enum Panel { kLosses, kShares, kSpeed, kNumPanels, kNowhere };
constexpr std::array<const char*, kNumPanels> kTitles = {"nats", "share", "tokens a second"};

Panel PanelOf(const std::string& name) {
  if (name == "accuracy" || name.starts_with("kept")) return kShares;
  if (name == "tokens_per_second") return kSpeed;
  const bool loss = name == "reconstruct" || name == "stranger" || name == "proceed" ||
                    name == "answer" || name == "contrastive" || name == "teacher" ||
                    name.starts_with("nats");
  return loss ? kLosses : kNowhere;
}

std::string Number(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.4g", value);
  return text;
}

void DrawPanel(const std::map<std::string, Series>& lines, const char* title, double top,
               double last_step, std::ostream& out) {
  double highest = 0;
  for (const auto& [name, series] : lines) {
    for (const auto& [step, value] : series) highest = std::max(highest, value);
  }
  if (highest <= 0) highest = 1;
  const double bottom = top + kPanelHeight - kBottom;
  const double right = kWidth - kRight;
  const auto x = [&](double step) { return kLeft + step / last_step * (right - kLeft); };
  const auto y = [&](double value) {
    return bottom - std::clamp(value / highest, 0.0, 1.0) * (bottom - top - kTop);
  };
  const auto text = [&](double at_x, double at_y, const char* anchor, const std::string& content,
                        const char* colour) {
    out << "<text x='" << at_x << "' y='" << at_y << "' text-anchor='" << anchor << "' fill='"
        << colour << "'>" << content << "</text>\n";
  };
  text(kLeft, top + 16, "start", title, "#000");
  for (int i = 0; i <= 4; ++i) {
    const double value = highest * i / 4;
    out << "<line x1='" << kLeft << "' x2='" << right << "' y1='" << y(value) << "' y2='"
        << y(value) << "' stroke='#ddd'/>\n";
    text(kLeft - 6, y(value) + 4, "end", Number(value), "#444");
    text(x(last_step * i / 4), bottom + 16, "middle", Number(last_step * i / 4), "#444");
  }
  size_t index = 0;
  for (const auto& [name, series] : lines) {
    const char* colour = kColours[index % kColours.size()];
    out << "<polyline fill='none' stroke='" << colour << "' points='";
    for (const auto& [step, value] : series) out << x(step) << ',' << y(value) << ' ';
    out << "'/>\n";
    text(right + 8, top + kTop + 16.0 * static_cast<double>(index++), "start",
         name + " " + Number(series.back().second), colour);
  }
}

}  // namespace

Status WriteCurves(const std::string& log_path, const std::string& svg_path) {
  MSA_ASSIGN_OR_RETURN(const std::string log, ReadFile(log_path));
  std::array<std::map<std::string, Series>, kNumPanels> panels;
  double last_step = 1;
  std::istringstream lines(log);
  for (std::string line; std::getline(lines, line);) {
    const Json json = Json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (!json.is_object() || !json.contains("step")) continue;
    const double step = json["step"].get<double>();
    last_step = std::max(last_step, step);
    for (const auto& [name, value] : json.items()) {
      const Panel panel = PanelOf(name);
      if (panel == kNowhere || !value.is_number()) continue;
      panels[panel][name].emplace_back(step, value.get<double>());
    }
  }
  std::ostringstream out;
  out << "<svg xmlns='http://www.w3.org/2000/svg' width='" << kWidth << "' height='"
      << kPanelHeight * kNumPanels << "' font-family='sans-serif' font-size='12'>\n"
      << "<rect width='100%' height='100%' fill='#fff'/>\n";
  for (size_t i = 0; i < panels.size(); ++i) {
    DrawPanel(panels[i], kTitles[i], kPanelHeight * static_cast<double>(i), last_step, out);
  }
  out << "</svg>\n";
  return WriteFileAtomically(PosixFileSystem(), svg_path, out.str());
}

}  // namespace msa
