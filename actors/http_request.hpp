#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ziyu::actors {

/// Bounds for a client's request. A request above a bound is refused with the status that names the
/// bound.
struct http_limits {
  size_t line_bytes = 2048;      ///< The request line: 414.
  size_t head_bytes = 16 * 1024; ///< The request line and all headers: 431.
  size_t headers = 64;           ///< Their number: 431.
  size_t body_bytes = 4096;      ///< 413.
};

/// One request, without its body until that has been read.
struct http_request {
  std::string method;
  std::string path; ///< Percent-decoded, without the query.
  bool http_1_0 = false;
  /// Names in lower case, values without white space around them.
  std::vector<std::pair<std::string, std::string>> headers;
  uint64_t content_length = 0; ///< As announced.
  std::string body;
  std::string from; ///< The client's address without its port.

  /// The first value of a header; null without one.
  const std::string* header(std::string_view lower_case_name) const;
};

/// Reads one HTTP/1 request from bytes as they arrive. It is strict: a request that two readers
/// could understand differently is refused. Holds at most `head_bytes` and `body_bytes` at a time.
/// Pure. Not thread-safe.
class http_request_reader {
public:
  enum class step : uint8_t {
    more,   ///< Feed more bytes.
    head,   ///< The head is complete: returned once, before the body is read.
    done,   ///< The request is complete; bytes after it are ignored.
    failed, ///< `status()` and `reason()` say why.
  };

  explicit http_request_reader(http_limits limits = {}) : limits_(limits) {}

  /// Takes more `bytes` and keeps as many as the bounds allow. Call it again after `head`, with no
  /// bytes if there are none.
  step feed(std::string_view bytes);

  http_request& request() { return request_; }
  int status() const { return status_; } ///< Of the refusal, e.g. 431.
  const std::string& reason() const { return reason_; }

private:
  step fail(int status, std::string reason);
  step read_head();
  bool read_request_line(std::string_view line);
  bool read_header(std::string_view line);
  bool check_headers();

  http_limits limits_;
  http_request request_;
  std::string buffer_;
  size_t scanned_ = 0; ///< So much of `buffer_` contains no end of the head.
  bool head_done_ = false;
  int status_ = 0;
  std::string reason_;
};

} // namespace ziyu::actors
