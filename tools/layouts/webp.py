"""Layouts of WebP."""

import struct

import numpy as np
from PIL import Image

from .common import (
    ALPHA, HEIGHT, NOISE, PIXELS, RGB, WIDTH, encoded, exif_block, picture, put, refused, with_orientation, xmp)


def chunks_of(webp: bytes) -> list[tuple[bytes, bytes]]:
    at, found = 12, []
    while at + 8 <= len(webp):
        kind, length = webp[at:at + 4], struct.unpack_from("<I", webp, at + 4)[0]
        found.append((kind, webp[at + 8:at + 8 + length]))
        at += 8 + length + (length & 1)
    return found


def riff(chunks: list[tuple[bytes, bytes]]) -> bytes:
    body = b"".join(kind + struct.pack("<I", len(data)) + data + bytes(len(data) & 1) for kind, data in chunks)
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def webp() -> None:
    rgba = Image.fromarray(np.dstack([PIXELS, ALPHA]))
    noisy = Image.fromarray(NOISE)
    turned = RGB.transpose(Image.Transpose.ROTATE_180)
    for quality in (10, 75, 100):
        put(f"webp_lossy_{quality}.webp", f"WebP, lossy, quality {quality}", encoded(RGB, "WEBP", quality=quality))
    put("webp_lossy_noise.webp", "WebP, lossy, of noise", encoded(noisy, "WEBP", quality=60))
    put("webp_lossy_alpha.webp", "WebP, lossy with alpha", encoded(rgba, "WEBP", quality=90))
    put("webp_lossy_alpha_raw.webp", "WebP, lossy with lossy alpha", encoded(rgba, "WEBP", quality=90, alpha_quality=30))
    put("webp_lossless.webp", "WebP, lossless", encoded(RGB, "WEBP", lossless=True))
    put("webp_lossless_noise.webp", "WebP, lossless, of noise", encoded(noisy, "WEBP", lossless=True))
    put("webp_lossless_alpha.webp", "WebP, lossless with alpha", encoded(rgba, "WEBP", lossless=True, exact=True))
    put("webp_lossless_palette.webp", "WebP, lossless, few colours", encoded(RGB.quantize(5).convert("RGB"), "WEBP", lossless=True))
    put("webp_grey.webp", "WebP of grey", encoded(RGB.convert("L"), "WEBP", quality=80))
    put("webp_1x1.webp", "WebP of one pixel", encoded(picture(1, 1), "WEBP"))
    put("webp_icc.webp", "WebP with a colour profile, which is not applied",
        encoded(RGB, "WEBP", lossless=True, icc_profile=bytes(range(200))))
    animated = encoded(RGB, "WEBP", save_all=True, append_images=[turned], duration=100, lossless=True)
    put("webp_animated.webp", "WebP, animated: the first frame", animated)
    put("webp_animated_lossy.webp", "WebP, animated, lossy: the first frame",
        encoded(RGB, "WEBP", save_all=True, append_images=[turned], duration=100, quality=90))
    put("webp_animated_alpha.webp", "WebP, animated, with alpha",
        encoded(rgba, "WEBP", save_all=True, append_images=[rgba.transpose(Image.Transpose.ROTATE_180)], duration=100,
                quality=90))
    parts = chunks_of(animated)
    first = next(i for i, (kind, _) in enumerate(parts) if kind == b"ANMF")
    put("webp_animated_one_frame.webp", "WebP, an animation of one frame", riff(parts[:first + 1]))
    small = chunks_of(encoded(picture(21, 11), "WEBP", lossless=True))[0]
    frame = struct.pack("<I", 4)[:3] + struct.pack("<I", 3)[:3] + struct.pack("<I", 20)[:3] + struct.pack("<I", 10)[:3]
    put("webp_animated_part.webp", "WebP, animated, the first frame covers a part of it",
        riff([*parts[:first], (b"ANMF", frame + b"\x64\0\0\0" + small[0] + struct.pack("<I", len(small[1])) + small[1]
                               + bytes(len(small[1]) & 1))]))
    put("webp_trailer.webp", "WebP with bytes behind its end", encoded(RGB, "WEBP", lossless=True) + b"trailing")
    plain, lossless = encoded(noisy, "WEBP", quality=90), encoded(noisy, "WEBP", lossless=True)
    refused("webp_cut.webp", "WebP, cut", plain[:len(plain) // 2], "… is truncated")
    broken = "… is damaged or truncated: its data are not those of a picture"
    (kind, data), = chunks_of(plain)
    refused("webp_cut_right_size.webp", "WebP, lossy, whose data end early", riff([(kind, data[:len(data) // 2])]), broken)
    (kind, data), = chunks_of(lossless)
    refused("webp_lossless_cut_right_size.webp", "WebP, lossless, whose data end early",
            riff([(kind, data[:len(data) // 2])]), broken)
    refused("webp_no_picture.webp", "WebP without a picture", riff([(b"VP8X", bytes(4) + struct.pack("<I", WIDTH - 1)[:3]
                                                                   + struct.pack("<I", HEIGHT - 1)[:3])]),
            "… is damaged: its chunks are not those of a WebP")
    extended = chunks_of(encoded(rgba, "WEBP", lossless=True, exif=with_orientation(1)))
    wrong = [(k, d[:4] + struct.pack("<I", 99)[:3] + d[7:] if k == b"VP8X" else d) for k, d in extended]
    refused("webp_two_sizes.webp", "WebP that has two sizes", riff(wrong),
            "… is damaged: its chunks are not those of a WebP")
    for value in (1, 3, 6, 8):
        put(f"webp_exif_{value}.webp", f"WebP, EXIF orientation {value}",
            encoded(RGB, "WEBP", lossless=True, exif=with_orientation(value)))
    put("webp_exif_prefix.webp", "WebP, EXIF with JPEG's prefix",
        encoded(RGB, "WEBP", lossless=True, exif=b"Exif\0\0" + exif_block(6, ">", 4)))
    turning = bytearray(encoded(RGB, "WEBP", save_all=True, append_images=[turned], lossless=True, exif=with_orientation(6)))
    at = turning.rindex(b"ANMF")
    struct.pack_into("<I", turning, at + 4, struct.unpack_from("<I", turning, at + 4)[0] + 6)
    put("webp_exif_frame_too_long.webp", "WebP, EXIF behind a frame that says it is longer than its picture", bytes(turning))
    for attribute, name in ((True, "attribute"), (False, "element")):
        put(f"webp_xmp_{name}.webp", f"WebP, XMP orientation as {name}",
            encoded(RGB, "WEBP", lossless=True, xmp=xmp(6, attribute)))
