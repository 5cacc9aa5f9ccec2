#!/usr/bin/env python3
"""Writes small images of each kind that the decoder must accept (tests/data/images) or refuse (tests/data/bad).

    tools/make_test_images.py

The file expected.json beside them has the expected outcome of each file: size and some pixels as Pillow sees them after
`ImageOps.exif_transpose` and `convert("RGB")`, with the tolerance that lossy formats need; or an error's name.
"""

import io
import json
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

DATA = Path(__file__).resolve().parent.parent / "tests/data"
WIDTH, HEIGHT = 40, 24


def picture() -> Image.Image:
    """Four quarters of different colours with soft edges: every wrong turn, flip or channel order shows."""
    colours = np.array([[[210, 40, 30], [30, 180, 60]], [[40, 60, 200], [230, 220, 40]]], dtype=np.uint8)
    return Image.fromarray(colours).resize((WIDTH, HEIGHT), Image.BICUBIC)


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def with_orientation(value: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = value
    return exif


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def huge_png(width: int, height: int) -> bytes:
    """A PNG that is well-formed up to its pixels, of which it has only one row's worth."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", zlib.compress(bytes(1 + 3 * width)))
            + png_chunk(b"IEND", b""))


def expectation(content: bytes, tolerance: int) -> dict:
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(content))).convert("RGB")
    width, height = image.size
    points = sorted({(x, y) for x in (0, width // 4, width * 3 // 4, width - 1)
                     for y in (0, height // 4, height * 3 // 4, height - 1)})
    return {"width": width, "height": height, "tolerance": tolerance,
            "pixels": [[x, y, *image.getpixel((x, y))] for x, y in points]}


def write(folder: Path, files: dict[str, bytes], expected: dict[str, dict]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    lines = [f"{json.dumps(name)}: {json.dumps(expected[name])}" for name in sorted(expected)]
    (folder / "expected.json").write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
    print(f"{folder.name}: {len(files)} images, {sum(f.stat().st_size for f in folder.iterdir())} bytes")


def main() -> None:
    rgb = picture()
    alpha = rgb.copy()
    alpha.putalpha(Image.linear_gradient("L").resize(rgb.size))
    grey16 = Image.fromarray((np.asarray(rgb.convert("L")).astype(np.uint16) << 8) | 0x7f)
    jpeg = encoded(rgb, "JPEG", quality=92)
    png = encoded(rgb, "PNG")
    noise = Image.fromarray(np.random.default_rng(1).integers(0, 256, (96, 96, 3), dtype=np.uint8))
    noisy = encoded(noise, "JPEG", quality=80)

    good = {  # name: (content, tolerance)
        "rgb.jpg": (jpeg, 3),
        "progressive.jpg": (encoded(rgb, "JPEG", quality=92, progressive=True), 3),
        "cmyk.jpg": (encoded(rgb.convert("CMYK"), "JPEG", quality=95), 6),
        "grey.jpg": (encoded(rgb.convert("L"), "JPEG", quality=92), 3),
        "exif_rotated.jpg": (encoded(rgb, "JPEG", quality=92, exif=with_orientation(6)), 3),
        **{f"exif_{n}.jpg": (encoded(rgb, "JPEG", quality=92, exif=with_orientation(n)), 3) for n in range(1, 9)},
        "rgb.png": (png, 0),
        "grey.png": (encoded(rgb.convert("L"), "PNG"), 0),
        "palette.png": (encoded(rgb.quantize(16), "PNG"), 0),
        "palette_transparent.png": (encoded(rgb.quantize(16), "PNG", transparency=0), 0),
        "one_bit.png": (encoded(rgb.convert("1"), "PNG"), 0),
        "alpha.png": (encoded(alpha, "PNG"), 0),
        "exif_rotated.png": (encoded(rgb, "PNG", exif=with_orientation(6)), 0),
        "1x1.png": (encoded(Image.new("RGB", (1, 1), (200, 100, 50)), "PNG"), 0),
        "1x1.jpg": (encoded(Image.new("RGB", (1, 1), (200, 100, 50)), "JPEG", quality=95), 3),
        "rgb.webp": (encoded(rgb, "WEBP", quality=95), 12),
        "lossless.webp": (encoded(rgb, "WEBP", lossless=True), 0),
        "alpha.webp": (encoded(alpha, "WEBP", lossless=True, exact=True), 0),
        "exif_rotated.webp": (encoded(rgb, "WEBP", lossless=True, exif=with_orientation(6)), 0),
        "rgb.bmp": (encoded(rgb, "BMP"), 0),
        "grey.bmp": (encoded(rgb.convert("L"), "BMP"), 0),
        "rgb.tiff": (encoded(rgb, "TIFF", compression="tiff_lzw"), 0),
    }
    bad = {  # name: (content, error)
        "empty": (b"", "empty_image"),
        "not_an_image": ("这不是图片。This is a text.\n".encode(), "undecodable_image"),
        "only_a_signature.png": (png[:8], "undecodable_image"),
        "truncated.jpg": (noisy[: len(noisy) // 2], "undecodable_image"),
        "truncated_progressive.jpg": (encoded(noise, "JPEG", quality=60, progressive=True)[:3000], "undecodable_image"),
        "truncated.png": (png[: len(png) // 2], "undecodable_image"),
        "damaged.png": (png[: len(png) // 2] + bytes([png[len(png) // 2] ^ 0x55]) + png[len(png) // 2 + 1:],
                        "undecodable_image"),
        "truncated.webp": (encoded(rgb, "WEBP", quality=95)[:-40], "undecodable_image"),
        "truncated.bmp": (encoded(rgb, "BMP")[:-500], "undecodable_image"),
        "truncated.tiff": (encoded(rgb, "TIFF")[:1200], "undecodable_image"),
        "animation.gif": (encoded(rgb, "GIF"), "undecodable_image"),
        "huge_header.png": (huge_png(20000, 20000), "image_too_large"),
        "huge_header.bmp": (b"BM" + struct.pack("<IHHIIiiHHIIiiII", 100, 0, 0, 54, 40, 20000, -20000, 1, 24, 0, 0, 0, 0, 0, 0),
                            "image_too_large"),
    }
    # Pillow clips 16-bit grey instead of keeping the high byte: the expectation is ours.
    grey16_expected = expectation(encoded(rgb.convert("L"), "PNG"), 0)
    write(DATA / "images", {**{name: content for name, (content, _) in good.items()}, "grey16.png": encoded(grey16, "PNG")},
          {**{name: expectation(*x) for name, x in good.items()}, "grey16.png": grey16_expected})
    write(DATA / "bad", {name: content for name, (content, _) in bad.items()},
          {name: {"error": error} for name, (_, error) in bad.items()})


if __name__ == "__main__":
    main()
