#include "actors/http_reply.hpp"

namespace ziyu::actors {

namespace {

const char* phrase_of(int status) {
  switch (status) {
  case 200: return "OK";
  case 202: return "Accepted";
  case 400: return "Bad Request";
  case 403: return "Forbidden";
  case 404: return "Not Found";
  case 405: return "Method Not Allowed";
  case 408: return "Request Timeout";
  case 409: return "Conflict";
  case 411: return "Length Required";
  case 413: return "Content Too Large";
  case 414: return "URI Too Long";
  case 431: return "Request Header Fields Too Large";
  case 501: return "Not Implemented";
  case 503: return "Service Unavailable";
  case 505: return "HTTP Version Not Supported";
  default: return "Error";
  }
}

} // namespace

http_reply http_refusal(int status, const std::string& reason) {
  return {status, R"({"status":"error","error":")" + reason + "\"}\n"};
}

std::string encode(const http_reply& x, bool with_body) {
  auto result = "HTTP/1.1 " + std::to_string(x.status) + " " + phrase_of(x.status)
                + "\r\nContent-Type: " + x.type
                + "\r\nContent-Length: " + std::to_string(x.body.size())
                + "\r\nCache-Control: no-store\r\nConnection: close\r\n";
  if (!x.allow.empty())
    result += "Allow: " + x.allow + "\r\n";
  result += "\r\n";
  return with_body ? result + x.body : result;
}

} // namespace ziyu::actors
