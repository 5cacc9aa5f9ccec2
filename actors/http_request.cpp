#include "actors/http_request.hpp"

#include "base/ascii.hpp"

#include <algorithm>

namespace ziyu::actors {

namespace {

bool is_token_character(char c) {
  constexpr std::string_view others = "!#$%&'*+-.^_`|~";
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')
         || others.find(c) != std::string_view::npos;
}

bool is_token(std::string_view x) {
  return !x.empty() && std::all_of(x.begin(), x.end(), is_token_character);
}

/// Control characters other than the tab are not allowed in a head.
bool is_clean(std::string_view x) {
  return std::all_of(x.begin(), x.end(), [](char c) {
    const auto u = static_cast<unsigned char>(c);
    return u == '\t' || (u >= 0x20 && u != 0x7f);
  });
}

std::string_view trim(std::string_view x) {
  while (!x.empty() && (x.front() == ' ' || x.front() == '\t'))
    x.remove_prefix(1);
  while (!x.empty() && (x.back() == ' ' || x.back() == '\t'))
    x.remove_suffix(1);
  return x;
}

/// The path of a request's target, percent-decoded; invalid escapes stay unchanged.
std::string decode_path(std::string_view target) {
  target = target.substr(0, target.find_first_of("?#"));
  std::string result;
  for (size_t i = 0; i < target.size(); ++i) {
    if (target[i] == '%' && i + 2 < target.size()) {
      const auto high = hex_digit(target[i + 1]), low = hex_digit(target[i + 2]);
      if (high >= 0 && low >= 0) {
        result += static_cast<char>(high * 16 + low);
        i += 2;
        continue;
      }
    }
    result += target[i];
  }
  return result;
}

/// The path and query of a target in absolute form, as a proxy sends it; empty for others.
std::string_view without_authority(std::string_view target) {
  for (const std::string_view scheme : {"http://", "https://"}) {
    if (ascii_lower(target.substr(0, scheme.size())) != scheme)
      continue;
    target.remove_prefix(scheme.size());
    const auto end = target.find_first_of("/?");
    if (end == 0)
      return {};
    return end == std::string_view::npos || target[end] == '?' ? "/" : target.substr(end);
  }
  return {};
}

/// "HTTP/1." and a digit: a reader of 1.1 understands what a later minor version sends.
bool is_http_1(std::string_view version) {
  return version.size() == 8 && version.starts_with("HTTP/1.") && version.back() >= '0'
         && version.back() <= '9';
}

/// The end of the head in `x`, searched from `from` on: the byte behind the empty line. Lines may
/// end without CR.
size_t find_end(std::string_view x, size_t from) {
  for (auto i = x.find('\n', from); i != std::string_view::npos; i = x.find('\n', i + 1)) {
    if (i + 1 < x.size() && x[i + 1] == '\n')
      return i + 2;
    if (i + 2 < x.size() && x[i + 1] == '\r' && x[i + 2] == '\n')
      return i + 3;
  }
  return std::string_view::npos;
}

} // namespace

const std::string* http_request::header(std::string_view name) const {
  for (const auto& x : headers)
    if (x.first == name)
      return &x.second;
  return nullptr;
}

http_request_reader::step http_request_reader::fail(int status, std::string reason) {
  status_ = status;
  reason_ = std::move(reason);
  buffer_ = {};
  return step::failed;
}

http_request_reader::step http_request_reader::feed(std::string_view bytes) {
  if (status_ != 0)
    return step::failed;
  if (head_done_ && request_.content_length > limits_.body_bytes)
    return fail(413, "the body is longer than " + std::to_string(limits_.body_bytes) + " bytes");
  const auto most = head_done_ ? static_cast<size_t>(request_.content_length)
                               : limits_.head_bytes + limits_.body_bytes + 1;
  buffer_ += bytes.substr(0, most - std::min(buffer_.size(), most));
  if (!head_done_)
    return read_head();
  if (buffer_.size() < request_.content_length)
    return step::more;
  buffer_.resize(request_.content_length);
  request_.body = std::move(buffer_);
  return step::done;
}

http_request_reader::step http_request_reader::read_head() {
  // Empty lines before a request are left over from one before it.
  while (buffer_.starts_with("\r\n") || buffer_.starts_with('\n')) {
    buffer_.erase(0, buffer_.front() == '\n' ? 1 : 2);
    scanned_ = 0;
  }
  const auto line_end = buffer_.find('\n');
  if (std::min(line_end, buffer_.size()) > limits_.line_bytes)
    return fail(414,
                "the request line is longer than " + std::to_string(limits_.line_bytes) + " bytes");
  const auto end = find_end(buffer_, scanned_);
  if (std::min(end, buffer_.size()) > limits_.head_bytes)
    return fail(431,
                "the headers are longer than " + std::to_string(limits_.head_bytes) + " bytes");
  if (end == std::string::npos) {
    scanned_ = buffer_.size() - std::min<size_t>(buffer_.size(), 3);
    return step::more;
  }
  auto rest = std::string_view{buffer_}.substr(0, end);
  for (auto first = true; !rest.empty(); first = false) {
    const auto stop = rest.find('\n');
    auto line = rest.substr(0, stop);
    rest.remove_prefix(stop + 1);
    if (line.ends_with('\r'))
      line.remove_suffix(1);
    if (line.empty() && !first)
      break;
    if (!is_clean(line))
      return fail(400, "the head of the request has control characters");
    if (first ? !read_request_line(line) : !read_header(line))
      return step::failed;
  }
  if (!check_headers())
    return step::failed;
  buffer_.erase(0, end);
  head_done_ = true;
  // Bytes behind the body are not part of this request.
  if (buffer_.size() > request_.content_length)
    buffer_.resize(request_.content_length);
  return step::head;
}

bool http_request_reader::read_request_line(std::string_view line) {
  const auto a = line.find(' '), b = line.rfind(' ');
  if (a == std::string_view::npos || a == b || !is_token(line.substr(0, a))) {
    fail(400, "the request does not begin with METHOD TARGET HTTP/1.1");
    return false;
  }
  auto target = line.substr(a + 1, b - a - 1);
  const auto version = line.substr(b + 1);
  if (!is_http_1(version)) {
    version.starts_with("HTTP/") ? fail(505, "only HTTP/1.1 and HTTP/1.0 are supported")
                                 : fail(400, "the request line does not end with HTTP/1.1");
    return false;
  }
  if (const auto path = without_authority(target); !path.empty())
    target = path;
  if (!target.starts_with('/') || target.find(' ') != std::string_view::npos) {
    fail(400, "the request's target is not a path");
    return false;
  }
  request_.method = line.substr(0, a);
  request_.path = decode_path(target);
  request_.http_1_0 = version == "HTTP/1.0";
  return true;
}

bool http_request_reader::read_header(std::string_view line) {
  const auto colon = line.find(':');
  if (colon == std::string_view::npos || !is_token(line.substr(0, colon))) {
    fail(400, "a header is not NAME: VALUE");
    return false;
  }
  if (request_.headers.size() >= limits_.headers) {
    fail(431, "the request has more than " + std::to_string(limits_.headers) + " headers");
    return false;
  }
  request_.headers.emplace_back(ascii_lower(line.substr(0, colon)), trim(line.substr(colon + 1)));
  return true;
}

bool http_request_reader::check_headers() {
  auto hosts = 0, lengths = 0;
  for (const auto& [name, value] : request_.headers) {
    hosts += name == "host";
    if (name == "transfer-encoding") {
      fail(501, "a body needs Content-Length; Transfer-Encoding is not supported");
      return false;
    }
    if (name != "content-length")
      continue;
    constexpr size_t most_digits = 18;
    const auto is_number = !value.empty() && value.size() <= most_digits
                           && value.find_first_not_of("0123456789") == std::string::npos;
    if (!is_number || ++lengths > 1) {
      fail(400, "Content-Length is not one number");
      return false;
    }
    request_.content_length = std::stoull(value);
  }
  if (hosts > 1 || (hosts == 0 && !request_.http_1_0)) {
    fail(400, "a request needs one Host header");
    return false;
  }
  return true;
}

} // namespace ziyu::actors
