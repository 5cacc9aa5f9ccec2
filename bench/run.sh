# Sourced by the commands in bench/: builds bench_NAME in the release tree and runs it.
# Standard output has only its JSON.
. "$(dirname "${BASH_SOURCE[0]}")/../scripts/lib/common.sh"

# bench NAME ARGUMENT...
bench() {
  local name=$1
  shift
  "$root/scripts/deps" --without kafka
  use_ccache
  configure release
  build release "bench_$name" >&2
  exec "$root/build/release/bin/bench_$name" "$@"
}

# chaos MODULE ARGUMENT...: a command of the Python suite in bench/chaos_suite.
chaos() {
  "$root/scripts/deps" --test
  use_ccache
  configure release
  build release ziyu ziyu_worker >&2
  PYTHONPATH=$root/bench exec "$root/.deps/venv/bin/python" -m "$@"
}
