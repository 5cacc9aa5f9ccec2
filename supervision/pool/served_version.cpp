#include "supervision/pool/served_version.hpp"

#include "base/check.hpp"

#include <utility>

namespace ziyu::supervision {

std::string_view to_string(served_version::phase x) noexcept {
  using phase = served_version::phase;
  switch (x) {
  case phase::trial: return "trial";
  case phase::serving: return "serving";
  case phase::retiring: return "retiring";
  }
  return "unknown";
}

served_version::served_version(uint64_t number, std::string folder, bool on_trial,
                               const fork_server_keeper::settings& how)
  : number_(number), folder_(std::move(folder)), phase_(on_trial ? phase::trial : phase::serving),
    keeper_(how) {
  // nop
}

bool served_version::ready(const wire::server_ready& news, clock::time_point now) {
  const auto differs = keeper_.ready(news, now);
  model_ = std::make_shared<const events::model_version>(events::model_version{
    news.model_name, news.model_version, news.model_sha256, news.precision, news.decode, folder_});
  return differs;
}

void served_version::promote() {
  require(phase_ == phase::trial, "a model version is promoted that is not on trial");
  phase_ = phase::serving;
}

void served_version::retire() {
  require(phase_ != phase::retiring, "a model version retires twice");
  phase_ = phase::retiring;
}

} // namespace ziyu::supervision
