#pragma once

#include "base/error.hpp"
#include "cli/common/options.hpp"

#include <nlohmann/json.hpp>

#include <functional>

namespace ziyu::cli {

/// The options that tell a command which running service to ask: an address, or the configuration
/// of the service.
class service_options {
public:
  void add_to(CLI::App& command);

  /// Calls `work` with "http://host:port" and returns its exit code; `exit_wrong_usage` after
  /// errors in the options, which are printed.
  int use(const std::function<int(const std::string& url)>& work) const;

private:
  std::optional<std::string> find() const;

  std::string url_;
  configuration_options configuration_;
};

/// "http://host:port", at which this machine reaches the service of a configuration. `http.port`
/// must not be 0.
expected<std::string> service_address(const configs::config& x);

struct service_answer {
  int status = 0;      ///< Of HTTP.
  nlohmann::json body; ///< An object.
};

/// GET `url` + `path`, waiting up to `limit`. `unavailable` when nothing answers, `io` when the
/// answer is not ziyu's.
expected<service_answer> ask_service(const std::string& url, const std::string& path,
                                     std::chrono::milliseconds limit);

/// The body of an answer that has the status `wanted`; else `io` with the reason that it gives.
expected<nlohmann::json> body_of(const std::string& url, expected<service_answer> said,
                                 int wanted = 200);

/// POST of `body`, with the same errors.
expected<service_answer> tell_service(const std::string& url, const std::string& path,
                                      const nlohmann::json& body, std::chrono::milliseconds limit);

} // namespace ziyu::cli
