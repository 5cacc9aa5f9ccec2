#include "base/log.hpp"

#include "base/text.hpp"

#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/sinks/stdout_sinks.h>

#include <cstdlib>
#include <memory>

namespace ziyu {

namespace {

bool as_json = false;

/// The additional members of the line that this thread is writing; null: none.
thread_local const std::string* more_members = nullptr;

/// %~ in a pattern: what `log_with_members` adds.
class json_members : public spdlog::custom_flag_formatter {
public:
  void format(const spdlog::details::log_msg&, const std::tm&, spdlog::memory_buf_t& out) override {
    if (more_members == nullptr || more_members->empty())
      return;
    out.push_back(',');
    out.append(more_members->data(), more_members->data() + more_members->size());
  }

  std::unique_ptr<custom_flag_formatter> clone() const override {
    return spdlog::details::make_unique<json_members>();
  }
};

/// %* in a pattern: the message as the inside of a JSON string.
class json_text : public spdlog::custom_flag_formatter {
public:
  void format(const spdlog::details::log_msg& msg, const std::tm&,
              spdlog::memory_buf_t& out) override {
    static constexpr char digits[] = "0123456789abcdef";
    auto put = [&out](std::string_view x) { out.append(x.data(), x.data() + x.size()); };
    for (unsigned char c : to_utf8({msg.payload.data(), msg.payload.size()})) {
      if (c == '"' || c == '\\') {
        const char escaped[] = {'\\', static_cast<char>(c)};
        put({escaped, 2});
      } else if (c < 0x20) {
        const char escaped[] = {'\\', 'u', '0', '0', digits[c >> 4], digits[c & 15]};
        put({escaped, 6});
      } else {
        out.push_back(static_cast<char>(c));
      }
    }
  }

  std::unique_ptr<custom_flag_formatter> clone() const override {
    return spdlog::details::make_unique<json_text>();
  }
};

} // namespace

bool log_is_json() noexcept { return as_json; }

void log_with_members(spdlog::level::level_enum level, const std::string& message,
                      const std::string& members) {
  more_members = &members;
  spdlog::log(level, "{}", message);
  more_members = nullptr;
}

expected<void> init_log(const std::string& level, const std::string& format) {
  const auto parsed = spdlog::level::from_str(level);
  if (parsed == spdlog::level::off)
    return fail(errc::invalid_config,
                "log.level: \"" + level + "\" is none of trace, debug, info, warn, error");
  if (format == "json") {
    auto logger = std::make_shared<spdlog::logger>(
      "ziyu", std::make_shared<spdlog::sinks::stderr_sink_mt>());
    auto formatter = std::make_unique<spdlog::pattern_formatter>();
    formatter->add_flag<json_text>('*').add_flag<json_members>('~').set_pattern(
      R"({"time":"%Y-%m-%dT%H:%M:%S.%e%z","level":"%l","pid":%P,"message":"%*"%~})");
    logger->set_formatter(std::move(formatter));
    spdlog::set_default_logger(std::move(logger));
  } else if (format == "text") {
    auto sink = std::make_shared<spdlog::sinks::stderr_color_sink_mt>();
    if (const auto* no_color = std::getenv("NO_COLOR"); no_color != nullptr && *no_color != '\0')
      sink->set_color_mode(spdlog::color_mode::never);
    spdlog::set_default_logger(std::make_shared<spdlog::logger>("ziyu", std::move(sink)));
    spdlog::set_pattern("%Y-%m-%d %H:%M:%S.%e %^%l%$ %v");
  } else {
    return fail(errc::invalid_config, "log.format: \"" + format + "\" is neither text nor json");
  }
  as_json = format == "json";
  spdlog::set_level(parsed);
  spdlog::flush_on(spdlog::level::trace);
  return {};
}

} // namespace ziyu
