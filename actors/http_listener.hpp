#pragma once

// Where the HTTP server listens, and who its clients are.

#include "base/descriptor.hpp"
#include "base/error.hpp"

#include <string>

#include <sys/socket.h>

namespace ziyu::actors {

/// A socket that listens and does not block. `errc::invalid_config` when the address cannot be this
/// machine's or may not be used, `errc::io` when it is taken, or is not known at present.
expected<unique_fd> listen_on(const std::string& host, uint16_t port);

/// The port of a socket; 0 if it has none.
uint16_t port_of(int fd);

/// A client's address, without its port.
std::string address_of(const sockaddr_storage& x, socklen_t size);

} // namespace ziyu::actors
