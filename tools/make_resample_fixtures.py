#!/usr/bin/env python3
"""Writes tests/data/resample.txt: what Pillow 13 makes of generated images, for the C++ resampling to match.

    tools/make_resample_fixtures.py

A line is a case: width, height, orientation and seed of the image; 3 (RGB) or 1 (grey) channels; the filter; the size
to resize to; left, top, width and height of the window that counts; and the CRC-32 of the window's bytes. The pixels
are those of `image` below, which tests/unit/model/image/resample_test.cpp repeats.
"""

import random
import zlib
from pathlib import Path

import numpy as np
import PIL
from PIL import Image

FILE = Path(__file__).resolve().parent.parent / "tests/data/resample.txt"
TURNS = {2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
         5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
         8: Image.Transpose.ROTATE_90}
CASES = 2000


def image(width: int, height: int, seed: int) -> Image.Image:
    """Noise, half of it black and white: the cubic filter overshoots at each edge."""
    x = np.arange(3 * width * height, dtype=np.uint32) * np.uint32(2654435761) + np.uint32(seed)
    x ^= x >> np.uint32(15)
    x *= np.uint32(2246822519)
    x ^= x >> np.uint32(13)
    extreme = np.where(x & 512, 255, 0)
    return Image.fromarray(np.where(x & 256, x & 255, extreme).astype(np.uint8).reshape(height, width, 3))


def edge(draw: random.Random) -> int:
    return draw.choice([draw.randint(1, 12), draw.randint(1, 90), draw.randint(60, 300), draw.randint(200, 700)])


def case(draw: random.Random, seed: int) -> str:
    width, height = edge(draw), edge(draw)
    if draw.random() < 0.05:  # a line
        width, height = draw.sample([draw.randint(1, 4), draw.randint(1000, 4000)], 2)
    orientation, channels = draw.randint(1, 8), draw.choice([1, 3, 3])
    name = draw.choice(["bilinear", "bicubic"])
    full = [draw.choice([draw.randint(1, 40), draw.randint(20, 330)]) for _ in range(2)]
    if draw.random() < 0.1:  # an axis that stays as it is
        full[0] = height if orientation >= 5 else width
    window = [draw.choice([edge, draw.randint(1, edge)]) for edge in full]
    left, top = (draw.randint(0, f - w) for f, w in zip(full, window))
    pixels = image(width, height, seed)
    if orientation > 1:
        pixels = pixels.transpose(TURNS[orientation])
    if channels == 1:
        pixels = pixels.convert("L")
    result = pixels.resize(tuple(full), getattr(Image.Resampling, name.upper()))
    result = result.crop((left, top, left + window[0], top + window[1]))
    return (f"{width} {height} {orientation} {seed} {channels} {name} {full[0]} {full[1]} {left} {top} {window[0]} "
            f"{window[1]} {zlib.crc32(result.tobytes())}")


def main() -> None:
    if PIL.__version__.split(".")[0] != "13":
        raise SystemExit(f"Pillow 13 is needed, this is {PIL.__version__}")
    draw = random.Random(13)
    FILE.write_text("".join(case(draw, seed) + "\n" for seed in range(CASES)))


if __name__ == "__main__":
    main()
