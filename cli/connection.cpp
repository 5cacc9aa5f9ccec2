#include "cli/connection.hpp"

#include "cli/command.hpp"
#include "cli/terminal.hpp"

#include <cstdio>

#include <unistd.h>

namespace ziyu::cli {

void connection_options::add_to(CLI::App& command) {
  command.add_option("-c,--config", file_, "Configuration file: brokers, security and topic names")
    ->envname("ZIYU_CONFIG")
    ->type_name("FILE");
  command
    .add_option("-b,--brokers", brokers_,
                "host:port,…; instead of a configuration file or of the brokers in it")
    ->type_name("LIST");
  add_override_option(command, overrides_);
}

std::optional<configs::loaded> connection_options::load() const {
  if (file_.empty() && brokers_.empty()) {
    print_error({errc::invalid_usage,
                 "which broker? Give --config FILE (or ZIYU_CONFIG) or --brokers host:port"});
    return {};
  }
  auto overrides = overrides_;
  if (!brokers_.empty())
    overrides.push_back("kafka.bootstrap.servers=" + brokers_);
  // Without a file the defaults are enough: a command that talks to the broker needs no model.
  static constexpr auto minimal = R"({"kafka": {"group.id": "ziyu"}, "model": {"path": ""}})";
  auto result = file_.empty() ? configs::parse(minimal, ".", overrides)
                              : configs::load(file_, overrides);
  if (!result) {
    print_errors(result.error());
    return {};
  }
  return std::move(*result);
}

void add_override_option(CLI::App& command, std::vector<std::string>& overrides) {
  command
    .add_option("--set", overrides,
                "Sets one key of the configuration, e.g., workers.slots=4; may be repeated")
    ->type_name("KEY=VALUE")
    ->allow_extra_args(false);
}

void print_errors(const std::vector<error>& errors) {
  for (const auto& x : errors)
    print_error(x);
}

void print_error(const error& x) {
  std::fprintf(stderr, "%s %s\n", paint("ziyu:", colour::red, wants_colour(STDERR_FILENO)).c_str(),
               printable(x.message).c_str());
}

int exit_code_for(const error& x) {
  switch (x.code) {
  case errc::unavailable:
  case errc::timeout: return exit_unavailable;
  case errc::invalid_config:
  case errc::invalid_usage: return exit_wrong_usage;
  default: return exit_failed;
  }
}

} // namespace ziyu::cli
