#pragma once

#include "model/precision_choice.hpp"

#include <nlohmann/json_fwd.hpp>

#include <filesystem>
#include <optional>
#include <string>

namespace ziyu::model {

/// What `auto` has chosen, and why.
struct choice_record {
  precision how = precision::fp32;
  std::string name; ///< Of the chosen variant.
  std::vector<variant> variants;
  std::vector<std::string> refused;
  decode_choice decode{};
};

/// As `ziyu bench model --json` shows them: null agreements and empty reasons are left out.
nlohmann::json to_json(const variant& x);
nlohmann::json to_json(const decode_choice& x);

/// Keeps what `auto` has chosen on this kind of machine beside the compiled packages, so that the
/// next fork server need not measure it again. What was kept for other weights, packages, images to
/// compare by, libraries or wishes is not taken. Nothing is kept where there is no folder for
/// packages.
class kept_choice {
public:
  /// @param folder The model's; it has been read, so that its sha256 is that of its weights.
  kept_choice(const model_folder& folder, const choice_request& request);

  std::optional<choice_record> read() const;
  /// Returns without a word if the folder cannot be written to: the next start measures.
  void write(const choice_record& x) const;

private:
  std::filesystem::path file_; // empty: there is no folder
  std::string key_;
};

} // namespace ziyu::model
