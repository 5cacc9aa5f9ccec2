# Debian packages; sourced by scripts/deps.

# To build and to run. docs/dependencies.md says what each is for.
base_packages=(
  build-essential cmake ninja-build ccache pkg-config ca-certificates
  libcaf-dev libopencv-core-dev libjpeg62-turbo-dev libpng-dev libtiff-dev libwebp-dev libjemalloc-dev
  nlohmann-json3-dev libcli11-dev libspdlog-dev libexpected-dev libcpp-httplib-dev
  prometheus-cpp-dev libutf8proc-dev libseccomp-dev libdw-dev libgtest-dev libgmock-dev
  libssl-dev zlib1g-dev libzstd-dev liblz4-dev libsasl2-dev libcurl4-openssl-dev
)
# Other Kafka clients, a check of the compose file, and a terminal for the tests.
test_packages=(curl prometheus kcat docker-compose python3 python3-venv python3-yaml)
# To draw the pictures of the documentation.
chart_packages=(python3 python3-venv)
# For scripts/lint, beside its linters.
lint_packages=(git python3 python3-venv)

# A Java that runs the broker: 17 or newer.
java_works() {
  local java=${JAVA_HOME:+$JAVA_HOME/bin/}java version
  version=$("$java" -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p' | head -n 1) || return 1
  [ "${version:-0}" -ge 17 ]
}

apt_get() {
  as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 "$@"
}

install_packages() {
  if [ "$(id -u)" != 0 ] && ! command -v sudo >/dev/null; then
    die "the Debian packages above need root, and there is no sudo" \
      "As root: apt-get update && apt-get install --no-install-recommends $*"
  fi
  # Asks for the password here: inside a step the question would go to the log.
  if [ "$(id -u)" != 0 ]; then sudo -v || die "sudo was refused" "As root: apt-get install --no-install-recommends $*"; fi
  step apt-update "Reading Debian's package lists" \
    "Check the network and /etc/apt/sources.list.d." apt_get update
  step apt-install "Installing $# Debian packages" \
    "Run 'apt-get install $1' by hand to see more; the suite's 'main' must be among apt's sources." \
    apt_get install -y --no-install-recommends "$@"
}
