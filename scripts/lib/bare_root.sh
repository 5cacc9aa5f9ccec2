# A bare Debian in a folder; sourced by scripts/bare-root and scripts/image-root.

# become_root ARGUMENT...: starts this script again by sudo where it has no root.
become_root() {
  if [ "$(id -u)" = 0 ]; then return 0; fi
  command -v sudo >/dev/null || die "this needs root, and there is no sudo"
  exec sudo -E env "HOME=$HOME" "PATH=$PATH" "$0" "${command_line[@]}"
}

# git_here ARGUMENT...: git in this repository, also if another user owns it.
git_here() { git -c safe.directory='*' -C "$root" "$@"; }

# mirror_of LABEL: the archive from which this machine's apt takes Debian (or Debian-Security).
mirror_of() {
  apt-get indextargets --format '$(ORIGIN) $(LABEL) $(REPO_URI)' 'Created-By: Packages' |
    awk -v label="$1" '$1 == "Debian" && $2 == label { print $3 }' | sort -u | head -n 1
}

# copy_authorities TARGET: the certificate authorities that this machine's owner has added.
copy_authorities() {
  mkdir -p "$1/usr/local/share/ca-certificates"
  if [ -d /usr/local/share/ca-certificates ]; then
    cp -rL /usr/local/share/ca-certificates/. "$1/usr/local/share/ca-certificates/"
  fi
}

# make_base SUITE FOLDER: FOLDER/base.tar, Debian's minimal system and certificates.
make_base() {
  local mirror building=$2/base.new
  mirror=$(mirror_of Debian)
  [ -n "$mirror" ] || die "this machine's apt knows no Debian archive" "apt-get update first; see /etc/apt/sources.list.d."
  rm -rf --one-file-system "$building"
  step "bare-root-$1" "Making a minimal $1 with debootstrap" "Does $mirror have $1, and is it reached?" \
    debootstrap --variant=minbase --include=ca-certificates "$1" "$building" "$mirror"
  rm -f "$building"/var/cache/apt/archives/*.deb
  tar -c --numeric-owner -f "$2/base.tar.new" -C "$building" .
  mv "$2/base.tar.new" "$2/base.tar"
  rm -rf --one-file-system "$building"
}

# copy_settings SUITE TARGET: how this machine reaches its registries.
copy_settings() {
  local debian security file
  debian=$(mirror_of Debian)
  security=$(mirror_of Debian-Security)
  {
    printf 'deb %s %s main\n' "$debian" "$1" "$debian" "$1-updates"
    if [ -n "$security" ]; then printf 'deb %s %s-security main\n' "$security" "$1"; fi
  } >"$2/etc/apt/sources.list"
  rm -f "$2"/etc/apt/sources.list.d/*
  apt-config dump | grep -E '^Acquire::(http|https|Check-|Retries)' >"$2/etc/apt/apt.conf.d/90machine" || true
  # As in Debian's images for containers: after a loss of power the root is made anew.
  printf 'force-unsafe-io\n' >"$2/etc/dpkg/dpkg.cfg.d/unsafe-io"
  if [ -d /etc/apt/auth.conf.d ]; then cp -r /etc/apt/auth.conf.d/. "$2/etc/apt/auth.conf.d/"; fi
  for file in /etc/resolv.conf /etc/hosts /etc/pip.conf; do
    if [ -e "$file" ]; then cp -L "$file" "$2$file"; fi
  done
  for file in .config/pip/pip.conf .m2/settings.xml; do
    if [ -e "$HOME/$file" ]; then install -D "$HOME/$file" "$2/root/$file"; fi
  done
  copy_authorities "$2"
  chroot "$2" update-ca-certificates >/dev/null 2>&1
}

# Downloads and results of builds that scripts/deps keeps; not the compiler's results.
is_download() { case $(basename "$1") in libtorch-* | librdkafka-* | kafka-* | wheels-*) ;; *) false ;; esac; }

# lend_downloads TARGET, keep_downloads TARGET: there and back, as links where possible.
share_downloads() {
  local folder
  mkdir -p "$2"
  for folder in "$1"/*/; do
    folder=${folder%/}
    if ! is_download "$folder" || [ -e "$2/$(basename "$folder")" ]; then continue; fi
    adopt "$folder" "$2/$(basename "$folder")"
  done
}
lend_downloads() { share_downloads "$cache" "$1/root/.cache/ziyu"; }
keep_downloads() { share_downloads "$1/root/.cache/ziyu" "$cache"; }

# copy_clone FOLDER: a clone of HEAD, or the clone that is there brought to HEAD.
copy_clone() {
  local commit
  commit=$(git_here rev-parse HEAD)
  [ -z "$(git_here status --porcelain)" ] || say "Note: what is not committed is left out."
  if [ ! -e "$1/.git" ]; then
    rm -rf "$1"
    git -c safe.directory='*' init -q "$1"
  fi
  GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0='*' \
    git -C "$1" fetch -q --no-tags "$root" "$commit"
  git -c safe.directory='*' -C "$1" -c advice.detachedHead=false checkout -q --force "$commit"
}

# settings_of_environment: variables that say how registries are reached.
settings_of_environment() {
  env -0 | grep -zE '^((https?|ftp|no|all)_proxy|(HTTPS?|FTP|NO|ALL)_PROXY|PIP_[A-Z_]*|SSL_CERT_(FILE|DIR)|MAVEN_OPTS|MAVEN_ARGS)=' |
    grep -zv '^PIP_FIND_LINKS='
}

# run_in_root TARGET HOME RESULTS COMMAND: with mounts and processes of its own, which end with
# it. HOME keeps the packages, RESULTS what the compiler has made.
run_in_root() {
  local settings
  mapfile -d '' -t settings < <(settings_of_environment)
  mkdir -p "$2/archives/partial" "$3" "$1/root/.cache/ziyu/ccache" "$1/var/cache/apt/archives"
  # shellcheck disable=SC2016
  setpriv --pdeathsig KILL unshare --mount --pid --fork --kill-child --propagation private bash -c '
    set -euo pipefail
    target=$1 home=$2 results=$3 command=$4
    shift 4
    mount --bind "$target" "$target"
    mount -t proc proc "$target/proc"
    mount --rbind /sys "$target/sys"
    mount --rbind /dev "$target/dev"
    mount -t tmpfs -o mode=1777 tmpfs "$target/tmp"
    mount --bind "$home/archives" "$target/var/cache/apt/archives"
    mount --bind "$results" "$target/root/.cache/ziyu/ccache"
    # Not by exec: this shell stays as the first process, which collects orphans.
    chroot "$target" env -i HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
      LANG=C.UTF-8 TERM="${TERM:-dumb}" USER=root "$@" bash -c "cd /srv/ziyu && $command"
  ' bash "$1" "$2" "$3" "$4" ${settings[@]+"${settings[@]}"} 8>&-
}
