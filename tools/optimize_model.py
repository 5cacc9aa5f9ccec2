#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compiles the model of a folder for this machine, by AOTInductor. Ziyu then runs that code instead of TorchScript.

For each precision there is one package: code for 1, 2, 4, 8 ... images together, each of a fixed shape, and the
weights that they share. Packages are valid for the weights, the version of PyTorch and the kind of processor that they
were made with; those of several kinds stand side by side. Ziyu checks that, tries a package in a process of its own,
and serves with TorchScript where it does not work (docs/model-folder.md, "Compiled packages").

Needs the packages of tools/requirements.txt, of the version of PyTorch that ziyu-worker has (ziyu-worker --version),
and g++.

  tools/optimize_model.py models/resnet18/1
  tools/optimize_model.py /mnt/models/vit/3 --output /var/cache/ziyu --precision bf16
  tools/optimize_model.py models/resnet18/1 --precision int8 --calibration photos/

int8 finds its scales by the first 128 images of a folder by name, at least 16. They should be like those that will come,
and not those of agreement/, by which model.precision auto judges the result. The program fails if the code that it has
made has no int8 convolutions.
"""

import argparse
import contextlib
import json
import os
import shutil
import signal
import sys
import tempfile
import time
import warnings
from pathlib import Path

import compiled_package
import int8_graph
import model_files

PRECISIONS = ("fp32", "bf16", "int8")


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


class folder_of_model:
    def __init__(self, path: Path):
        try:
            description = json.loads((path / "model.json").read_text(encoding="utf-8"))
        except (OSError, ValueError) as problem:
            raise SystemExit(f"{path / 'model.json'} cannot be read: {problem}") from None
        self.weights = path / description["weights"]
        self.sha256 = description["sha256"].lower()
        self.input = shape = description["input"]
        self.shape = (1 if shape["channels"] == "grey" else 3, shape["height"], shape["width"])
        if not self.weights.is_file():
            raise SystemExit(f"no weights {self.weights}")
        if model_files.sha256(self.weights) != self.sha256:
            raise SystemExit(f"{self.weights} has another SHA-256 than model.json says; copy the model folder again")

    def example(self, rows: int, dtype):
        import torch

        generator = torch.Generator().manual_seed(rows)
        values = torch.randn((rows, *self.shape), generator=generator).to(dtype)
        return values.to(memory_format=torch.channels_last)


def operators_of(module, example):
    """The operators that TorchScript runs for inputs of this shape, as a graph that torch.export takes. TorchScript
    itself it does not take; the converter that torch has for it is deprecated."""
    from torch.fx.experimental.proxy_tensor import make_fx

    return make_fx(lambda x: module(x), tracing_mode="real", pre_dispatch=True, _allow_non_fake_inputs=True)(example)


def exported(graph, example):
    import torch

    # AOTInductor knows how to pack the weights of this form, and how to fold batch norms into it.
    for node in graph.graph.find_nodes(op="call_function", target=torch.ops.aten._convolution.default):
        node.target = torch.ops.aten.convolution.default
        node.args = node.args[:9]
    graph.recompile()
    return torch.export.export(graph, (example,)).module()


def mixes_rows(module, example) -> str:
    """Why several images must not run together; empty if they may."""
    import torch

    try:
        together = module(example).float()
        alone = torch.cat([module(row[None].contiguous(memory_format=torch.channels_last)) for row in example]).float()
    except Exception as problem:
        return str(problem).strip().splitlines()[-1]
    tolerance = (0.05 if example.dtype == torch.bfloat16 else 1e-3) * alone.abs().max()
    if together.shape != alone.shape or not (together - alone).abs().max() <= tolerance:
        return "its answers to images differ from those to each of them alone"
    return ""


def compile_rows(graph, example, folder: Path) -> None:
    import torch
    from torch._inductor import config

    options = {
        "aot_inductor.output_path": str(folder / "model.so"),
        "aot_inductor.package": True,
        "aot_inductor.link_libtorch": False,  # ziyu-worker has it
        "aot_inductor.package_constants_on_disk_format": "binary_blob",
    }
    with config.patch(freezing=True, **{"cpp.threads": 1}):
        torch._inductor.aot_compile(graph, (example,), options=options)


def make_package(model: folder_of_model, precision: str, most: int, staging: Path, quantizer=None) -> int:
    """Writes the package of a precision; returns the largest number of images that it takes together."""
    import torch

    dtype = torch.bfloat16 if precision == "bf16" else torch.float32  # what inputs are
    module = torch.jit.load(str(model.weights), map_location="cpu").eval().to(dtype)
    package = compiled_package.writer(staging, sha256=model.sha256, torch=torch.__version__.split("+")[0],
                                      precision=precision)
    rows = 1
    while rows <= most:
        start = time.monotonic()
        example = model.example(rows, dtype)
        if rows > 1 and (why := mixes_rows(module, example)):
            say(f"{precision}: no more than {rows // 2} images together: {why}")
            break
        operators, remark = operators_of(module, example), ""
        with tempfile.TemporaryDirectory(prefix=".rows-", dir=staging) as made:
            if quantizer:
                convolutions = int8_graph.count_convolutions(operators)
                compile_rows(quantizer.quantized(operators, example), example, Path(made))
                remark = ": " + int8_graph.require_int8(Path(made), convolutions)
            else:
                compile_rows(exported(operators, example), example, Path(made))
            package.add(rows, Path(made))
        say(f"{precision}: compiled for {rows} image{'s' * (rows > 1)} in {time.monotonic() - start:.0f} s{remark}")
        rows *= 2
    package.close()
    return rows // 2


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("folder", type=Path, help="model folder <name>/<version>")
    add("--precision", action="append", choices=PRECISIONS, help="may be repeated (default: fp32 and bf16)")
    add("--calibration", type=Path, metavar="FOLDER",
        help="images to find the scales of int8 by (default: calibration/ in the model folder)")
    add("--max-batch", type=int, default=16, metavar="N", choices=[1, 2, 4, 8, 16],
        help="most images that run together, 1 to 16 (default: %(default)s, as batching.max_jobs)")
    add("--output", type=Path, metavar="FOLDER",
        help="where packages stand; model.compiled_path then names it (default: compiled/ in the model folder)")
    return parser.parse_args()


def put_in_place(staging: Path, target: Path) -> None:
    old = target.with_name(f"{staging.name}.old")
    with contextlib.suppress(FileNotFoundError):
        target.rename(old)
    staging.rename(target)
    shutil.rmtree(old, ignore_errors=True)


def optimize(path: Path, output: Path | None = None, precisions=("fp32", "bf16"), most: int = 16,
             calibration: Path | None = None) -> list[str]:
    """Compiles the model of the folder `path`; returns a line for each package."""
    model = folder_of_model(path)
    target = (output or path / "compiled") / model.sha256[:16]
    lines = []
    with tempfile.TemporaryDirectory(prefix="ziyu-optimize-") as cache:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = cache
        import torch

        warnings.filterwarnings("ignore", category=FutureWarning, module=r"torch\.jit")  # TorchScript is deprecated
        torch.set_num_threads(1)  # else code with threads is made; a fork server must have one thread
        host = compiled_package.this_host(torch.__version__.split("+")[0])
        target /= host.folder()
        for precision in precisions:
            quantizer = None
            if precision == "int8":
                images = int8_graph.calibration_inputs(calibration or path / "calibration", model.input)
                quantizer = int8_graph.quantizer(images, host.isa)
            try:
                target.mkdir(parents=True, exist_ok=True)
                staging = Path(tempfile.mkdtemp(prefix=f".{precision}.", dir=target))
            except OSError as problem:
                raise SystemExit(f"cannot write {target}: {problem.strerror}; --output names another place") from None
            try:
                with torch.no_grad():
                    together = make_package(model, precision, most, staging, quantizer)
                staging.chmod(0o755)
                put_in_place(staging, target / precision)
            finally:
                shutil.rmtree(staging, ignore_errors=True)
            size = sum(file.stat().st_size for file in (target / precision).iterdir())
            lines.append(f"{target / precision}: {precision}, up to {together} images together, {size / 1e6:.1f} MB")
    return lines


def main() -> None:
    options = parse_options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what is half written goes
    try:
        for line in optimize(options.folder, options.output, options.precision or ("fp32", "bf16"), options.max_batch,
                             options.calibration):
            print(line)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
