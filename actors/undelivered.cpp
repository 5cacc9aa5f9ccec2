#include "actors/undelivered.hpp"

#include "messaging/dead_letter.hpp"

namespace ziyu::actors {

fate fate_of(publication& x, const error& why, messaging::refusal refused) {
  using messaging::refusal;
  if (why.code == errc::job_too_large) {
    if (x.kind == publication_kind::event)
      return fate::dropped;
    if (x.kind == publication_kind::result)
      return fate::handed_back;
    auto less = messaging::slimmed(*x.content, why);
    if (!less)
      return fate::aside_alone;
    x.content = std::make_shared<const messaging::outgoing>(std::move(*less));
    return fate::again;
  }
  if (refused == refusal::none || x.kind == publication_kind::event)
    return fate::again;
  return refused == refusal::topic ? fate::aside_with_topic : fate::aside_alone;
}

} // namespace ziyu::actors
