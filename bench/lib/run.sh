# Sourced by the commands in bench/: builds bench_NAME in the release tree and runs it.
# Standard output has only its JSON.
. "$(dirname "${BASH_SOURCE[0]}")/../../scripts/lib/common.sh"

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

# charted NAME ARGUMENT... [--charts FOLDER]: the same; with a folder it also draws the charts of the docs there.
charted() {
  local name=$1 folder='' rc=0 arguments=()
  shift
  while [ $# -gt 0 ]; do
    if [ "$1" = --charts ]; then folder=${2:?--charts needs a folder}; shift; else arguments+=("$1"); fi
    shift
  done
  if [ -z "$folder" ]; then bench "$name" "${arguments[@]}"; fi
  "$root/scripts/deps" --without kafka --charts
  case $name in judge) arguments+=(--series yes) ;; *) arguments+=(--series) ;; esac
  set +o pipefail # a bench that has measured and failed is drawn, too
  (bench "$name" "${arguments[@]}") | "$root/.deps/charts/bin/python" "$root/bench/lib/charts.py" "$name" "$folder"
  rc=${PIPESTATUS[0]}
  exit "$rc"
}

# chaos MODULE ARGUMENT...: a command of the Python suite in bench/chaos_suite.
chaos() {
  "$root/scripts/deps" --test
  use_ccache
  configure release
  build release ziyu ziyu_worker >&2
  PYTHONPATH=$root/bench exec "$root/.deps/venv/bin/python" -m "$@"
}

# speed MODULE ARGUMENT...: a command of the Python package bench/speed, with the Python of the peers.
speed() {
  local python=${ZIYU_PEERS_PYTHON-} folder=$cache/peers wanted
  "$root/scripts/deps" --test
  use_ccache
  configure release
  build release ziyu ziyu_worker bench_bare_loop >&2
  if [ -z "$python" ]; then
    python=$folder/bin/python
    wanted=$(sha256sum <"$root/bench/peers/requirements.txt")
    if [ "$(cat "$folder/requirements.sha256" 2>/dev/null)" != "$wanted" ]; then
      say "Installing bench/peers/requirements.txt in $folder (5 GB) ..."
      python3 -m venv "$folder"
      "$python" -m pip install --quiet --disable-pip-version-check -r "$root/bench/peers/requirements.txt"
      printf '%s\n' "$wanted" >"$folder/requirements.sha256"
    fi
  fi
  PYTHONPATH=$root/bench PYTHONDONTWRITEBYTECODE=1 exec "$python" -m "$@"
}
