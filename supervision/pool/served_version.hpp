#pragma once

#include "messaging/events/model_version.hpp"
#include "supervision/pool/fork_server_keeper.hpp"

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace ziyu::supervision {

/// One model version in the pool, with the keeper of its fork server. The pool's first version
/// serves from its birth. A later one is on trial until one of its workers is ready; then slots
/// change to it one by one, and the version before retires. A transition that is not drawn here
/// ends the process. Pure; not thread-safe.
///
/// trial --promote--> serving --retire--> retiring
///     +------------retire------------------^
class served_version {
public:
  using clock = std::chrono::steady_clock;

  /// @param number Unique in the pool, from 1.
  /// @param folder Of the model, `<name>/<version>`.
  served_version(uint64_t number, std::string folder, bool on_trial,
                 const fork_server_keeper::settings& how);

  uint64_t number() const { return number_; }
  const std::string& folder() const { return folder_; }
  enum class phase : uint8_t { trial, serving, retiring };
  phase now() const { return phase_; }
  bool is_on_trial() const { return phase_ == phase::trial; }
  bool is_serving() const { return phase_ == phase::serving; }
  bool is_retiring() const { return phase_ == phase::retiring; }

  fork_server_keeper& keeper() { return keeper_; }
  const fork_server_keeper& keeper() const { return keeper_; }

  /// What its workers serve, as its fork server has read it; null before that is known.
  const std::shared_ptr<const events::model_version>& model() const { return model_; }

  /// Its fork server has loaded the model: `fork_server_keeper::ready`.
  /// @return Whether the model differs from the one before.
  bool ready(const wire::server_ready& news, clock::time_point now);

  void promote();
  void retire(); ///< Also from `trial`: it is rejected.

  /// Whether its fork server may be asked for workers.
  bool may_spawn() const { return phase_ != phase::retiring && keeper_.is_ready(); }

private:
  uint64_t number_;
  std::string folder_;
  phase phase_;
  fork_server_keeper keeper_;
  std::shared_ptr<const events::model_version> model_;
};

std::string_view to_string(served_version::phase x) noexcept;

} // namespace ziyu::supervision
