# The programs of scripts/lint, in one version for every distribution; sourced by scripts/deps.

linters_id=$(sha256sum "$pins/python-lint.txt" | cut -c 1-12)
linters_cache=$cache/linters-$linters_id

linters_what() { printf 'clang-format, clang-tidy and shellcheck'; }
linters_plan() { printf 'fetch clang-format, clang-tidy and shellcheck into .deps/lint (50 MB from PyPI, 170 MB unpacked)'; }
linters_tools() { :; }
linters_ready() { marked "$deps/lint" "$linters_id"; }
linters_cached() { marked "$linters_cache" "$linters_id"; }
linters_forget() { rm -rf "$deps/lint" "$linters_cache"; }

get_linters() {
  local work=$1
  /usr/bin/python3 -m venv "$work/venv" # for its pip
  "$work/venv/bin/pip" install --disable-pip-version-check --no-deps --require-hashes --only-binary=:all: \
    --target "$work/lint" -r "$pins/python-lint.txt"
  # The programs themselves: pip's small starters hold the path of this environment.
  ln -sf ../clang_format/data/bin/clang-format ../clang_tidy/data/bin/clang-tidy "$work/lint/bin/"
  "$work/lint/bin/clang-format" --version
  "$work/lint/bin/clang-tidy" --version
  "$work/lint/bin/shellcheck" --version
  printf '%s' "$linters_id" >"$work/lint/.ziyu"
  rm -rf "$linters_cache"
  mv "$work/lint" "$linters_cache"
}

linters_fetch() {
  local work
  work=$(scratch lint)
  step linters "Fetching clang-format, clang-tidy and shellcheck" \
    "Check that pip reaches PyPI; scripts/pins/python-lint.txt has programs for x86-64 only." get_linters "$work"
  rm -rf "$work"
}
linters_adopt() { adopt "$linters_cache" "$deps/lint"; }
