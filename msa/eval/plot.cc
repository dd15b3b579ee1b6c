#include "msa/eval/plot.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <set>

#include "msa/base/file.h"

namespace msa {
namespace {

// Colours told apart by most eyes (Okabe and Ito).
constexpr std::array<const char*, 8> kColours = {"#000000", "#0072b2", "#d55e00", "#009e73",
                                                 "#cc79a7", "#e69f00", "#56b4e9", "#999999"};

std::string Escape(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '&')
      out += "&amp;";
    else if (c == '<')
      out += "&lt;";
    else if (c == '>')
      out += "&gt;";
    else
      out += c;
  }
  return out;
}

std::string Number(double value) {
  char buffer[32];
  std::snprintf(buffer, sizeof(buffer), "%.6g", value);
  return buffer;
}

// A picture under construction; lengths in pixels.
class Svg {
 public:
  Svg(double width, double height) {
    out_ = "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"" + Number(width) + "\" height=\"" +
           Number(height) + "\" viewBox=\"0 0 " + Number(width) + " " + Number(height) +
           "\" font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" "
           "fill=\"white\"/>\n";
  }
  void Text(double x, double y, const std::string& text, const std::string& more = "") {
    out_ += "<text x=\"" + Number(x) + "\" y=\"" + Number(y) + "\" " + more + ">" + Escape(text) +
            "</text>\n";
  }
  void Line(double x1, double y1, double x2, double y2, const std::string& colour) {
    out_ += "<line x1=\"" + Number(x1) + "\" y1=\"" + Number(y1) + "\" x2=\"" + Number(x2) +
            "\" y2=\"" + Number(y2) + "\" stroke=\"" + colour + "\"/>\n";
  }
  void Rect(double x, double y, double width, double height, const std::string& fill) {
    out_ += "<rect x=\"" + Number(x) + "\" y=\"" + Number(y) + "\" width=\"" + Number(width) +
            "\" height=\"" + Number(height) + "\" fill=\"" + fill + "\"/>\n";
  }
  void Path(const std::vector<std::pair<double, double>>& points, const std::string& colour,
            double width) {
    out_ += "<polyline fill=\"none\" stroke=\"" + colour + "\" stroke-width=\"" + Number(width) +
            "\" points=\"";
    for (const auto& [x, y] : points) out_ += Number(x) + "," + Number(y) + " ";
    out_ += "\"/>\n";
    for (const auto& [x, y] : points) {
      out_ += "<circle cx=\"" + Number(x) + "\" cy=\"" + Number(y) + "\" r=\"3\" fill=\"" + colour +
              "\"/>\n";
    }
  }
  std::string Finish() { return std::move(out_) + "</svg>\n"; }

 private:
  std::string out_;
};

}  // namespace

std::string LinePlot(const std::string& title, const std::string& x_label,
                     const std::string& y_label, const std::vector<PlotSeries>& series) {
  constexpr double kLeft = 60, kTop = 40, kWidth = 460, kHeight = 300, kLegend = 190;
  std::set<double> ticks;
  for (const PlotSeries& s : series) {
    for (const auto& [x, y] : s.points) ticks.insert(x);
  }
  if (ticks.empty()) ticks.insert(1);
  const double low = std::log2(*ticks.begin());
  const double range = std::max(std::log2(*ticks.rbegin()) - low, 1e-9);
  const auto at_x = [&](double x) {
    return kLeft + 10 + (std::log2(x) - low) / range * (kWidth - 20);
  };
  const auto at_y = [&](double y) { return kTop + (1 - std::clamp(y, 0.0, 1.0)) * kHeight; };

  Svg svg(kLeft + kWidth + kLegend, kTop + kHeight + 60);
  svg.Text(kLeft, 24, title, "font-size=\"15\"");
  for (int percent = 0; percent <= 100; percent += 10) {
    const double y = at_y(percent / 100.0);
    svg.Line(kLeft, y, kLeft + kWidth, y, percent == 0 ? "#000000" : "#dddddd");
    svg.Text(kLeft - 6, y + 4, Number(percent) + " %", "text-anchor=\"end\"");
  }
  for (const double x : ticks) {
    svg.Line(at_x(x), kTop + kHeight, at_x(x), kTop + kHeight + 5, "#000000");
    svg.Text(at_x(x), kTop + kHeight + 20, Number(x), "text-anchor=\"middle\"");
  }
  svg.Text(kLeft + kWidth / 2, kTop + kHeight + 42, x_label, "text-anchor=\"middle\"");
  svg.Text(
      14, kTop + kHeight / 2, y_label,
      "text-anchor=\"middle\" transform=\"rotate(-90 14 " + Number(kTop + kHeight / 2) + ")\"");
  for (size_t i = 0; i < series.size(); ++i) {
    const std::string colour = kColours[i % kColours.size()];
    std::vector<std::pair<double, double>> points;
    for (const auto& [x, y] : series[i].points) points.emplace_back(at_x(x), at_y(y));
    std::sort(points.begin(), points.end());
    svg.Path(points, colour, i == 0 ? 3 : 1.5);
    const double y = kTop + 10 + 20 * static_cast<double>(i);
    svg.Line(kLeft + kWidth + 12, y - 4, kLeft + kWidth + 34, y - 4, colour);
    svg.Text(kLeft + kWidth + 40, y, series[i].name);
  }
  return svg.Finish();
}

std::string HeatMap(const std::string& title, const std::string& x_label,
                    const std::string& y_label, const std::vector<std::string>& columns,
                    const std::vector<std::string>& rows,
                    const std::vector<std::vector<double>>& values) {
  constexpr double kLeft = 80, kTop = 40, kCellWidth = 56, kCellHeight = 30;
  const double width = kCellWidth * static_cast<double>(columns.size());
  const double height = kCellHeight * static_cast<double>(rows.size());
  Svg svg(kLeft + width + 20, kTop + height + 56);
  svg.Text(kLeft, 24, title, "font-size=\"15\"");
  for (size_t r = 0; r < rows.size(); ++r) {
    const double y = kTop + kCellHeight * static_cast<double>(r);
    svg.Text(kLeft - 6, y + kCellHeight / 2 + 4, rows[r], "text-anchor=\"end\"");
    for (size_t c = 0; c < columns.size(); ++c) {
      const double value = std::clamp(values[r][c], 0.0, 1.0);
      const double x = kLeft + kCellWidth * static_cast<double>(c);
      // From white to #08519c.
      const auto mix = [&](int dark) {
        return static_cast<int>(std::lround(255 + value * (dark - 255)));
      };
      char colour[8];
      std::snprintf(colour, sizeof(colour), "#%02x%02x%02x", mix(0x08), mix(0x51), mix(0x9c));
      svg.Rect(x, y, kCellWidth - 1, kCellHeight - 1, colour);
      svg.Text(
          x + kCellWidth / 2, y + kCellHeight / 2 + 4, Number(std::round(100 * value)),
          std::string("text-anchor=\"middle\" fill=\"") + (value > 0.5 ? "white" : "black") + "\"");
    }
  }
  for (size_t c = 0; c < columns.size(); ++c) {
    svg.Text(kLeft + kCellWidth * (static_cast<double>(c) + 0.5), kTop + height + 16, columns[c],
             "text-anchor=\"middle\"");
  }
  svg.Text(kLeft + width / 2, kTop + height + 38, x_label, "text-anchor=\"middle\"");
  svg.Text(14, kTop + height / 2, y_label,
           "text-anchor=\"middle\" transform=\"rotate(-90 14 " + Number(kTop + height / 2) + ")\"");
  return svg.Finish();
}

Status WritePlot(const std::string& path, const std::string& svg) {
  return WriteFileAtomically(PosixFileSystem(), path, svg).WithContext("plot");
}

}  // namespace msa
