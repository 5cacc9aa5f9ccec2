#!/usr/bin/env python3
"""Writes tests/data/parity: what Pillow and torchvision make of some images, for the C++ preprocessing to match.

    tools/make_parity_fixtures.py

Each case of cases.json names a source image, the `input` of a model.json, the PNG with the pixels after resizing and
cropping (to be matched to the bit) and some values of the normalised tensor as [channel, row, column, value].
"""

import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torchvision import transforms

import model_files

FOLDER = Path(__file__).resolve().parent.parent / "tests/data/parity"
IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}


def source(width: int, height: int, seed: int) -> Image.Image:
    """Waves with hard edges: smooth parts, ringing at the edges, all values from 0 to 255."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    planes = []
    for _ in range(3):
        fx, fy, phase = random.uniform(0.02, 0.25, 2).tolist() + [random.uniform(0, 6)]
        planes.append(127.5 + 127.5 * np.sin(fx * x + fy * y + phase))
    pixels = np.stack(planes, axis=-1)
    for _ in range(6):
        left, top = random.integers(0, width), random.integers(0, height)
        pixels[top:top + height // 5 + 1, left:left + width // 5 + 1] = random.integers(0, 2, 3) * 255
    return Image.fromarray(pixels.round().astype(np.uint8))


def rgb(height, width, resize=0, interpolation="bilinear", squash=False):
    return {"channels": "rgb", "height": height, "width": width, "resize": resize, "squash": squash,
            "interpolation": interpolation, **IMAGENET}


def main() -> None:
    sources = {"wide": (151, 97), "tall": (64, 211), "small": (17, 23), "large": (430, 310), "dot": (1, 1),
               "line": (90, 1)}
    grey = {"channels": "grey", "height": 32, "width": 32, "squash": True, "interpolation": "bilinear", "mean": [0.3],
            "std": [0.35], "invert": True}
    cases = [
        ("large", rgb(224, 224, 256)),
        ("large", rgb(64, 64, 73, "bicubic")),  # difference 9: half to even, down
        ("wide", rgb(64, 64, 75)),              # difference 11: half to even, up
        ("wide", rgb(64, 64, 75, "bicubic")),
        ("wide", rgb(48, 80, squash=True)),
        ("wide", rgb(48, 80, interpolation="bicubic", squash=True)),
        ("wide", rgb(97, 151)),                 # as it is
        ("wide", rgb(50, 60)),                  # crop only
        ("tall", rgb(56, 56, 64)),
        ("tall", rgb(40, 40, 41, "bicubic")),
        ("tall", rgb(64, 64, 20)),              # padding left and right, cropped height
        ("small", rgb(64, 64, 72)),             # enlarged
        ("small", rgb(64, 64, 72, "bicubic")),
        ("small", rgb(33, 32)),                 # padding by an odd difference
        ("dot", rgb(16, 16, 18)),
        ("line", rgb(16, 16, 18, "bicubic")),
        ("wide", grey),
        ("small", grey),
        ("tall", {**grey, "squash": False, "resize": 36, "interpolation": "bicubic", "invert": False}),
        # A box, then a crop: timm's crop modes, and the rounding of Hugging Face's crop.
        ("large", {**rgb(64, 64, [73, 73], "bicubic"), "fit": "squash"}),
        ("wide", {**rgb(48, 80, [55, 92]), "fit": "squash"}),
        ("large", {**rgb(64, 48, [73, 54], "bicubic"), "fit": "cover"}),
        ("tall", {**rgb(48, 64, [54, 73]), "fit": "cover"}),
        ("wide", {**rgb(64, 64, [73, 73], "bicubic"), "fit": "contain", "fill": [124, 116, 104]}),
        ("tall", {**rgb(48, 80, [48, 80]), "fit": "contain", "fill": [124, 116, 104]}),
        ("line", {**rgb(33, 32, [33, 32]), "fit": "contain", "fill": [1, 2, 3]}),
        ("tall", {**grey, "squash": False, "resize": [32, 32], "fit": "contain", "fill": [77], "invert": False}),
        ("wide", {**rgb(64, 64, 75), "crop_rounding": "down"}),
        ("large", {**rgb(64, 64, 73, "bicubic"), "crop_rounding": "down"}),
    ]
    FOLDER.mkdir(parents=True, exist_ok=True)
    for old in FOLDER.iterdir():
        old.unlink()
    for seed, (name, size) in enumerate(sources.items()):
        source(*size, seed).save(FOLDER / f"{name}.png", optimize=True)
    table = []
    for number, (name, spec) in enumerate(cases):
        image = Image.open(FOLDER / f"{name}.png").convert("RGB")
        transform = model_files.torchvision_transform(spec)
        before = [type(t) for t in transform.transforms].index(transforms.ToTensor)
        pixels = transforms.Compose(transform.transforms[:before])(image)
        pixels.save(FOLDER / f"case_{number:02}.png", optimize=True)
        tensor = transform(image)
        random = np.random.default_rng(number)
        values = []
        for _ in range(12):
            at = [int(random.integers(0, n)) for n in tensor.shape]
            values.append([*at, tensor[tuple(at)].item()])
        table.append({"image": f"{name}.png", "pixels": f"case_{number:02}.png", "input": spec, "values": values})
    lines = [json.dumps(case) for case in table]
    (FOLDER / "cases.json").write_text("[\n" + ",\n".join(lines) + "\n]\n", encoding="utf-8")
    print(f"{len(table)} cases, {sum(f.stat().st_size for f in FOLDER.iterdir())} bytes")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
