#pragma once

#include <string>

namespace ziyu::test {

/// The value of a series in the text of `/metrics`, e.g. `ziyu_events_total{type="x"}`; 0 when
/// there is none.
inline double series_in(const std::string& metrics, const std::string& series) {
  const auto text = "\n" + metrics;
  const auto at = text.find("\n" + series + " ");
  return at == std::string::npos ? 0 : std::stod(text.substr(at + series.size() + 2));
}

} // namespace ziyu::test
