# librdkafka from Debian's source package; sourced by scripts/deps.
#
# Debian 12 has 2.0.2, whose consumers lose their place in several ways that later ones do
# not. Debian's unstable has the newest, and its source builds anywhere; if that cannot be
# had we take the next stable's, and else the system's own. Unstable moves on, so there is
# no pinned version: apt checks what it fetches against the archive's signature.

rdkafka_wanted=2.10
rdkafka_suites=(sid trixie)
rdkafka_store=$cache/librdkafka-${ID:-debian}${VERSION_ID:-}-$(uname -m)

librdkafka_what() { printf 'librdkafka %s' "$(cat "$rdkafka_store/version")"; }
librdkafka_plan() { printf "build librdkafka (>= %s) from Debian's source package into .deps/librdkafka (1 minute)" "$rdkafka_wanted"; }
librdkafka_tools() { printf 'dpkg-dev\ndebian-archive-keyring\n'; }
librdkafka_ready() { marked "$deps/librdkafka" "$rdkafka_store"; }
librdkafka_cached() { marked "$rdkafka_store" "$rdkafka_store"; }
librdkafka_forget() { rm -rf "$deps/librdkafka" "$rdkafka_store"; }
librdkafka_adopt() { adopt "$rdkafka_store" "$deps/librdkafka"; }

# The Debian mirrors that this machine's apt uses, without the security archives.
debian_mirrors() {
  apt-get indextargets --format '$(ORIGIN) $(LABEL) $(REPO_URI)' 'Created-By: Packages' |
    awk '$1 == "Debian" && $2 == "Debian" { print $3 }' | sort -u
}

# fetch_source SUITE MIRROR FOLDER: downloads the newest source of SUITE, with lists of
# its own, so that the machine's apt never sees that suite.
fetch_source() {
  local suite=$1 mirror=$2 folder=$3
  mkdir -p "$folder/lists/partial" "$folder/cache/archives/partial"
  printf 'deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] %s %s main\n' \
    "$mirror" "$suite" >"$folder/sources.list"
  local options=(-q -o "Dir::Etc::sourcelist=$folder/sources.list" -o Dir::Etc::sourceparts=-
    -o "Dir::State::lists=$folder/lists" -o "Dir::Cache=$folder/cache"
    -o Acquire::Retries=3 -o APT::Sandbox::User=
    -o Acquire::Check-Valid-Until=false) # a mirror that stands still has an old list
  apt-get "${options[@]}" update || return 1
  (cd "$folder" && apt-get "${options[@]}" source --download-only --only-source librdkafka) || return 1
  ls "$folder"/librdkafka_*.orig.tar.* >/dev/null
}

build_librdkafka() {
  local folder=$1 source build=$1/build
  mkdir "$folder/source"
  tar -x -f "$folder"/librdkafka_*.orig.tar.* --strip-components=1 -C "$folder/source"
  cmake -S "$folder/source" -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release \
    -DCMAKE_INSTALL_PREFIX="$folder/prefix" -DCMAKE_INSTALL_LIBDIR=lib \
    -DRDKAFKA_BUILD_TESTS=OFF -DRDKAFKA_BUILD_EXAMPLES=OFF
  ninja -C "$build" rdkafka
  cmake --install "$build/src" --strip # the C library only; we do not use the C++ one
}

librdkafka_fetch() {
  local suite mirror folder version got=''
  folder=$(scratch librdkafka)
  for suite in "${rdkafka_suites[@]}"; do
    for mirror in $(debian_mirrors); do
      printf "  Fetching librdkafka's source from Debian's %s ... " "$suite" >&2
      rm -rf "$folder" && mkdir -p "$folder" "$cache/log"
      if fetch_source "$suite" "$mirror" "$folder" >"$cache/log/librdkafka-source-$suite.log" 2>&1; then
        got=$suite
        break 2
      fi
      printf 'not to be had (log: %s)\n' "$cache/log/librdkafka-source-$suite.log" >&2
    done
  done
  if [ -z "$got" ]; then
    printf "  Falling back to the system's librdkafka-dev: older, with known weaknesses (docs/dependencies.md).\n" >&2
    mapfile -t need < <(missing_packages librdkafka-dev)
    if [ ${#need[@]} -gt 0 ]; then install_packages "${need[@]}"; fi
    mkdir -p "$deps/librdkafka" # empty: CMake then finds the system's
    printf '%s' "$rdkafka_store" >"$deps/librdkafka/.ziyu"
    return 0
  fi
  version=$(basename "$(ls "$folder"/librdkafka_*.orig.tar.*)" | sed 's/librdkafka_\(.*\)\.orig.*/\1/')
  printf '%s\n' "$version" >&2
  if dpkg --compare-versions "$version" lt "$rdkafka_wanted"; then
    printf '  Note: %s is older than %s; it works, docs/dependencies.md says what it lacks.\n' "$version" "$rdkafka_wanted" >&2
  fi
  step librdkafka "Building librdkafka $version" \
    "See the log; with a librdkafka of your own: scripts/deps --without librdkafka." \
    build_librdkafka "$folder"
  printf '%s\n' "$version" >"$folder/prefix/version"
  printf '%s' "$rdkafka_store" >"$folder/prefix/.ziyu"
  rm -rf "$rdkafka_store"
  mv "$folder/prefix" "$rdkafka_store"
  rm -rf "$folder"
}
