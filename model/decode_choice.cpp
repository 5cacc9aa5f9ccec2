#include "model/decode_choice.hpp"

#include "model/classifier.hpp"

namespace ziyu::model {
namespace {

bool is_reduced(std::string_view image, const classifier& by) {
  const auto decoded = decode_image(image, by.limits(), {&by.input().how(), decoding::reduced});
  return decoded && decoded->part && decoded->part->divisor > 1;
}

/// The best label, and the time that its pixels take.
std::optional<uint32_t> label_of(std::string_view image, classifier& by, decoding how,
                                 double& pixels_us) {
  by.decode_as(how);
  const auto answer = by.classify(image, 1);
  if (!answer || answer->top_k.empty())
    return {};
  pixels_us += static_cast<double>(answer->decode_us + answer->preprocess_us);
  return answer->top_k[0].index;
}

decode_choice compare(classifier& by) {
  const agreement_images images{by.model().folder().path};
  decode_choice result;
  if (images.size() < agreement_images::least) {
    result.why_not = images.too_few(images.size());
    return result;
  }
  result.agreed = images.compare(
    [&](const auto&, std::string_view image) {
      return is_reduced(image, by) ? label_of(image, by, decoding::exact, result.exact_us)
                                   : std::nullopt;
    },
    [&](const auto&, std::string_view image) {
      return label_of(image, by, decoding::reduced, result.reduced_us);
    });
  if (const auto count = static_cast<double>(result.agreed->compared); count > 0) {
    result.exact_us /= count;
    result.reduced_us /= count;
  }
  result.why_not = images.why_not("reduced", *result.agreed,
                                  "JPEGs at least twice as large as the model's input");
  if (result.why_not.empty())
    result.how = decoding::reduced;
  return result;
}

} // namespace

std::string_view to_string(decode_wish x) noexcept {
  switch (x) {
  case decode_wish::exact: return "exact";
  case decode_wish::reduced: return "reduced";
  case decode_wish::automatic: return "auto";
  }
  return "unknown";
}

bool from_string(std::string_view name, decode_wish& x) noexcept {
  for (const auto each : {decode_wish::exact, decode_wish::reduced, decode_wish::automatic})
    if (name == to_string(each)) {
      x = each;
      return true;
    }
  return false;
}

decode_choice choose_decoding(classifier& by, decode_wish wish) {
  if (wish == decode_wish::automatic)
    return compare(by);
  decode_choice result;
  if (wish == decode_wish::reduced)
    result.how = decoding::reduced;
  return result;
}

void use_decoding(classifier& by, const decode_choice& x) {
  by.decode_as(x.how);
  if (!x.why_not.empty())
    by.model().warn("model.decode auto has chosen exact: " + x.why_not);
}

} // namespace ziyu::model
