# Python environments below .deps, from pinned wheels; sourced by scripts/deps. `python`: a Kafka client, for the
# test that any client will do. `charts`: matplotlib and rich, for the pictures of the documentation.

python_what() { printf 'the Python Kafka client of the tests'; }
python_plan() { printf 'make a Python environment with a Kafka client in .deps/venv (5 MB from PyPI, for the tests)'; }
python_tools() { :; }
python_ready() { environment_ready venv python-test.txt; }
python_cached() { environment_cached python-test.txt; }
python_forget() { environment_forget venv python-test.txt; }
python_adopt() { environment_adopt venv python-test.txt confluent_kafka "a Kafka client"; }
python_fetch() { python_adopt; }

charts_what() { printf 'the Python packages that draw pictures'; }
charts_plan() { printf 'make a Python environment with matplotlib and rich in .deps/charts (42 MB from PyPI, for pictures)'; }
charts_tools() { :; }
charts_ready() { environment_ready charts python-charts.txt; }
charts_cached() { environment_cached python-charts.txt; }
charts_forget() { environment_forget charts python-charts.txt; }
charts_adopt() { environment_adopt charts python-charts.txt matplotlib,rich "matplotlib and rich"; }
charts_fetch() { charts_adopt; }

# Debian's, always: its venv package is installed, while another Python may lack it.
python_tag() { /usr/bin/python3 -c 'import sys; print("cp%d%d" % sys.version_info[:2])' 2>/dev/null; }

# Of the environment .deps/FOLDER of the packages in scripts/pins/PINS:

environment_id() { sha256sum "$pins/$1" | cut -c 1-12; }
wheels_of() { printf '%s/wheels-%s' "$cache" "$(environment_id "$1")"; }
environment_ready() { marked "$deps/$1" "$(environment_id "$2")" && "$deps/$1/bin/python" -c '' 2>/dev/null; }
environment_cached() { [ -e "$(wheels_of "$1")/.ziyu-$(python_tag)" ]; }
environment_forget() { rm -rf "${deps:?}/$1" "$(wheels_of "$2")"; }

# environment_adopt FOLDER PINS MODULES TEXT
environment_adopt() {
  step "$1" "Making a Python environment with $4" \
    "Check that pip reaches PyPI; scripts/pins/$2 has wheels for Python 3.11 to 3.13." make_environment "$1" "$2" "$3"
}

make_environment() {
  local folder=$deps/$1 file=$pins/$2 wheels
  wheels=$(wheels_of "$2")
  rm -rf "$folder"
  /usr/bin/python3 -m venv "$folder"
  if ! environment_cached "$2"; then
    mkdir -p "$wheels"
    "$folder/bin/pip" download --disable-pip-version-check --no-deps --require-hashes \
      --only-binary=:all: -d "$wheels" -r "$file"
    touch "$wheels/.ziyu-$(python_tag)"
  fi
  "$folder/bin/pip" install --disable-pip-version-check --no-index --find-links "$wheels" \
    --no-deps --require-hashes -r "$file"
  "$folder/bin/python" -c "import $3"
  environment_id "$2" | tr -d '\n' >"$folder/.ziyu"
}
