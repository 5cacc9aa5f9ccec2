"""The images that speed is measured with."""

import io
import random

import numpy
from PIL import Image


def photographs(count=200, seed=1):
    """JPEGs of 0.1 to 1.2 megapixels, some 80 KB each: gradients with noise, 4:3 or 3:4, 4:2:0, quality 80."""
    chance, noise = random.Random(seed), numpy.random.default_rng(seed)
    made = []
    for _ in range(count):
        ratio = chance.choice([4 / 3, 3 / 4, 3 / 2, 16 / 9])
        height = int((chance.uniform(0.1e6, 1.2e6) / ratio) ** 0.5)
        width = int(height * ratio)
        corners = noise.integers(30, 226, (3, 4, 3), numpy.uint8)
        picture = numpy.asarray(Image.fromarray(corners).resize((width, height), Image.BICUBIC)).astype(numpy.int16)
        picture += noise.normal(0, 5, picture.shape).astype(numpy.int16)
        file = io.BytesIO()
        Image.fromarray(picture.clip(0, 255).astype(numpy.uint8)).save(file, "JPEG", quality=80)
        made.append(file.getvalue())
    return made


def small():
    """A bitmap of 1 KB, whose decoding costs nothing."""
    file = io.BytesIO()
    Image.new("RGB", (18, 18), (200, 30, 90)).save(file, "BMP")
    return file.getvalue()
