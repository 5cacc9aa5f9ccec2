# libtorch's C++ part out of the PyPI wheel of torch; sourced by scripts/deps.
#
# Debian's own libtorch is too old. The wheel is built with CUDA; we keep what runs on a
# CPU: headers, libc10, libtorch_cpu, their Fortran and OpenMP libraries and the two CUDA
# libraries that libtorch_cpu is linked against (they need neither GPU nor driver).

torch_version=$(sed -n 's/^torch==\([0-9.]*\) .*/\1/p' "$pins/libtorch.txt")
torch_id=$torch_version-$(sha256sum "$pins/libtorch.txt" | cut -c 1-12)
torch_store=$cache/libtorch-$torch_id

libtorch_what() { printf 'libtorch %s' "$torch_version"; }
libtorch_plan() { printf 'fetch libtorch %s into .deps/libtorch (530 MB from PyPI, 510 MB on disk)' "$torch_version"; }
libtorch_tools() {
  printf 'unzip\n'
  if ! torch_python >/dev/null; then printf 'python3-pip\n'; fi
}
libtorch_ready() { marked "$deps/libtorch" "$torch_id"; }
libtorch_cached() { marked "$torch_store" "$torch_id"; }
libtorch_forget() { rm -rf "$deps/libtorch" "$torch_store"; }
libtorch_adopt() { adopt "$torch_store" "$deps/libtorch"; }

# The first Python that has pip: the Python on the PATH may not be Debian's.
torch_python() {
  local python
  for python in python3 /usr/bin/python3; do
    if "$python" -m pip --version >/dev/null 2>&1; then printf '%s\n' "$python"; return 0; fi
  done
  return 1
}

# The wheel's tags are named, so it does not matter which Python downloads it.
download_wheels() {
  PIP_NO_INPUT=1 "$(torch_python)" -m pip download --disable-pip-version-check --no-cache-dir \
    --progress-bar off --no-deps --require-hashes --only-binary=:all: --retries 5 \
    --python-version 3.11 --implementation cp --abi cp311 --abi none \
    --platform manylinux_2_28_x86_64 --platform manylinux_2_25_x86_64 \
    --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64 \
    -d "$1" -r "$pins/libtorch.txt"
}

lay_out_libtorch() {
  local folder=$1 prefix=$1/prefix wheel
  mkdir -p "$prefix/lib"
  unzip -q "$folder"/torch-*.whl 'torch/include/*' torch/lib/libc10.so torch/lib/libtorch_cpu.so \
    'torch/lib/libgomp*' 'torch/lib/libgfortran*' -d "$folder/torch"
  mv "$folder/torch/torch/include" "$prefix/include"
  mv "$folder"/torch/torch/lib/* "$prefix/lib/"
  for wheel in "$folder"/nvidia_*.whl; do unzip -q -o "$wheel" -d "$folder/cuda"; done
  find "$folder/cuda" \( -name 'libcudart.so.*' -o -name 'libcupti.so.*' \) -exec mv {} "$prefix/lib/" \;
  # Replaces the wheel's libtorch.so, which needs all of CUDA: packages that AOTInductor
  # compiled are linked against that name.
  printf 'int libtorch_stands_for_libtorch_cpu;\n' |
    g++ -shared -x c++ - -o "$prefix/lib/libtorch.so" -Wl,-soname,libtorch.so -Wl,--no-as-needed \
      -L "$prefix/lib" -ltorch_cpu -lc10 -Wl,-rpath,'$ORIGIN' -Wl,--allow-shlib-undefined
  test -e "$prefix/include/torch/script.h" && test -e "$prefix/lib/libtorch_cpu.so"
}

libtorch_fetch() {
  local folder
  if [ "$(uname -m)" != x86_64 ]; then
    die "libtorch is pinned for x86-64 only; this is $(uname -m)" \
      "Install libtorch >= 2.5, run scripts/deps --without libtorch, and set CMAKE_PREFIX_PATH."
  fi
  folder=$(scratch libtorch)
  need_space "$folder" 2500 "libtorch"
  step libtorch-download "Downloading torch $torch_version (530 MB)" \
    "Check that pip reaches PyPI: python3 -m pip download --no-deps nvidia-cuda-cupti. A hash that differs means that the file is not the pinned one." \
    download_wheels "$folder"
  step libtorch "Laying out its C++ part" "See the log; scripts/deps --refresh starts from scratch." \
    lay_out_libtorch "$folder"
  printf '%s' "$torch_id" >"$folder/prefix/.ziyu"
  rm -rf "$torch_store"
  mv "$folder/prefix" "$torch_store"
  rm -rf "$folder"
}
