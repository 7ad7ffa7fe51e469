// Numbers that were measured with several seeds.
#pragma once

#include <fmt/format.h>

#include <cmath>
#include <map>
#include <string>

namespace examples {

/// Mean and standard deviation (of a sample; 0 for a single value).
struct summary {
  double mean = 0;
  double deviation = 0;
};
inline summary summarise(const std::map<long, double>& by_seed) {
  summary s;
  const auto count = static_cast<double>(by_seed.size());
  for (const auto& [seed, v] : by_seed) {
    s.mean += v / count;
  }
  double squares = 0;
  for (const auto& [seed, v] : by_seed) {
    squares += (v - s.mean) * (v - s.mean);
  }
  s.deviation = by_seed.size() > 1 ? std::sqrt(squares / (count - 1)) : 0;
  return s;
}

/// "mean ± deviation", or the value alone when there is one; "" for none.
inline std::string show(const std::map<long, double>& values, int decimals, bool sign = false) {
  if (values.empty()) {
    return "";
  }
  const summary v = summarise(values);
  const auto mean =
      sign ? fmt::format("{:+.{}f}", v.mean, decimals) : fmt::format("{:.{}f}", v.mean, decimals);
  return values.size() == 1 ? mean : fmt::format("{} ± {:.{}f}", mean, v.deviation, decimals);
}

/// The differences, for the seeds that both have.
inline std::map<long, double> minus(std::map<long, double> values,
                                    const std::map<long, double>& other) {
  std::erase_if(values, [&](const auto& entry) { return !other.contains(entry.first); });
  for (auto& [seed, value] : values) {
    value -= other.at(seed);
  }
  return values;
}

}  // namespace examples
