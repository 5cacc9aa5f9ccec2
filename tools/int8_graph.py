# SPDX-License-Identifier: Apache-2.0
"""Makes a traced model compute in int8, by torchao's quantiser for x86, for tools/optimize_model.py.

Weights get a scale for each output channel, activations one for each tensor: what they are on the calibration images
decides it. The same scales are then used for each number of images together, so that an image gets the same answer
alone and in a batch."""

import importlib.metadata
import re
from pathlib import Path

import model_files

MOST_IMAGES = 128
LEAST_IMAGES = 16
# Instructions that add products of 8 bits in 32; others add them in 16, which overflow if all 8 bits are used.
WIDE_SUMS = {"avx512_vnni", "avx_vnni", "amx_int8"}


ADVICE = (f"at least {LEAST_IMAGES} images like those that will come are needed to find the scales of int8; put them "
          "there, or name another folder by --calibration")


def calibration_files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise SystemExit(f"no calibration images: {folder} is no folder; {ADVICE}")
    return sorted(path for path in folder.iterdir() if path.is_file())


def require_images(folder: Path, count: int) -> None:
    if count < LEAST_IMAGES:
        raise SystemExit(f"{folder} has {count} images that can be read; {ADVICE}")


def calibration_inputs(folder: Path, preprocessing: dict) -> list:
    """The images of a folder as inputs [1, C, H, W] of the model, the first of them by name."""
    files = calibration_files(folder)
    import torch
    from PIL import Image, ImageOps, UnidentifiedImageError

    transform = model_files.torchvision_transform(preprocessing)
    result = []
    for file in files:
        try:
            image = ImageOps.exif_transpose(Image.open(file)).convert("RGB")
        except (UnidentifiedImageError, OSError):
            continue
        result.append(transform(image)[None].contiguous(memory_format=torch.channels_last))
        if len(result) == MOST_IMAGES:
            break
    require_images(folder, len(result))
    return result


def as_quantizer_wants(operators, example):
    """The program of traced operators, in the form that the quantiser knows: convolutions in two dimensions by that
    name, weights as parameters, nothing in place, and for each operator the function it comes from."""
    import operator

    import torch

    aten, functional = torch.ops.aten, torch.nn.functional
    for node in operators.graph.find_nodes(op="call_function", target=aten._convolution.default):
        inputs, weight, bias, stride, padding, dilation, transposed, output_padding, groups = node.args[:9]
        if transposed or len(stride) != 2:
            node.target, node.args = aten.convolution.default, node.args[:9]
            continue
        node.target, node.args = aten.conv2d.default, (inputs, weight, bias, stride, padding, dilation, groups)
        for each in (weight, bias):
            if each is not None and not isinstance(value := getattr(operators, each.target), torch.nn.Parameter):
                delattr(operators, each.target)
                operators.register_parameter(each.target, torch.nn.Parameter(value, requires_grad=False))
    operators.recompile()
    graph = torch.export.export(operators, (example,)).run_decompositions({}).module()
    sources = {
        aten.conv2d.default: functional.conv2d, aten.linear.default: functional.linear,
        aten.batch_norm.default: functional.batch_norm, aten.add.Tensor: operator.add,
        aten.relu.default: functional.relu, aten.hardtanh.default: functional.hardtanh,
        aten.hardswish.default: torch.nn.Hardswish, aten.silu.default: torch.nn.SiLU,
        aten.gelu.default: torch.nn.GELU,
    }
    for node in graph.graph.nodes:
        if node.target in sources:
            node.meta["source_fn_stack"] = [(node.name, sources[node.target])]
    return graph


class quantizer:
    """Finds scales once, and applies them to the model traced for any number of images."""

    def __init__(self, inputs: list, isa: str):
        self.inputs = inputs
        self.reduce_range = not WIDE_SUMS & set(isa.split())
        self.scales = None

    def quantized(self, operators, example):
        """The graph in int8. The first call must be for one image: it runs the calibration images."""
        try:
            from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e
            # Importing it also teaches the compiler what int8 operators there are.
            from torchao.quantization.pt2e.quantizer import x86_inductor_quantizer as x86
        except ImportError as problem:
            raise SystemExit(f"int8 needs torchao: {problem}; pip install -r tools/requirements.txt") from None

        chosen = x86.X86InductorQuantizer().set_global(
            x86.get_default_x86_inductor_quantization_config(reduce_range=self.reduce_range))
        prepared = prepare_pt2e(as_quantizer_wants(operators, example), chosen)
        if self.scales is None:
            for each in self.inputs:
                prepared(each)
            self.scales = prepared.state_dict()
        else:
            prepared.load_state_dict(self.scales)
        return convert_pt2e(prepared)


def count_convolutions(operators) -> int:
    import torch

    return len(operators.graph.find_nodes(op="call_function", target=torch.ops.aten._convolution.default))


def count_int8(made: Path) -> tuple[int, int]:
    """The convolutions and the matrix products in int8 of the code in this folder."""
    source = "".join(file.read_text(encoding="utf-8") for file in made.glob("*.wrapper.cpp"))
    return tuple(len(re.findall(rf"aoti_torch_cpu__q{kind}\w*\(", source)) for kind in ("conv", "linear"))


def version_of(package: str) -> str:
    try:
        return f"{package} {importlib.metadata.version(package)}"
    except importlib.metadata.PackageNotFoundError:
        return f"{package}, which is not installed,"


def require_int8(made: Path, convolutions: int) -> str:
    """Says how much of the code is in int8; ends the program where it is not: the code would only be inexact."""
    in_int8, products = count_int8(made)
    if not (in_int8 if convolutions else products):
        kind = f"convolutions, of which the model has {convolutions}" if convolutions else "matrix products"
        raise SystemExit(
            f"int8: the compiled code has no int8 {kind}: {version_of('torch')} and {version_of('torchao')} have not "
            "recognised the operators of the model. No package in int8 was written. Install the versions of "
            "tools/requirements.txt; if it stays so, serve the model in fp32 or bf16")
    return f"{in_int8} of {convolutions} convolutions and {products} matrix products in int8"
