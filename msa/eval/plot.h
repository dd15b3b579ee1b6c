// Plots as plain SVG: no scripts, no fonts but the viewer's sans-serif.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "msa/base/status.h"

namespace msa {

struct PlotSeries {
  std::string name;
  std::vector<std::pair<double, double>> points;  // x above 0, y from 0 to 1
};

// Lines over a logarithmic x, ticks at the x that occur; y as percentages from 0 to 100 (values
// below 0 lie on the axis).
std::string LinePlot(const std::string& title, const std::string& x_label,
                     const std::string& y_label, const std::vector<PlotSeries>& series);

// A field a cell, rows from the top, values from 0 (white) to 1 (dark) printed as percentages.
// REQUIRES: values[row][column] for every label.
std::string HeatMap(const std::string& title, const std::string& x_label,
                    const std::string& y_label, const std::vector<std::string>& columns,
                    const std::vector<std::string>& rows,
                    const std::vector<std::vector<double>>& values);

// Writes a plot to `path`, replacing what is there.
Status WritePlot(const std::string& path, const std::string& svg);

}  // namespace msa
