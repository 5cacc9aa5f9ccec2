#include "cli/dlq/book.hpp"

#include "cli/kafka/follow.hpp"

#include <algorithm>
#include <charconv>
#include <ctime>

namespace ziyu::cli {

bool dead_letter_filter::empty() const {
  return codes.empty() && jobs.empty() && records.empty() && !since_ms && !until_ms;
}

bool dead_letter_filter::matches(const messaging::record& x,
                                 const messaging::dead_letter& letter) const {
  return (codes.empty() || codes.contains(letter.code))
         && (jobs.empty() || jobs.contains(letter.job_id))
         && (records.empty() || records.contains({x.id.partition, x.id.offset}))
         && (!since_ms || letter.time_ms >= *since_ms) && (!until_ms || letter.time_ms < *until_ms);
}

expected<int64_t> parse_moment(const std::string& text, int64_t now_ms) {
  int64_t number = 0;
  const auto end = text.data() + text.size();
  const auto [at, status] = std::from_chars(text.data(), end, number);
  if (status == std::errc{} && number >= 0 && at == end && text.size() >= 11)
    return number;
  if (status == std::errc{} && number >= 0 && at + 1 == end && number < 1'000'000'000)
    switch (*at) {
    case 's': return now_ms - number * 1'000;
    case 'm': return now_ms - number * 60'000;
    case 'h': return now_ms - number * 3'600'000;
    case 'd': return now_ms - number * 86'400'000;
    default: break;
    }
  const auto utc = text.ends_with('Z');
  const auto local = utc ? text.substr(0, text.size() - 1) : text;
  for (const auto* pattern : {"%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%d"}) {
    std::tm parts{};
    const auto* rest = ::strptime(local.c_str(), pattern, &parts);
    if (rest == nullptr || *rest != 0)
      continue;
    parts.tm_isdst = -1;
    const auto seconds = utc ? ::timegm(&parts) : std::mktime(&parts);
    return int64_t{seconds} * 1000;
  }
  return fail(errc::invalid_usage,
              "\"" + text
                + "\" is not a time: try 2026-11-25T10:30 (with Z for UTC), 15m, 2h, 7d, or "
                  "milliseconds since 1970");
}

expected<std::pair<int32_t, int64_t>> parse_record(const std::string& text,
                                                   const std::string& topic) {
  auto rest = text.starts_with(topic + "-") ? text.substr(topic.size() + 1) : text;
  const auto dash = rest.find('-');
  int32_t partition = 0;
  int64_t offset = 0;
  const auto read = [&rest](size_t from, size_t to, auto& number) {
    const auto end = rest.data() + to;
    const auto [at, status] = std::from_chars(rest.data() + from, end, number);
    return status == std::errc{} && at == end && number >= 0;
  };
  if (dash == std::string::npos || !read(0, dash, partition)
      || !read(dash + 1, rest.size(), offset))
    return fail(errc::invalid_usage, "\"" + text
                                       + "\" is not a record: expected PARTITION-OFFSET, as "
                                       + "`ziyu dlq list` shows it");
  return std::pair{partition, offset};
}

void dead_letter_book::add(const messaging::record& x) {
  if (auto mark = messaging::read_mark(x)) {
    // The first mark counts: it tells what was done.
    if (auto i = letters_.find(mark->letter); i != letters_.end() && !i->second.mark)
      i->second.mark = std::move(mark);
    return;
  }
  letter next;
  next.what = messaging::read_dead_letter(x);
  if (!which_.matches(x, next.what))
    return;
  next.head = x;
  next.head.value.reset();
  if (x.value)
    next.payload_bytes = x.value->size();
  letters_.emplace(x.id, std::move(next));
}

std::vector<dead_letter_book::letter> dead_letter_book::letters(bool with_handled) const {
  std::vector<letter> result;
  for (const auto& [id, x] : letters_)
    if (with_handled || !x.mark)
      result.push_back(x);
  std::stable_sort(result.begin(), result.end(), [](const letter& a, const letter& b) {
    return a.what.time_ms < b.what.time_ms;
  });
  return result;
}

size_t dead_letter_book::handled() const {
  return static_cast<size_t>(std::count_if(
    letters_.begin(), letters_.end(), [](const auto& x) { return x.second.mark.has_value(); }));
}

expected<dead_letter_book> read_book(const configs::config& c, dead_letter_filter which,
                                     std::chrono::milliseconds limit) {
  dead_letter_book book{std::move(which)};
  auto ok = read_all(
    c, c.topics.dead_letters, [&book](const messaging::record& x) { book.add(x); }, limit);
  if (!ok)
    return tl::unexpected(ok.error());
  return book;
}

} // namespace ziyu::cli
