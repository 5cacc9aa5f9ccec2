# Shared by the other scripts; sourced, not run. Needs only Bash and a minimal Debian.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
pins=$root/scripts/pins
deps=$root/.deps
# Downloads and the results of builds, kept so that a second clone fetches nothing.
cache=${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/ziyu
me=scripts/$(basename "$0")

if [ -t 2 ]; then bold=$'\e[1m' red=$'\e[31m' plain=$'\e[0m'; else bold='' red='' plain=''; fi

say() { printf '%s%s%s\n' "$bold" "$*" "$plain" >&2; }

# die WHAT [WHAT TO DO]: ends the script.
die() {
  printf '%s%s: %s%s\n' "$red" "$me" "$1" "$plain" >&2
  if [ -n "${2:-}" ]; then printf '  %s\n' "$2" >&2; fi
  exit 1
}

# step NAME TEXT HINT COMMAND...: one long step with a line when it starts and when it
# ends. Its output goes to a log, whose end is shown with HINT when it fails.
step() {
  local name=$1 text=$2 hint=$3 log=$cache/log/$1.log started=$SECONDS rc
  shift 3
  mkdir -p "$cache/log"
  printf '  %s ... ' "$text" >&2
  set +e # an `if` around the subshell would switch off its `set -e`
  (set -euo pipefail; "$@") >"$log" 2>&1 </dev/null
  rc=$?
  set -e
  if [ "$rc" = 0 ]; then
    printf 'done (%d s)\n' $((SECONDS - started)) >&2
    return 0
  fi
  printf 'failed after %d s\n' $((SECONDS - started)) >&2
  tail -n 15 "$log" | sed 's/^/    | /' >&2
  die "$name: $text failed (exit $rc; whole log: $log)" "$hint"
}

# as_root COMMAND...: runs it as root, by sudo where needed.
as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

# missing_packages NAME...: prints those that are not installed.
missing_packages() {
  local name
  for name in "$@"; do
    case $(dpkg-query -W -f '${db:Status-Abbrev}' "$name" 2>/dev/null) in
      ?i*) ;;
      *) printf '%s\n' "$name" ;;
    esac
  done
}

# marked FOLDER ID: whether FOLDER is complete and was made from this ID.
marked() { [ "$(cat "$1/.ziyu" 2>/dev/null)" = "$2" ]; }

# adopt CACHED FOLDER: makes FOLDER a copy of CACHED; by hard links where the file system
# allows, so that neither a cleaned cache nor a removed clone harms the other.
adopt() {
  rm -rf "$2" "$2.new"
  mkdir -p "$(dirname "$2")"
  cp -al "$1" "$2.new" 2>/dev/null || { rm -rf "$2.new"; cp -a "$1" "$2.new"; }
  mv "$2.new" "$2"
}

# scratch NAME: an empty folder on the cache's file system, so that results can be moved
# into place whole. Left-overs of an interrupted run are cleared.
scratch() {
  local folder=$cache/tmp/$1
  rm -rf "$folder"
  mkdir -p "$folder"
  printf '%s\n' "$folder"
}

# need_space FOLDER MIB WHAT: dies unless FOLDER's file system has so much left.
need_space() {
  local free
  free=$(df -Pm "$1" | awk 'NR == 2 { print $4 }')
  if [ "$free" -lt "$2" ]; then
    die "$3 needs $2 MiB in $1, which has $free MiB left" \
      "Free some space, or set XDG_CACHE_HOME to a folder on a larger disk."
  fi
}

# Compiler results survive a removed build folder and are shared by all clones.
use_ccache() {
  export CCACHE_DIR=${CCACHE_DIR:-$cache/ccache}
  export CCACHE_BASEDIR=${CCACHE_BASEDIR:-$root} CCACHE_NOHASHDIR=1
}

# How many compilers to run at once: a source file that includes libtorch takes up to
# 2 GiB, so memory may allow fewer than there are cores.
build_jobs() {
  local cores kib jobs
  cores=$(nproc)
  kib=$(awk '/^MemAvailable:/ { print $2 }' /proc/meminfo)
  jobs=$((kib / (2 * 1024 * 1024)))
  if [ "$jobs" -lt 1 ]; then jobs=1; fi
  if [ "$jobs" -gt "$cores" ]; then jobs=$cores; fi
  printf '%d\n' "$jobs"
}

# configure PRESET: CMake's configuration, silent unless it fails.
configure() {
  local log=$root/build/$1/configure.log
  mkdir -p "$root/build/$1"
  if (cd "$root" && cmake --preset "$1") >"$log" 2>&1; then return 0; fi
  grep -A 12 -E 'CMake Error' "$log" >&2 || tail -n 30 "$log" >&2
  die "cmake --preset $1 failed (whole log: $log)" \
    "If a library is missing, scripts/deps installs it; after a change of machine remove build/$1."
}

# build PRESET TARGET...: with one line per compiled file at most.
build() {
  local preset=$1
  shift
  NINJA_STATUS='[%f/%t %es] ' ninja -C "$root/build/$preset" -j "$(build_jobs)" "$@" >&2 ||
    die "building $* in build/$preset failed" "The compiler's message is above; 'c++: fatal error: Killed' means too little memory."
}
