#include "model/resample.hpp"

#include "model/resampling/axis.hpp"

#include <algorithm>
#include <array>
#include <cassert>
#include <utility>
#include <vector>

namespace ziyu::model {
namespace {

packed_axis packed(const axis& x, const kernels& by) {
  packed_axis result;
  result.spans.reserve(x.spans.size());
  size_t groups = 0;
  for (const auto& span : x.spans) {
    result.spans.push_back({span.first, (span.count + 3) / 4});
    groups += static_cast<size_t>(result.spans.back().groups);
  }
  result.words.resize(groups * by.words);
  auto* words = result.words.data();
  for (const auto& span : x.spans)
    for (int i = 0; i < span.count; i += 4, words += by.words) {
      std::array<int32_t, 4> four{};
      std::copy_n(x.weights.data() + span.weights + static_cast<size_t>(i),
                  std::min(span.count - i, 4), four.begin());
      by.pack(four.data(), words);
    }
  return result;
}

/// Rows of the stored pixels, from the first column that counts on: RGB, or PIL's `convert("L")` of
/// them, which is ITU-R 601-2 luma in 16-bit fixed point.
class row_source {
public:
  /// Only the columns from `begin` to `end` will be read.
  row_source(const pixel_grid& from, int channels, int begin, int end)
    : from_(from), channels_(channels), begin_(3 * static_cast<size_t>(begin)),
      count_(static_cast<size_t>(end - begin)) {}

  /// There are four places for rows that are not read where they are: the pointer is valid until
  /// the next call for its place.
  /// @param over_read Bytes behind the row that may be read, too; at most `kernels::over_read`.
  const uint8_t* at(int y, size_t place, size_t over_read) {
    const auto* row = from_.row(static_cast<uint32_t>(y)) + begin_;
    const auto end = from_.data() + from_.size();
    if (channels_ == 3 && row + 3 * count_ + over_read <= end)
      return row;
    auto& copy = places_[place];
    copy.resize(count_ * static_cast<size_t>(channels_) + kernels::over_read);
    if (channels_ == 3) {
      std::copy_n(row, 3 * count_, copy.data());
      return copy.data();
    }
    for (size_t x = 0; x < count_; ++x, row += 3)
      copy[x] = static_cast<uint8_t>((row[0] * 19595 + row[1] * 38470 + row[2] * 7471 + 0x8000)
                                     >> 16);
    return copy.data();
  }

  int channels() const { return channels_; }
  /// Bytes of a row that count.
  size_t size() const { return count_ * static_cast<size_t>(channels_); }

private:
  const pixel_grid& from_;
  int channels_;
  size_t begin_, count_;
  std::array<std::vector<uint8_t>, 4> places_;
};

/// Adds up weighted rows in groups of four.
class weighted_rows {
public:
  weighted_rows(const axis& rows, const kernels& by) : rows_(rows), by_(by) {}

  /// Adds the rows from `first` to `last` to output row `out`; `at(y)` is where row `y` lies. The
  /// arguments behind are those of `kernels::down`.
  template <class Where>
  void add(size_t out, int first, int last, Where at, size_t size, const int32_t* before,
           int32_t* sums, uint8_t* pixels) {
    const auto& span = rows_.spans[out];
    const auto* weights = rows_.weights.data() + span.weights - span.first;
    pointers_.clear();
    words_.clear();
    for (int y = first; y < last; y += 4) {
      std::array<int32_t, 4> four{};
      for (int i = 0; i < 4; ++i) {
        pointers_.push_back(y + i < last ? at(y + i) : pointers_.back());
        if (y + i < last)
          four[static_cast<size_t>(i)] = weights[y + i];
      }
      words_.resize(words_.size() + by_.words);
      by_.pack(four.data(), words_.data() + words_.size() - by_.words);
    }
    by_.down(pointers_.data(), words_.data(), pointers_.size() / 4, size, before, sums, pixels);
  }

private:
  const axis& rows_;
  const kernels& by_;
  std::vector<const uint8_t*> pointers_;
  std::vector<int32_t> words_;
};

/// Four rows with room behind each, for `across` to read or write.
struct four_rows {
  explicit four_rows(size_t size) {
    const auto stride = size + std::max(kernels::over_read, kernels::over_write);
    bytes.resize(4 * stride);
    for (size_t i = 0; i < 4; ++i)
      rows[i] = bytes.data() + i * stride;
  }

  std::vector<uint8_t> bytes;
  std::array<uint8_t*, 4> rows{};
};

/// Where the output rows begin and end, when the input is read in blocks.
struct block {
  static constexpr int height = 16;

  int begin, end;

  bool has_begun(const axis::span& x) const { return x.first < begin; }
  bool completes(const axis::span& x) const { return x.first + x.count <= end; }
};

/// The most output rows that the end of a block finds incomplete.
size_t most_incomplete(const axis& rows) {
  size_t most = 0;
  for (auto end = rows.begin() + block::height; end < rows.end(); end += block::height) {
    const auto incomplete = [end](const axis::span& x) {
      return x.first < end && x.first + x.count > end;
    };
    most = std::max(
      most, static_cast<size_t>(std::count_if(rows.spans.begin(), rows.spans.end(), incomplete)));
  }
  return most;
}

/// Each input row is resampled once, in blocks. An output row that a block does not complete has
/// its sums kept for the next one.
void horizontal_first(row_source& source, const packed_axis& columns, const axis& rows,
                      const stored_row_taker& take, const kernels& by) {
  const auto across = source.channels() == 3 ? by.across_rgb : by.across_grey;
  const auto row_size = columns.spans.size() * static_cast<size_t>(source.channels());
  const auto stride = row_size + kernels::over_write;
  std::vector<uint8_t> resampled(stride * block::height), result(row_size);
  const auto places = std::max<size_t>(most_incomplete(rows), 1);
  const auto sums_size = kernels::sums_of(row_size);
  std::vector<int32_t> sums(places * sums_size);
  weighted_rows down{rows, by};
  size_t first_open = 0;
  for (block now{rows.begin(), 0}; now.begin < rows.end(); now.begin = now.end) {
    now.end = std::min(now.begin + block::height, rows.end());
    for (int y = now.begin; y < now.end; y += 4) {
      std::array<const uint8_t*, 4> in{};
      std::array<uint8_t*, 4> out{};
      for (int i = 0; i < 4; ++i) {
        const auto place = static_cast<size_t>(i);
        in[place] = y + i < now.end ? source.at(y + i, place, kernels::over_read) : in[0];
        out[place] = resampled.data() + static_cast<size_t>(y + i - now.begin) * stride;
      }
      across(in, out, columns);
    }
    const auto at = [&](int y) {
      return resampled.data() + static_cast<size_t>(y - now.begin) * stride;
    };
    for (auto out = first_open; out < rows.spans.size() && rows.spans[out].first < now.end; ++out) {
      const auto& span = rows.spans[out];
      auto* own = sums.data() + out % places * sums_size;
      const auto done = now.completes(span);
      down.add(out, std::max(span.first, now.begin), std::min(span.first + span.count, now.end), at,
               row_size, now.has_begun(span) ? own : nullptr, own, done ? result.data() : nullptr);
      if (!done)
        continue;
      take(static_cast<uint32_t>(out), result.data());
      first_open = out + 1;
    }
  }
}

void vertical_first(row_source& source, const packed_axis& columns, const axis& rows,
                    const stored_row_taker& take, const kernels& by) {
  const auto grey = source.channels() == 1;
  const auto across = grey ? by.across_grey : by.across_rgb;
  four_rows added{source.size()};
  four_rows result{columns.spans.size() * static_cast<size_t>(source.channels())};
  std::vector<int32_t> sums(grey ? kernels::sums_of(source.size()) : 0);
  weighted_rows down{rows, by};
  for (size_t first = 0; first < rows.spans.size(); first += 4) {
    const auto count = std::min<size_t>(4, rows.spans.size() - first);
    for (size_t i = 0; i < count; ++i) {
      const auto& span = rows.spans[first + i];
      // Grey rows are converted as they are read: four at a time.
      const auto step = grey ? 4 : span.count;
      const auto end = span.first + span.count;
      for (int y = span.first; y < end; y += step)
        down.add(
          first + i, y, std::min(y + step, end),
          [&](int row) { return source.at(row, static_cast<size_t>(row - y) % 4, 0); },
          source.size(), y > span.first ? sums.data() : nullptr, sums.data(),
          y + step >= end ? added.rows[i] : nullptr);
    }
    across({added.rows[0], added.rows[1], added.rows[2], added.rows[3]}, result.rows, columns);
    for (size_t i = 0; i < count; ++i)
      take(static_cast<uint32_t>(first + i), result.rows[i]);
  }
}

} // namespace

stored_region read_by_resample(uint32_t stored_width, uint32_t stored_height, uint32_t orientation,
                               const resample_window& window, preprocessing::interpolation filter) {
  const auto turned = orientation >= 5;
  const auto width = static_cast<int>(turned ? stored_height : stored_width);
  const auto height = static_cast<int>(turned ? stored_width : stored_height);
  auto columns = read_by_axis(width, window.full_width, window.left, window.width, filter);
  auto rows = read_by_axis(height, window.full_height, window.top, window.height, filter);
  if (is_stored_backwards_across(orientation))
    columns = {width - columns.end, width - columns.begin};
  if (is_stored_backwards_down(orientation))
    rows = {height - rows.end, height - rows.begin};
  if (turned)
    std::swap(columns, rows);
  return {static_cast<uint32_t>(columns.begin), static_cast<uint32_t>(rows.begin),
          static_cast<uint32_t>(columns.end - columns.begin),
          static_cast<uint32_t>(rows.end - rows.begin)};
}

void resample(const decoded_image& image, bool grey, const resample_window& window,
              preprocessing::interpolation filter, const stored_row_taker& take,
              const kernels& by) {
  assert(image.pixels.channels() == 3 && !image.pixels.empty());
  assert(window.width > 0 && window.height > 0 && window.left >= 0 && window.top >= 0);
  assert(window.left + window.width <= window.full_width);
  assert(window.top + window.height <= window.full_height);
  const auto o = image.orientation;
  const auto whole = image.decoded_size();
  const auto width = static_cast<int>(o >= 5 ? whole.height : whole.width);
  const auto height = static_cast<int>(o >= 5 ? whole.width : whole.height);
  auto columns = make_axis(width, window.full_width, window.left, window.width, filter);
  auto rows = make_axis(height, window.full_height, window.top, window.height, filter);
  // Since Pillow 13 the larger reduction comes first. The order shows in the rounding between the
  // passes, so it must be Pillow's order for the upright image.
  const auto shrinks_by = height - window.full_height;
  bool across_first = shrinks_by <= 0 || shrinks_by <= 2 * (width - window.full_width);
  if (is_stored_backwards_across(o))
    mirror(columns);
  if (is_stored_backwards_down(o))
    mirror(rows);
  if (o >= 5) {
    std::swap(columns, rows);
    across_first = !across_first;
  }
  const auto left = static_cast<int>(image.part ? image.part->left : 0);
  shift(rows, static_cast<int>(image.part ? image.part->top : 0));
  row_source source{image.pixels, grey ? 1 : 3, columns.begin() - left, columns.end() - left};
  shift(columns, columns.begin());
  const auto packed_columns = packed(std::exchange(columns, {}), by);
  const auto pass = across_first ? horizontal_first : vertical_first;
  pass(source, packed_columns, rows, take, by);
}

pixel_grid resample(const decoded_image& image, bool grey, const resample_window& window,
                    preprocessing::interpolation filter, const kernels& by) {
  const auto turned = image.orientation >= 5;
  decoded_image result{pixel_grid{static_cast<uint32_t>(turned ? window.height : window.width),
                                  static_cast<uint32_t>(turned ? window.width : window.height),
                                  grey ? 1u : 3u},
                       image.orientation};
  resample(
    image, grey, window, filter,
    [&](uint32_t y, const uint8_t* row) {
      std::copy_n(row, result.pixels.row_size(), result.pixels.row(y));
    },
    by);
  return result.orientation == 1 ? result.pixels : upright(result);
}

} // namespace ziyu::model
