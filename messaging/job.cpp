#include "messaging/job.hpp"

#include "base/ascii.hpp"
#include "base/file.hpp"
#include "base/text.hpp"
#include "messaging/header_bound.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <utility>

namespace ziyu::messaging {

namespace fs = std::filesystem;
using nlohmann::json;

namespace {

constexpr auto job_schema = "ziyu.job.v1";

/// JSON that is nested deeper, or has more values, is refused.
constexpr size_t max_depth = 32;
constexpr size_t max_values = 100'000;

/// A part of a job's text as UTF-8, for an error message.
std::string excerpt(std::string_view text) { return shorten(to_utf8(text), 200); }

/// Whether a header says that the value is JSON. Bridges from HTTP write its name in any case.
bool is_called_json(const record& x) {
  return std::any_of(x.headers.begin(), x.headers.end(), [](const auto& header) {
    return ascii_lower(header.first) == "content-type"
           && ascii_lower(header.second.value_or("")).starts_with("application/json");
  });
}

bool looks_like_json(const record& x) {
  if (is_called_json(x))
    return true;
  std::string_view text = *x.value;
  if (text.starts_with("\xef\xbb\xbf"))
    text.remove_prefix(3);
  const auto first = text.find_first_not_of(" \t\r\n");
  return first != std::string_view::npos && text[first] == '{';
}

tl::unexpected<error> too_large(uint64_t bytes, const job_limits& limits) {
  return fail(errc::job_too_large, "the image has " + std::to_string(bytes)
                                     + " bytes, jobs.max_bytes is "
                                     + std::to_string(limits.max_bytes));
}

expected<std::string> percent_decode(std::string_view text) {
  std::string result;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      result += text[i];
      continue;
    }
    const auto high = i + 2 < text.size() ? hex_digit(text[i + 1]) : -1;
    const auto low = i + 2 < text.size() ? hex_digit(text[i + 2]) : -1;
    if (high < 0 || low < 0)
      return fail(errc::bad_dataref, "a broken %-escape in ce_dataref");
    result += static_cast<char>(high * 16 + low);
    i += 2;
  }
  return result;
}

/// Reads the file of a claim check (CloudEvents extension "dataref").
expected<std::string> read_dataref(const std::string& uri, const job_limits& limits) {
  if (limits.dataref_root.empty())
    return fail(errc::bad_dataref, "claim checks are off: jobs.dataref_root is not set");
  std::string_view rest = uri;
  if (!rest.starts_with("file:"))
    return fail(errc::bad_dataref, "ce_dataref must be a file: URI, not " + excerpt(uri));
  rest.remove_prefix(5);
  if (rest.starts_with("//")) { // file://host/path
    rest.remove_prefix(2);
    const auto slash = rest.find('/');
    const auto host = rest.substr(0, slash);
    if (slash == std::string_view::npos || (!host.empty() && host != "localhost"))
      return fail(errc::bad_dataref, "ce_dataref names another host: " + excerpt(uri));
    rest.remove_prefix(slash);
  }
  auto path = percent_decode(rest);
  if (!path)
    return path;
  if (path->empty() || path->find('\0') != std::string::npos)
    return fail(errc::bad_dataref, "ce_dataref holds no path");
  std::error_code status;
  const auto root = fs::canonical(limits.dataref_root, status);
  // The canonical path: neither ".." nor a symbolic link leads out of the root.
  const auto file = status ? fs::path{} : fs::canonical(*path, status);
  if (status)
    return fail(errc::bad_dataref, "ce_dataref " + excerpt(uri) + ": " + status.message());
  const auto [end, unused] = std::mismatch(root.begin(), root.end(), file.begin(), file.end());
  if (end != root.end())
    return fail(errc::bad_dataref,
                "ce_dataref " + excerpt(uri) + " is outside of jobs.dataref_root");
  // Opening a pipe would block until a writer opens it.
  if (!fs::is_regular_file(file, status))
    return fail(errc::bad_dataref, "ce_dataref " + excerpt(uri) + " is not a file");
  if (const auto size = fs::file_size(file, status); !status && size > limits.max_bytes)
    return too_large(size, limits);
  auto content = read_file(file, limits.max_bytes);
  if (!content)
    return fail(errc::bad_dataref, content.error().message);
  return content;
}

/// Why a text is no JSON, out of what the parser throws, which may repeat all of the text.
std::string reason_of(const nlohmann::detail::exception& x) {
  constexpr int number_out_of_range = 406;
  if (x.id == number_out_of_range)
    return "a number is out of range";
  std::string_view what = x.what();
  const auto dash = what.find(" - ");
  if (dash == std::string_view::npos)
    return "a syntax error";
  what.remove_prefix(dash + 3);
  return excerpt(what.substr(0, what.find("; last read")));
}

/// What people put into `image` in place of base64, by name.
std::string advice_for(std::string_view image) {
  if (image.starts_with("data:"))
    return " (this is a data: URL; send only the base64 behind its comma)";
  constexpr size_t longest_scheme = 10;
  if (image.substr(0, longest_scheme).find("://") != std::string_view::npos)
    return " (this is a URL; send the image itself, in base64)";
  return {};
}

/// The text of a JSON job as the parser reads it. The parser copies a string twice before it tells
/// it, so an image in plain base64 is decoded out of the text, and the parser reads an empty
/// string in its place.
class job_text {
public:
  explicit job_text(std::string_view text) : rest_(text) {}

  /// The value that the parser reads next is the image.
  void expect_image() { expects_image_ = true; }
  /// The image, where it has been decoded.
  std::optional<std::string> take_image() { return std::exchange(image_, std::nullopt); }
  size_t left_out() const { return left_out_; } ///< Bytes that the parser has not been given.

  /// All iterators of a text are at the same place, but for the end.
  class iterator {
  public:
    using iterator_category = std::input_iterator_tag;
    using value_type = char;
    using difference_type = std::ptrdiff_t;
    using pointer = const char*;
    using reference = char;

    explicit iterator(job_text* text) : text_(text) {}
    char operator*() const { return text_->rest_.front(); }
    iterator& operator++() {
      text_->pass();
      return *this;
    }
    void operator++(int) { text_->pass(); }
    bool operator==(const iterator& x) const { return is_end() == x.is_end(); }

  private:
    bool is_end() const { return text_ == nullptr || text_->rest_.empty(); }

    job_text* text_;
  };
  iterator begin() { return iterator{this}; }
  static iterator end() { return iterator{nullptr}; }

private:
  void pass() {
    const auto c = rest_.front();
    rest_.remove_prefix(1);
    if (!expects_image_ || c == ':' || c == ' ' || c == '\t' || c == '\r' || c == '\n')
      return;
    expects_image_ = false;
    if (c == '"')
      decode_image();
  }

  void decode_image() {
    const auto text = rest_.substr(0, rest_.find('"'));
    // What has escapes, or is no string of JSON, is left to the parser.
    if (text.size() == rest_.size() || text.find_first_of("\\\t\r\n") != text.npos)
      return;
    auto bytes = base64_decode(text);
    if (!bytes)
      return;
    image_ = std::move(*bytes);
    rest_.remove_prefix(text.size());
    left_out_ += text.size();
  }

  std::string_view rest_;
  bool expects_image_ = false;
  std::optional<std::string> image_;
  size_t left_out_ = 0;
};

/// What a JSON job says. Of the document it keeps these fields and nothing else, however large
/// it is: a document of values costs thirty times its text.
class job_fields : public nlohmann::json_sax<json> {
public:
  /// @param text What is parsed; used while it is.
  job_fields(job_text& text, bool called_json) : text_(&text), called_json_(called_json) {}

  std::optional<std::string> job_id;
  std::string image; ///< Decoded.

  /// Why the document is not a job.
  std::optional<error> refusal() const {
    const auto wrong = [](std::string why) { return error{errc::unknown_schema, std::move(why)}; };
    if (too_deep_)
      return wrong("the JSON is nested more than " + std::to_string(max_depth) + " deep");
    if (values_ > max_values)
      return wrong("the JSON has more than " + std::to_string(max_values) + " values");
    if (no_object_)
      return wrong("the JSON is not an object");
    if (!ill_formed_.empty())
      return wrong(ill_formed_);
    if (twice_ != nullptr)
      return wrong(std::string{"the JSON has the field \""} + twice_ + "\" twice");
    if (schema_ && *schema_ != job_schema)
      return wrong("schema is "
                   + json(excerpt(*schema_)).dump(-1, ' ', false, json::error_handler_t::replace)
                   + ", known is \"" + job_schema + "\"");
    if (has_schema_ && !schema_)
      return wrong(std::string{"schema must be the text \""} + job_schema + "\"");
    if (has_job_id_ && (!job_id || job_id->empty()))
      return wrong("job_id must be a text that is not empty");
    if (!has_image_)
      return error{errc::missing_field, "the JSON has no field \"image\""};
    if (!image_is_text_)
      return wrong("image must be a text in base64");
    return bad_image_;
  }

  bool null() override { return value(); }
  bool boolean(bool) override { return value(); }
  bool number_integer(number_integer_t) override { return value(); }
  bool number_unsigned(number_unsigned_t) override { return value(); }
  bool number_float(number_float_t, const string_t&) override { return value(); }
  bool binary(binary_t&) override { return value(); }
  bool end_object() override { return end(); }
  bool end_array() override { return end(); }
  bool start_array(size_t) override { return value() && begin(); }

  bool start_object(size_t) override {
    if (depth_ > 0)
      return value() && begin();
    field_ = field::other;
    return begin();
  }

  bool key(string_t& name) override {
    if (depth_ != 1)
      return true;
    field_ = name == "schema"   ? field::schema
             : name == "job_id" ? field::job_id
             : name == "image"  ? field::image
                                : field::other;
    if (field_ == field::other)
      return true;
    auto& seen = field_ == field::schema   ? has_schema_
                 : field_ == field::job_id ? has_job_id_
                                           : has_image_;
    if (std::exchange(seen, true))
      twice_ = field_ == field::schema ? "schema" : field_ == field::job_id ? "job_id" : "image";
    else if (field_ == field::image)
      text_->expect_image();
    return twice_ == nullptr;
  }

  bool string(string_t& text) override {
    if (depth_ != 1)
      return value();
    if (field_ == field::schema) {
      schema_ = std::move(text);
    } else if (field_ == field::job_id) {
      job_id = std::move(text);
    } else if (field_ == field::image) {
      image_is_text_ = true;
      if (auto decoded = text_->take_image())
        image = std::move(*decoded);
      else if (auto bytes = base64_decode(text))
        image = std::move(*bytes);
      else
        bad_image_ = error{bytes.error().code,
                           "image: " + bytes.error().message + advice_for(text)};
    }
    return value();
  }

  bool parse_error(size_t byte, const std::string&,
                   const nlohmann::detail::exception& why) override {
    refuse_as_ill_formed(byte + text_->left_out(), reason_of(why));
    return false;
  }

  /// @param byte Counted from 1; 0: it is not known.
  void refuse_as_ill_formed(size_t byte, const std::string& why) {
    ill_formed_ = called_json_ ? "the header content-type says JSON, but the value is none"
                               : "the value begins like JSON but is none";
    ill_formed_ += (byte > 0 ? ": at byte " + std::to_string(byte) + ": " : ": ") + why;
  }

private:
  enum class field : uint8_t { other, schema, job_id, image };

  bool value() {
    no_object_ = depth_ == 0;
    return ++values_ <= max_values && !no_object_;
  }
  bool begin() {
    too_deep_ = ++depth_ > max_depth;
    return !too_deep_;
  }
  bool end() {
    --depth_;
    return true;
  }

  size_t depth_ = 0, values_ = 0;
  field field_ = field::other; ///< The field of the outermost object whose value comes next.
  bool has_schema_ = false, has_job_id_ = false, has_image_ = false, image_is_text_ = false;
  bool too_deep_ = false, no_object_ = false;
  job_text* text_;
  bool called_json_;
  std::string ill_formed_; ///< Why.
  const char* twice_ = nullptr;
  std::optional<std::string> schema_;
  std::optional<error> bad_image_;
};

expected<job_fields> parse_json(const std::string& text, bool called_json,
                                const job_limits& limits) {
  // Encoded, an image is a third larger; beyond that there is no need to parse.
  if (text.size() / 4 * 3 > limits.max_bytes + 64 * 1024)
    return too_large(text.size() / 4 * 3, limits);
  job_text source{text};
  job_fields result{source, called_json};
  json::sax_parse(source.begin(), source.end(), &result);
  // The parser takes a zero for the end of its input, whatever follows.
  if (const auto zero = text.find('\0'); zero != text.npos && !result.refusal())
    result.refuse_as_ill_formed(zero + 1, "a zero byte");
  if (auto why = result.refusal())
    return tl::unexpected(std::move(*why));
  return result;
}

} // namespace

size_t job::bytes() const {
  return source.bytes() + (image == source.value || !image ? 0 : image->size());
}

bool is_plain_image(const record& x) { return x.value && !x.value->empty() && !looks_like_json(x); }

expected<job> decode_job(record source, const job_limits& limits) {
  if (find_header(source.headers, unread_headers))
    return fail(errc::job_too_large,
                "the record has more than " + std::to_string(max_headers) + " headers");
  job result;
  result.id = job_id_of(source);
  result.fault = find_header(source.headers, "ziyu-fault").value_or("");
  if (auto uri = find_header(source.headers, "ce_dataref");
      uri && (!source.value || source.value->empty())) {
    auto bytes = read_dataref(*uri, limits);
    if (!bytes)
      return tl::unexpected(bytes.error());
    result.image = std::make_shared<const std::string>(std::move(*bytes));
  } else if (!source.value) {
    return fail(errc::tombstone, "the record has no value");
  } else if (source.value->empty()) {
    return fail(errc::empty_image, "the record's value is empty");
  } else if (looks_like_json(source)) {
    auto content = parse_json(*source.value, is_called_json(source), limits);
    if (!content)
      return tl::unexpected(content.error());
    if (content->job_id)
      result.id = job_id_of(source.id, *content->job_id);
    result.image = std::make_shared<const std::string>(std::move(content->image));
  } else {
    result.image = source.value;
  }
  if (result.image->empty())
    return fail(errc::empty_image, "the image has no bytes");
  if (result.image->size() > limits.max_bytes)
    return too_large(result.image->size(), limits);
  result.source = std::move(source);
  return result;
}

} // namespace ziyu::messaging
