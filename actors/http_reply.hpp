#pragma once

#include <string>

namespace ziyu::actors {

struct http_reply {
  int status = 200;
  std::string body;
  std::string type = "application/json; charset=utf-8";
  std::string allow = {}; ///< Methods, for 405.
};

/// Refuses a request. `reason` stands in the body's JSON as it is: it needs no escaping.
http_reply http_refusal(int status, const std::string& reason);

/// The bytes of an answer that ends its connection, without its body for HEAD.
std::string encode(const http_reply& x, bool with_body);

} // namespace ziyu::actors
