#pragma once

#include "actors/http_reply.hpp"
#include "actors/http_request.hpp"
#include "actors/protocol.hpp"

#include <filesystem>
#include <optional>
#include <string>

namespace ziyu::actors {

// What an operator may order over HTTP. Pure, but for `parse_rollout`, which looks at folders.

/// Whether a request may change something; then its body is a command.
bool is_command(const http_request& x);

/// The methods that a path has, for the header Allow.
std::string methods_of(const std::string& path);

/// Why a command is refused before its body is read; empty: it is not. Only a client on this
/// machine may order anything, but not through a proxy and not from a page in a browser.
std::optional<http_reply> refuse_command(const http_request& x);

/// Parses `POST /breaker`: `{"mode": "auto"|"open"|"disable", "reason": text?}`.
expected<breaker_command> parse_breaker_command(const std::string& body);

/// Parses `POST /models`: `{"version": text}`, the name of a folder beside `model`. Fails when
/// there is no such folder, and names those that there are.
/// @param model The folder of `model.path`.
expected<rollout_request> parse_rollout(const std::string& body,
                                        const std::filesystem::path& model);

} // namespace ziyu::actors
