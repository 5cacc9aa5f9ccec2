# A Python with a Kafka client, for the test that any client will do; sourced by scripts/deps.

python_id=$(sha256sum "$pins/python-test.txt" | cut -c 1-12)
python_wheels=$cache/wheels-$python_id

python_what() { printf 'the Python Kafka client of the tests'; }
python_plan() { printf 'make a Python environment with a Kafka client in .deps/venv (5 MB from PyPI, for the tests)'; }
python_tools() { :; }
python_ready() { marked "$deps/venv" "$python_id" && "$deps/venv/bin/python" -c '' 2>/dev/null; }
python_cached() { [ -e "$python_wheels/.ziyu-$(python_tag)" ]; }
python_forget() { rm -rf "$deps/venv" "$python_wheels"; }
# Debian's, always: its venv package is installed, while another Python may lack it.
python_tag() { /usr/bin/python3 -c 'import sys; print("cp%d%d" % sys.version_info[:2])' 2>/dev/null; }

make_venv() {
  rm -rf "$deps/venv"
  /usr/bin/python3 -m venv "$deps/venv"
  if ! python_cached; then
    mkdir -p "$python_wheels"
    "$deps/venv/bin/pip" download --disable-pip-version-check --no-deps --require-hashes \
      --only-binary=:all: -d "$python_wheels" -r "$pins/python-test.txt"
    touch "$python_wheels/.ziyu-$(python_tag)"
  fi
  "$deps/venv/bin/pip" install --disable-pip-version-check --no-index --find-links "$python_wheels" \
    --no-deps --require-hashes -r "$pins/python-test.txt"
  "$deps/venv/bin/python" -c 'import confluent_kafka'
  printf '%s' "$python_id" >"$deps/venv/.ziyu"
}

python_adopt() {
  step venv "Making a Python environment with a Kafka client" \
    "Check that pip reaches PyPI; scripts/pins/python-test.txt has wheels for Python 3.11 to 3.13." make_venv
}
python_fetch() { python_adopt; }
