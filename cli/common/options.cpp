#include "cli/common/options.hpp"

#include "cli/common/errors.hpp"

#include <cmath>

namespace ziyu::cli {

CLI::Validator in_range(double least, double most) {
  CLI::Range range{least, most};
  return CLI::Validator{[range](std::string& text) {
                          double value = 0;
                          if (CLI::detail::lexical_cast(text, value) && std::isnan(value))
                            return "Value " + text + " is no number";
                          return range(text);
                        },
                        range.get_description()};
}

CLI::Validator no_negative() {
  return CLI::Validator{
    [](std::string& text) {
      const auto digits = !text.empty() && text.size() <= 18
                          && text.find_first_not_of("0123456789") == std::string::npos;
      return digits ? std::string{} : "Value " + text + " is no whole number of 0 or more";
    },
    ""};
}

void add_seconds(CLI::App& command, const std::string& name, double& seconds,
                 const std::string& text, double least) {
  auto* option =
    command.add_option(name, seconds, text)->check(in_range(least, 1e6))->type_name("SECONDS");
  if (seconds > 0)
    option->capture_default_str();
}

std::chrono::milliseconds to_milliseconds(double seconds) {
  return std::chrono::milliseconds{static_cast<int64_t>(seconds * 1000)};
}

CLI::Option* configuration_options::add_file(CLI::App& command, const std::string& text,
                                             const std::string& name) {
  return command.add_option(name, file, text)->envname("ZIYU_CONFIG")->type_name("FILE");
}

void configuration_options::add_overrides(CLI::App& command) {
  command
    .add_option("--set", overrides,
                "Sets one key of the configuration, e.g., workers.slots=4; may be repeated")
    ->type_name("KEY=VALUE")
    ->allow_extra_args(false);
}

std::optional<configs::loaded> configuration_options::load(
  const std::string& another_override) const {
  static constexpr auto minimal = R"({"kafka": {"group.id": "ziyu"}, "model": {"path": ""}})";
  auto all = overrides;
  if (!another_override.empty())
    all.push_back(another_override);
  auto result = file.empty() ? configs::parse(minimal, ".", all) : configs::load(file, all);
  if (result)
    return std::move(*result);
  print_errors(result.error());
  return {};
}

} // namespace ziyu::cli
