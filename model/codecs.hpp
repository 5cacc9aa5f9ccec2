#pragma once

#include <string>
#include <utility>
#include <vector>

namespace ziyu::model {

/// Name and version of each library that decodes images, as they run.
std::vector<std::pair<std::string, std::string>> codec_versions();

} // namespace ziyu::model
