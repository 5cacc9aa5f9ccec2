#include "actors/http_request.hpp"

#include <gtest/gtest.h>

namespace ziyu::actors {

namespace {

using step = http_request_reader::step;

/// Reads a whole text, in pieces of `size` bytes; the status of a refusal, 0 without one.
int read(http_request_reader& reader, std::string_view text, size_t size = 1) {
  for (; !text.empty(); text.remove_prefix(std::min(size, text.size()))) {
    auto next = reader.feed(text.substr(0, size));
    if (next == step::head)
      next = reader.feed({});
    if (next == step::failed)
      return reader.status();
    if (next == step::done)
      return 0;
  }
  return -1; // more is wanted
}

int status_of(std::string_view text) {
  http_request_reader in_one, in_bytes;
  const auto status = read(in_one, text, text.size());
  EXPECT_EQ(read(in_bytes, text), status) << text.substr(0, 100);
  return status;
}

} // namespace

TEST(HttpRequest, ReadsMethodPathHeadersAndBody) {
  http_request_reader reader;
  EXPECT_EQ(read(reader, "POST /a%20b?x=1 HTTP/1.1\r\nHost: a:8080\r\nX-One:  two \t\r\n"
                         "Content-Length: 3\r\n\r\nabc"),
            0);
  const auto& x = reader.request();
  EXPECT_EQ(x.method, "POST");
  EXPECT_EQ(x.path, "/a b");
  EXPECT_EQ(x.body, "abc");
  ASSERT_NE(x.header("x-one"), nullptr);
  EXPECT_EQ(*x.header("x-one"), "two");
  EXPECT_EQ(x.header("x-two"), nullptr);
}

TEST(HttpRequest, TakesTargetsInAbsoluteFormAsAProxySendsThem) {
  for (const auto& [target, path] :
       std::vector<std::pair<std::string, std::string>>{{"http://x/livez", "/livez"},
                                                        {"HTTP://x:80/livez?a=b", "/livez"},
                                                        {"https://x/a%20b", "/a b"},
                                                        {"http://x", "/"},
                                                        {"http://x?a=/b", "/"}}) {
    http_request_reader x;
    EXPECT_EQ(x.feed("GET " + target + " HTTP/1.1\r\nHost: x\r\n\r\n"),
              http_request_reader::step::head)
      << target << ": " << x.reason();
    EXPECT_EQ(x.request().path, path) << target;
  }
}

TEST(HttpRequest, BearsEmptyLinesBeforeItAndLaterMinorVersions) {
  http_request_reader x;
  EXPECT_EQ(x.feed("\r\n\r\n\n"), http_request_reader::step::more);
  EXPECT_EQ(x.feed("GET /livez HTTP/1.9\r\nHost: x\r\n\r\n"), http_request_reader::step::head)
    << x.reason();
  EXPECT_EQ(x.request().path, "/livez");
}

TEST(HttpRequest, IgnoresWhatFollowsTheRequest) {
  http_request_reader reader;
  EXPECT_EQ(read(reader, "GET / HTTP/1.0\r\n\r\nGET /junk\xff\r\n", 100), 0);
  EXPECT_EQ(reader.request().path, "/");
  EXPECT_EQ(reader.request().body, "");
}

TEST(HttpRequest, BearsLinesWithoutCarriageReturn) {
  EXPECT_EQ(status_of("GET /livez HTTP/1.1\nHost: x\n\n"), 0);
}

TEST(HttpRequest, TellsTheHeadBeforeTheBodyIsLookedAt) {
  http_request_reader reader;
  const auto next = reader.feed("POST /breaker HTTP/1.1\r\nHost: x\r\nContent-Length: 300000000\r\n"
                                "\r\nxxxx");
  EXPECT_EQ(next, step::head);
  EXPECT_EQ(reader.request().content_length, 300'000'000u);
  EXPECT_EQ(reader.feed({}), step::failed);
  EXPECT_EQ(reader.status(), 413);
}

TEST(HttpRequest, BoundsTheRequestLineTheHeadersAndTheirNumber) {
  const std::string begin = "GET / HTTP/1.1\r\nHost: x\r\n";
  EXPECT_EQ(status_of("GET /" + std::string(3'000, 'a') + " HTTP/1.1\r\nHost: x\r\n\r\n"), 414);
  EXPECT_EQ(status_of(std::string(100'000, 'a')), 414) << "without an end";
  EXPECT_EQ(status_of(begin + "A: " + std::string(20'000, 'a') + "\r\n\r\n"), 431);
  EXPECT_EQ(status_of(begin + "A: " + std::string(200'000, 'a')), 431) << "without an end";
  std::string many = begin;
  for (auto i = 0; i < 100'000; ++i)
    many += "A: b\r\n";
  EXPECT_EQ(status_of(many + "\r\n"), 431);
  std::string few = begin;
  for (auto i = 0; i < 64; ++i)
    few += "A: b\r\n";
  EXPECT_EQ(status_of(few + "\r\n"), 431) << "Host counts";
}

TEST(HttpRequest, RefusesWhatTwoReadersCouldUnderstandDifferently) {
  const std::string begin = "POST / HTTP/1.1\r\nHost: x\r\n";
  EXPECT_EQ(status_of(begin + "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc"), 400);
  EXPECT_EQ(status_of(begin + "Content-Length: +3\r\n\r\nabc"), 400);
  EXPECT_EQ(status_of(begin + "Content-Length: 99999999999999999999\r\n\r\n"), 400);
  EXPECT_EQ(status_of(begin + "Content-Length : 3\r\n\r\nabc"), 400);
  EXPECT_EQ(status_of(begin + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), 501);
  EXPECT_EQ(status_of(begin + " folded: x\r\n\r\n"), 400);
  EXPECT_EQ(status_of(begin + "A: b\rC: d\r\n\r\n"), 400);
  EXPECT_EQ(status_of(begin + std::string{"A: \0\r\n\r\n", 8}), 400);
  EXPECT_EQ(status_of(begin + "Host: y\r\n\r\n"), 400);
  EXPECT_EQ(status_of("GET / HTTP/1.1\r\n\r\n"), 400) << "without a Host";
}

TEST(HttpRequest, RefusesOtherProtocolsAndTargets) {
  EXPECT_EQ(status_of("GET / HTTP/2.0\r\nHost: x\r\n\r\n"), 505);
  EXPECT_EQ(status_of("GET http:///livez HTTP/1.1\r\nHost: x\r\n\r\n"), 400);
  EXPECT_EQ(status_of("GET ftp://x/livez HTTP/1.1\r\nHost: x\r\n\r\n"), 400);
  EXPECT_EQ(status_of("GET x:80 HTTP/1.1\r\nHost: x\r\n\r\n"), 400);
  EXPECT_EQ(status_of("GET * HTTP/1.1\r\nHost: x\r\n\r\n"), 400);
  EXPECT_EQ(status_of("GET / HTTP/1.10\r\nHost: x\r\n\r\n"), 505);
  EXPECT_EQ(status_of("GET / /b HTTP/1.1\r\nHost: x\r\n\r\n"), 400);
  EXPECT_EQ(status_of("GET /\r\nHost: x\r\n\r\n"), 400);
  EXPECT_EQ(status_of("\x16\x03\x01\x02 TLS\n\n"), 400);
}

} // namespace ziyu::actors
