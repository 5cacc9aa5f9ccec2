// How the dispatcher reads a record's content. It reads nothing before the ledger has the record
// and a commit says that an attempt begins. So a record that kills this process is recognised by
// the next owner of its partition.

#include "actors/decoder.hpp"
#include "actors/dispatcher.hpp"
#include "base/log.hpp"

#include <algorithm>

namespace ziyu::actors {

using namespace std::chrono_literals;

namespace {

/// Time for a claim check, whose file may be anywhere.
constexpr auto read_limit = 30s;

} // namespace

/// Reads one record at a time, and no more than there are slots: content that was read takes
/// memory.
void dispatcher_state::read_ahead() {
  if (unread == 0 || reading || breaker->holds())
    return;
  size_t ready = 0;
  const auto item = queue.find(self->clock().now(), [&](job_entry& x) {
    ready += x.image_bytes > 0 && !x.is_suspect(); // suspects wait for the others
    return ready < settings.slots && x.unread && ledger.may_begin(x.job.source->id);
  });
  if (!item)
    return;
  reading = true;
  auto answer = self->request(neighbours.decoder, read_limit, decode_request{item->job.source});
  answer.then(
    [this, item, id = answer.id()](const decoded_job& content) {
      self->clock().cancel_request_timeout(self, id); // CAF would keep it until its deadline
      on_read(item, content);
      dispatch();
    },
    [this, item](const caf::error& err) {
      spdlog::warn("{} was not read in time: {}", messaging::to_string(item->job.source->id),
                   self->system().render(err));
      reading = false;
      if (++item->vain_reads >= settings.max_attempts)
        on_read(item, {nullptr, error{errc::bad_dataref, "its content could not be read: "
                                                           + std::to_string(item->vain_reads)
                                                           + " tries of 30 s"}});
      dispatch();
    });
}

void dispatcher_state::on_read(const entry_ptr& item, decoded_job content) {
  reading = false;
  if (!item->unread)
    return; // no longer ours
  item->unread = false;
  --unread;
  if (content.job)
    note_id(*item, content.job->id);
  item->image_bytes = content.image_bytes;
  item->job.credit->grow(content.image_bytes);
  take_content(*item, std::move(content));
}

void dispatcher_state::take_content(job_entry& x, decoded_job content) {
  x.job.job = std::move(content.job);
  x.job.reason = std::move(content.reason);
  x.pixels_bytes = content.pixels_bytes;
}

} // namespace ziyu::actors
