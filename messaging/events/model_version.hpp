#pragma once

#include <string>

namespace ziyu::events {

/// One version of a model: what a worker serves for its whole life, and what its results and events
/// name.
struct model_version {
  std::string name, version; ///< Of its folder, `<name>/<version>`.
  std::string sha256;        ///< Of its weights.
  std::string precision;
  std::string decode = "exact"; ///< How its JPEGs are decoded: "exact", "reduced".
  std::string folder = {};      ///< Where it was loaded from; not told to others.

  static void fields(auto& self, auto&& f) {
    f("name", self.name);
    f("version", self.version);
    f("sha256", self.sha256);
    f("precision", self.precision);
    f("decode", self.decode);
  }
};

} // namespace ziyu::events
