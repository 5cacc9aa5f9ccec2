#pragma once

#include "base/error.hpp"

#include <CLI/CLI.hpp>

#include <filesystem>
#include <istream>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace ziyu::cli {

/// A file to submit as a job.
struct job_file {
  std::filesystem::path path;
  std::string name; ///< For the job id: relative to the argument, in UTF-8.
};

/// Adds the arguments of `find_job_files`.
void add_inputs(CLI::App& command, std::vector<std::string>& inputs);

/// The files that the arguments name: a file itself, whatever its name; the images (by
/// extension) in a folder and below, in the order of their names; and for "-" one path
/// per line of `list`. A missing argument, or a folder without images, is
/// `invalid_usage`.
expected<std::vector<job_file>> find_job_files(const std::vector<std::string>& arguments,
                                               std::istream& list);

/// Makes the ids of one run of `ziyu submit`. Pure but for its counters.
class job_ids {
public:
  /// @param prefix Ids are prefix + name, the same in each run (with an empty prefix the name
  /// alone). Without a prefix they are name + "-" + `random` in hexadecimal + a number, unique over
  /// runs.
  job_ids(std::optional<std::string> prefix, uint64_t random);

  /// An id that this object has not returned before.
  std::string next(const std::string& name);

private:
  std::optional<std::string> prefix_;
  std::string run_;
  uint64_t count_ = 0;
  std::set<std::string> used_;
};

} // namespace ziyu::cli
