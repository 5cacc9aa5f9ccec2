#!/usr/bin/env python3
"""Writes tests/data/layouts: a small file of every layout of each admitted format, sound, cut and damaged.

    tools/make_layouts.py        (needs numpy and pillow of tools/requirements.txt)

The file expected.json beside them has the expected outcome of each file: the SHA-256 of the RGB bytes that Pillow makes
of it by `ImageOps.exif_transpose(Image.open(f)).convert("RGB")`, and their size; or the reason with which it is
refused. Where Ziyu differs from Pillow on purpose, `reference=` names the pixels that it must give, and `note` says
why. """

import json
import re
from pathlib import Path

import numpy as np
from layouts import bmp, jpeg, png, tiff, webp
from layouts.common import EXPECTED, FILES, encoded, with_orientation
from PIL import Image

#: What does not make another row of the table in docs/model-folder.md.
DETAILS = ((r", (little|big)-endian", ""), (r", header of \d+ bytes", ""), (r"orientation [1-8]$", "orientation 1 to 8"),
           (r", quality \d+", ""))
ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "tests/data/layouts"


def outcome(x: dict) -> str:
    if "reason" in x:
        return f"refused: “{x['reason']}”"
    return "decoded" + (f" ({x['note']})" if "note" in x else "")


def rows() -> dict[str, str]:
    """The table: one row per layout, with its outcome. Sets "row" of each file."""
    found: dict[str, set[str]] = {}
    for x in EXPECTED.values():
        x["row"] = x["layout"]
        for pattern, instead in DETAILS:
            x["row"] = re.sub(pattern, instead, x["row"])
        found.setdefault(x["row"], set()).add(outcome(x))
    for x in EXPECTED.values():
        if len(found[x["row"]]) > 1:
            x["row"] = x["layout"]
    return {x["row"]: outcome(x) for x in EXPECTED.values()}


def write_table(path: Path) -> None:
    before, rest = path.read_text(encoding="utf-8").split("<!-- layouts -->\n")
    after = rest.split("<!-- end of layouts -->\n")[1]
    table = "| layout | outcome |\n|---|---|\n" + "".join(f"| {row} | {x} |\n" for row, x in rows().items())
    path.write_text(f"{before}<!-- layouts -->\n{table}<!-- end of layouts -->\n{after}", encoding="utf-8")


def peaks() -> dict[str, bytes]:
    """Images of 2,400 × 1,800 pixels whose decoders need different memory, of one colour, so that they are small."""
    rgb = Image.new("RGB", (2400, 1800), (200, 120, 40))
    rgba = rgb.copy()
    rgba.putalpha(Image.linear_gradient("L").resize(rgb.size))
    grey16 = Image.fromarray(np.full((1800, 2400), 3000, np.uint16))
    return {
        "baseline.jpg": encoded(rgb, "JPEG", quality=50, optimize=True),
        "baseline_444_turned.jpg": encoded(rgb, "JPEG", quality=50, optimize=True, subsampling=0,
                                           exif=with_orientation(6)),
        "progressive_420.jpg": encoded(rgb, "JPEG", quality=50, progressive=True),
        "progressive_444.jpg": encoded(rgb, "JPEG", quality=50, progressive=True, subsampling=0),
        "cmyk.jpg": encoded(rgb.convert("CMYK"), "JPEG", quality=50, optimize=True),
        "cmyk_progressive.jpg": encoded(rgb.convert("CMYK"), "JPEG", quality=50, progressive=True),
        "rgb.png": encoded(rgb, "PNG"),
        "palette.png": encoded(rgb.quantize(4), "PNG"),
        "grey_16.png": encoded(grey16, "PNG"),
        "lossy.webp": encoded(rgb, "WEBP", quality=30),
        "lossy_alpha.webp": encoded(rgba, "WEBP", quality=30),
        "lossless.webp": encoded(rgb, "WEBP", lossless=True),
        "lossless_alpha.webp": encoded(rgba, "WEBP", lossless=True),
        "deflate.tiff": encoded(rgb, "TIFF", compression="tiff_adobe_deflate"),
        "one_strip.tiff": encoded(rgb, "TIFF", compression="tiff_adobe_deflate", tiffinfo={278: 1800}),
        "grey_16.tiff": encoded(grey16, "TIFF", compression="tiff_adobe_deflate"),
        "jpeg.tiff": encoded(rgb, "TIFF", compression="jpeg", quality=50),
    }


def main() -> None:
    for make in (jpeg.jpeg, png.png, bmp.bmp, webp.webp, tiff.tiff):
        make()
    OUT.mkdir(parents=True, exist_ok=True)
    for old in OUT.iterdir():
        old.unlink()
    for name, content in FILES.items():
        (OUT / name).write_bytes(content)
    write_table(ROOT / "docs/model-folder.md")
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(x, ensure_ascii=False)}" for name, x in sorted(EXPECTED.items()))
    (OUT / "expected.json").write_text("{\n" + lines + "\n}\n", encoding="utf-8")
    large = ROOT / "tests/data/peaks"
    large.mkdir(parents=True, exist_ok=True)
    for name, content in peaks().items():
        (large / name).write_bytes(content)
    print(f"{len(FILES)} files, {sum(map(len, FILES.values()))} bytes in {OUT}")


if __name__ == "__main__":
    main()
