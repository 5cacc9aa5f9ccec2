#include "supervision/death_watch.hpp"

#include <atomic>
#include <cerrno>
#include <cstring>
#include <vector>

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SYS_futex_waitv
#define SYS_futex_waitv 449
#endif

namespace ziyu::supervision {

namespace {

futex_waitv wait_for(const uint32_t* word, uint32_t value) {
  futex_waitv x{};
  x.uaddr = reinterpret_cast<uintptr_t>(word);
  x.val = value;
  x.flags = FUTEX_32; // shared with other processes
  return x;
}

} // namespace

death_watch::~death_watch() {
  {
    std::lock_guard guard{mutex_};
    stopping_ = true;
    change();
  }
  if (thread_.joinable())
    thread_.join();
}

void death_watch::watch(uint64_t worker, wire::life_line line, std::function<void()> then) {
  std::lock_guard guard{mutex_};
  if (refused_ || entries_.size() >= most)
    return;
  entries_.emplace(worker, entry{std::move(line), std::move(then)});
  if (!thread_.joinable())
    thread_ = std::thread{[this] { run(); }};
  change();
}

void death_watch::forget(uint64_t worker) {
  std::lock_guard guard{mutex_};
  if (const auto i = entries_.find(worker); i != entries_.end()) {
    i->second.forgotten = true;
    change();
  }
}

void death_watch::change() {
  ++std::atomic_ref{changes_};
  ::syscall(SYS_futex, &changes_, FUTEX_WAKE, 1, nullptr, nullptr, 0);
}

void death_watch::run() {
  for (;;) {
    const auto seen = std::atomic_ref{changes_}.load();
    look();
    if (!wait(seen))
      return;
  }
}

void death_watch::look() {
  std::lock_guard guard{mutex_};
  std::erase_if(entries_, [](auto& each) {
    auto& x = each.second;
    if (x.forgotten)
      return true;
    if (!x.line.is_broken())
      return false;
    x.then();
    return true;
  });
}

bool death_watch::wait(uint32_t seen) {
  std::vector<futex_waitv> words{wait_for(&changes_, seen)};
  {
    std::lock_guard guard{mutex_};
    if (stopping_)
      return false;
    for (const auto& [worker, x] : entries_) {
      words.push_back(wait_for(x.line.word(), x.line.arm()));
      if (x.line.is_broken()) // since the look: nothing would change any more
        return true;
    }
  }
  if (::syscall(SYS_futex_waitv, words.data(), words.size(), 0, nullptr, 0) >= 0 || errno == EAGAIN
      || errno == EINTR)
    return true;
  std::lock_guard guard{mutex_};
  refused_ = true;
  entries_.clear();
  return false;
}

std::string death_watch::trouble() {
  // No words to wait for are an error of their own.
  return ::syscall(SYS_futex_waitv, nullptr, 0, 0, nullptr, 0) >= 0 || errno == EINVAL
           ? ""
           : std::strerror(errno);
}

} // namespace ziyu::supervision
