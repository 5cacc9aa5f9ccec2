#include "messaging/event.hpp"

namespace ziyu::messaging {

nlohmann::json to_json_value(const event& x) {
  return {{"schema", "ziyu.event.v1"},
          {"type", x.type},
          {"time_ms", x.time_ms},
          {"instance", x.instance},
          {"detail", x.detail}};
}

} // namespace ziyu::messaging
