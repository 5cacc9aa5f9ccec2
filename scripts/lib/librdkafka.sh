# librdkafka from Debian's source package; sourced by scripts/deps.
#
# Debian 12 has 2.0.2, whose consumers lose their place in several ways; later versions do
# not. scripts/pins/librdkafka.sha256 lists the source tarballs that can be built, by version
# and checksum. The first one is tested; scripts/deps --librdkafka VERSION chooses another.
# When Debian's unstable no longer has the pinned version, the error says what to do, and no
# other version is built.

rdkafka_pins=$pins/librdkafka.sha256
rdkafka_suites=(sid testing trixie)

rdkafka_versions() { sed -n 's/.*  librdkafka_\(.*\)\.orig\.tar\..*/\1/p' "$rdkafka_pins"; }
rdkafka_version=$(rdkafka_versions | head -n 1)

# rdkafka_tarball, rdkafka_id, rdkafka_store: of the version in use. A build is linked with
# its distribution's libraries, so each distribution has its own.
rdkafka_tarball() { printf 'librdkafka_%s.orig.tar.gz' "$rdkafka_version"; }
rdkafka_sum() { awk -v file="$(rdkafka_tarball)" '$2 == file { print $1 }' "$rdkafka_pins"; }
rdkafka_id() {
  local system
  system=$(. /etc/os-release && printf '%s%s' "$ID" "${VERSION_ID:-}")
  printf '%s-%s-%s-%s' "$rdkafka_version" "$(rdkafka_sum | cut -c 1-12)" "$system" "$(uname -m)"
}
rdkafka_store() { printf '%s/librdkafka-%s' "$cache" "$(rdkafka_id)"; }

# librdkafka_choose VERSION: chooses one of the pinned versions.
librdkafka_choose() {
  rdkafka_versions | grep -qxF "$1" ||
    die "librdkafka $1 is not pinned" "Pinned are $(rdkafka_versions | paste -s -d ' '): scripts/pins/librdkafka.sha256."
  rdkafka_version=$1
  rdkafka_asked=1
}
rdkafka_asked=''

# librdkafka_keep: without --librdkafka, keeps the version that an earlier run installed.
librdkafka_keep() {
  local version
  if [ -n "$rdkafka_asked" ]; then return 0; fi
  for version in $(rdkafka_versions); do
    if (rdkafka_version=$version; librdkafka_ready); then
      rdkafka_version=$version
      return 0
    fi
  done
}

librdkafka_what() { printf 'librdkafka %s' "$rdkafka_version"; }
librdkafka_plan() { printf "build librdkafka %s from Debian's source package into .deps/librdkafka (1 minute)" "$rdkafka_version"; }
librdkafka_tools() { printf 'debian-archive-keyring\n'; }
librdkafka_ready() { marked "$deps/librdkafka" "$(rdkafka_id)"; }
librdkafka_cached() { marked "$(rdkafka_store)" "$(rdkafka_id)"; }
librdkafka_forget() { rm -rf "$deps/librdkafka" "$(rdkafka_store)"; }
librdkafka_adopt() { adopt "$(rdkafka_store)" "$deps/librdkafka"; }

# The Debian mirrors that this machine's apt uses, without the security archives.
debian_mirrors() {
  apt-get indextargets --format '$(ORIGIN) $(LABEL) $(REPO_URI)' 'Created-By: Packages' |
    awk '$1 == "Debian" && $2 == "Debian" { print $3 }' | sort -u
}

# fetch_source SUITE MIRROR FOLDER: downloads the pinned version if SUITE has it (exit code 3:
# it has another), with lists of its own, so that the machine's apt never sees that suite.
fetch_source() {
  local suite=$1 mirror=$2 folder=$3 full
  mkdir -p "$folder/lists/partial" "$folder/cache/archives/partial"
  printf 'deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] %s %s main\n' \
    "$mirror" "$suite" >"$folder/sources.list"
  local options=(-q -o "Dir::Etc::sourcelist=$folder/sources.list" -o Dir::Etc::sourceparts=-
    -o "Dir::State::lists=$folder/lists" -o "Dir::Cache=$folder/cache"
    -o Acquire::Retries=3 -o APT::Sandbox::User=)
  apt-get "${options[@]}" update || return 1
  apt-cache "${options[@]}" showsrc --only-source librdkafka | sed -n 's/^Version: //p' >"$folder/versions"
  full=$(grep -m 1 -E "^([0-9]+:)?${rdkafka_version//./\\.}-[^-]*\$" "$folder/versions") || return 3
  (cd "$folder" && apt-get "${options[@]}" source --download-only --only-source "librdkafka=$full") || return 1
}

build_librdkafka() {
  local folder=$1 source build=$1/build
  mkdir "$folder/source"
  tar -x -f "$folder/$(rdkafka_tarball)" --strip-components=1 -C "$folder/source"
  cmake -S "$folder/source" -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release \
    -DCMAKE_INSTALL_PREFIX="$folder/prefix" -DCMAKE_INSTALL_LIBDIR=lib \
    -DRDKAFKA_BUILD_TESTS=OFF -DRDKAFKA_BUILD_EXAMPLES=OFF
  ninja -C "$build" rdkafka
  cmake --install "$build/src" --strip # the C library only; we do not use the C++ one
}

# has_pinned_tarball FOLDER: whether FOLDER has the tarball with the pinned checksum.
has_pinned_tarball() {
  [ -e "$1/$(rdkafka_tarball)" ] && (cd "$1" && printf '%s  %s\n' "$(rdkafka_sum)" "$(rdkafka_tarball)" | sha256sum --quiet -c -) >&2
}

# source_is_gone SEEN: the archive has moved on, or cannot be reached.
source_is_gone() {
  local other
  other=$(rdkafka_versions | grep -vxF "$rdkafka_version" | head -n 1)
  die "Debian's archive does not give the source of librdkafka $rdkafka_version${1:+ (it has $1)}" \
    "One of these helps:
  - put $(rdkafka_tarball) (SHA-256 $(rdkafka_sum))
    into $cache: Debian's snapshot archive keeps every version;
  - scripts/deps --librdkafka $other: pinned too, of a stable Debian, older (docs/dependencies.md);
  - scripts/deps --without librdkafka, with a librdkafka >= 2.0.2 of your own.
  The logs: $cache/log/librdkafka-source-*.log"
}

librdkafka_fetch() {
  local suite mirror folder rc seen='' got=''
  folder=$(scratch librdkafka)
  mkdir -p "$cache/log"
  if has_pinned_tarball "$cache"; then
    cp "$cache/$(rdkafka_tarball)" "$folder/"
    got=1
  fi
  for suite in "${rdkafka_suites[@]}"; do
    for mirror in $(debian_mirrors); do
      if [ -n "$got" ]; then break 2; fi
      printf "  Fetching the source of librdkafka %s from Debian's %s ... " "$rdkafka_version" "$suite" >&2
      rm -rf "$folder" && mkdir -p "$folder"
      rc=0
      fetch_source "$suite" "$mirror" "$folder" >"$cache/log/librdkafka-source-$suite.log" 2>&1 || rc=$?
      case $rc in
        0) printf 'done\n' >&2; got=1 ;;
        3) printf 'it has another version\n' >&2; seen+="${seen:+, }$(paste -s -d ' ' "$folder/versions") in $suite" ;;
        *) printf 'not to be had (log: %s)\n' "$cache/log/librdkafka-source-$suite.log" >&2 ;;
      esac
    done
  done
  if [ -z "$got" ]; then source_is_gone "$seen"; fi
  has_pinned_tarball "$folder" ||
    die "the source of librdkafka $rdkafka_version is not the pinned one" \
      "Its SHA-256 differs from scripts/pins/librdkafka.sha256; nothing was built."
  step librdkafka "Building librdkafka $rdkafka_version" \
    "See the log; with a librdkafka of your own: scripts/deps --without librdkafka." \
    build_librdkafka "$folder"
  printf '%s' "$(rdkafka_id)" >"$folder/prefix/.ziyu"
  rm -rf "$(rdkafka_store)"
  mv "$folder/prefix" "$(rdkafka_store)"
  rm -rf "$folder"
}
