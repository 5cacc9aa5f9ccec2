"""Layouts of PNG."""

import struct
import zlib

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from .common import packed, ALPHA, GREY, HEIGHT, PIXELS, RGB, WIDTH, encoded, exif_block, picture, put, refused, xmp


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_of(rows: list[bytes], bits: int, colour: int, *, width: int = WIDTH, height: int = HEIGHT, interlace: int = 0,
           before: bytes = b"", after: bytes = b"") -> bytes:
    data = zlib.compress(b"".join(b"\0" + row for row in rows))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, interlace))
            + before + chunk(b"IDAT", data) + after + chunk(b"IEND", b""))


ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


def interlaced(samples: np.ndarray, bits: int) -> list[bytes]:
    """The rows of the seven passes of an interlaced PNG. `samples` is [rows, columns, bytes or one value below 8
    bits]."""
    rows = []
    for x, y, dx, dy in ADAM7:
        part = samples[y::dy, x::dx]
        if part.size == 0:
            continue
        rows += packed(part[..., 0], bits) if bits < 8 else [row.tobytes() for row in part]
    return rows


def png() -> None:
    palette = np.asarray(RGB.quantize(16).getpalette()[:48], np.uint8)
    indexed = np.asarray(RGB.quantize(16))
    full = {  # colour type: bits: samples as bytes (or values below 8 bits)
        0: {1: (GREY > 99)[..., None], 2: (GREY >> 6)[..., None], 4: (GREY >> 4)[..., None], 8: GREY[..., None]},
        2: {8: PIXELS},
        3: {1: (indexed & 1)[..., None], 2: (indexed & 3)[..., None], 4: indexed[..., None], 8: indexed[..., None]},
        4: {8: np.dstack([GREY, ALPHA])},
        6: {8: np.dstack([PIXELS, ALPHA])},
    }
    names = {0: "grey", 2: "RGB", 3: "palette", 4: "grey with alpha", 6: "RGB with alpha"}
    for colour, kinds in full.items():
        if colour != 3:
            kinds[16] = np.repeat(kinds[8], 2, axis=2)  # high byte, low byte
            kinds[16][..., 1::2] ^= 0x5a
        for bits, samples in kinds.items():
            samples = samples.astype(np.uint8)
            count = {1: 2, 2: 4, 4: 16, 8: 16}.get(bits, 0)
            before = chunk(b"PLTE", palette[:3 * count].tobytes()) if colour == 3 else b""
            for interlace in (0, 1):
                rows = interlaced(samples, bits) if interlace else (
                    packed(samples[..., 0], bits) if bits < 8 else [row.tobytes() for row in samples])
                content = png_of(rows, bits, colour, interlace=interlace, before=before)
                own = {}
                if bits == 16 and colour == 0:
                    own = {"reference": Image.fromarray(GREY), "note": "Pillow clips 16-bit grey to white"}
                put(f"png_{names[colour].lower().replace(' with ', '_')}_{bits}{'_interlaced' if interlace else ''}.png",
                    f"PNG, {names[colour]}, {bits} bits{', interlaced' if interlace else ''}", content, **own)
    plain = encoded(RGB, "PNG")
    head, rest = plain[:33], plain[33:]
    for filter_type in range(5):
        put(f"png_filter_{filter_type}.png", f"PNG, row filter {filter_type}", filtered_png(filter_type))
    small = interlaced(np.asarray(picture(1, 1)), 8)
    put("png_1x1_interlaced.png", "PNG of one pixel, interlaced",
        png_of(small, 8, 2, width=1, height=1, interlace=1))
    put("png_trns_grey.png", "PNG, grey, one value transparent",
        png_of([row.tobytes() for row in GREY], 8, 0, before=chunk(b"tRNS", b"\0\x60")))
    put("png_trns_rgb.png", "PNG, RGB, one colour transparent",
        head + chunk(b"tRNS", bytes([0, 210, 0, 40, 0, 30])) + rest)
    put("png_trns_palette.png", "PNG, palette with alpha",
        png_of([row.tobytes() for row in indexed], 8, 3,
               before=chunk(b"PLTE", palette.tobytes()) + chunk(b"tRNS", bytes(range(0, 256, 17)))))
    put("png_palette_short.png", "PNG with an index behind its palette",
        png_of([row.tobytes() for row in indexed], 8, 3, before=chunk(b"PLTE", palette[:30].tobytes())))
    put("png_palette_suggested.png", "PNG, RGB with a suggested palette", head + chunk(b"PLTE", palette.tobytes()) + rest)
    put("png_gamma.png", "PNG with gamma, which is not applied", head + chunk(b"gAMA", struct.pack(">I", 100000)) + rest)
    put("png_srgb_chrm.png", "PNG with sRGB and chromaticities",
        head + chunk(b"sRGB", b"\0") + chunk(b"cHRM", struct.pack(">8I", *range(1, 9))) + rest)
    put("png_background.png", "PNG with a background",
        head + chunk(b"bKGD", bytes(6)) + rest)
    put("png_private_chunk.png", "PNG with a private chunk", head + chunk(b"vpAg", b"1234") + rest)
    idat = rest.index(b"IDAT")
    body = rest[idat + 4:idat + 4 + struct.unpack_from(">I", rest, idat - 4)[0]]
    put("png_many_idat.png", "PNG with its data in many chunks", head + b"".join(
        chunk(b"IDAT", body[i:i + 7]) for i in range(0, len(body), 7)) + chunk(b"IDAT", b"") + chunk(b"IEND", b""))
    put("png_apng.png", "PNG, animated: the first frame",
        encoded(RGB, "PNG", save_all=True, append_images=[RGB.transpose(Image.Transpose.ROTATE_180)], duration=100))
    put("png_apng_default_image.png", "PNG, animated, with an image that is not of the animation",
        encoded(RGB, "PNG", save_all=True, default_image=True,
                append_images=[RGB.transpose(Image.Transpose.ROTATE_180)] * 2, duration=100))
    whole = rest[:-12]
    put("png_no_end.png", "PNG complete but for IEND", head + whole)
    put("png_half_end.png", "PNG with half of IEND", head + whole + b"\0\0\0\0IE")
    put("png_wrong_end_checksum.png", "PNG with a wrong checksum of IEND", head + whole + b"\0\0\0\0IENDabcd")
    put("png_trailer.png", "PNG with bytes behind its end", plain + b"trailing bytes")
    extra = zlib.compress(b"".join(b"\0" + row.tobytes() for row in PIXELS) + bytes(1000))
    put("png_too_much_data.png", "PNG with more data than pixels",
        head + chunk(b"IDAT", extra) + chunk(b"IEND", b""))
    bomb = PngInfo()
    for key in range(3):
        bomb.add_text(f"k{key}", "A" * 7_900_000, zip=True)
    put("png_text_bomb.png", "PNG with texts that inflate to 24 MB", encoded(RGB, "PNG", pnginfo=bomb), reference=RGB)
    put("png_profile_bomb.png", "PNG with a colour profile that inflates to 8 MB",
        head + chunk(b"iCCP", b"p\0\0" + zlib.compress(bytes(8_000_000))) + rest, reference=RGB)
    end_early = "… is truncated"
    refused("png_cut.png", "PNG cut in half", plain[:len(plain) // 2], end_early)
    refused("png_cut_complete_chunks.png", "PNG whose data end early",
            head + chunk(b"IDAT", zlib.compress(bytes(10))) + chunk(b"IEND", b""),
            "… is truncated: its data end before its pixels")
    refused("png_lacks_idat.png", "PNG without one of its data chunks", head + chunk(b"IDAT", body[:len(body) // 2])
            + chunk(b"IEND", b""), "… is truncated: its data end before its pixels")
    refused("png_no_pixels.png", "PNG without pixels", head + chunk(b"IEND", b""), "… is truncated: it has no pixels")
    damaged = bytearray(plain)
    damaged[len(plain) // 2] ^= 0x55
    refused("png_damaged.png", "PNG with a changed byte", bytes(damaged),
            "… is damaged: its chunk IDAT has a wrong checksum")
    refused("png_damaged_text.png", "PNG with a wrong checksum of a text", head + chunk(b"tEXt", b"k\0v")[:-1] + b"!" + rest,
            "… is damaged: its chunk tEXt has a wrong checksum")
    changed = bytearray(body)
    changed[len(body) // 2] ^= 0x55
    refused("png_damaged_data.png", "PNG with changed data and the right checksum",
            head + chunk(b"IDAT", bytes(changed)) + chunk(b"IEND", b""),
            "… is damaged: its data cannot be inflated to its pixels")
    refused("png_wrong_adler.png", "PNG with a wrong checksum of its inflated data",
            head + chunk(b"IDAT", body[:-1] + bytes([body[-1] ^ 1])) + chunk(b"IEND", b""),
            "… is damaged: its data cannot be inflated to its pixels")
    refused("png_bad_filter.png", "PNG with a filter that does not exist",
            head
            + chunk(b"IDAT", zlib.compress(b"".join(b"\x09" + row.tobytes() for row in PIXELS))) + chunk(b"IEND", b""),
            "… is damaged: its data cannot be inflated to its pixels")
    refused("png_no_palette.png", "PNG without its palette", png_of([row.tobytes() for row in indexed], 8, 3),
            "… has no palette")
    refused("png_unknown_critical.png", "PNG as Apple's tools write it (CgBI)", plain[:8] + chunk(b"CgBI", b"\x50\0\x20\x02")
            + plain[8:], "PNG in Apple's own form (CgBI)")
    refused("png_no_header.png", "PNG that does not begin with its header", plain[:8] + chunk(b"tEXt", b"k\0v") + plain[8:],
            "PNG that does not begin with its header")
    refused("png_unknown_critical_later.png", "PNG with an unknown critical chunk", head + chunk(b"ABCD", b"") + rest,
            "… has the unknown critical chunk ABCD")
    refused("png_3_bits.png", "PNG of 3 bits", png_of(packed(GREY >> 5, 4), 3, 0),
            "PNG of colour type 0 with 3 bits, which the format does not have")
    refused("png_two_headers.png", "PNG with two headers", head + head[8:] + rest, "… has two headers")
    # Orientation.
    raw = b"Exif\0\0" + exif_block(6)
    lines = "\n".join(raw.hex()[i:i + 72] for i in range(0, len(raw.hex()), 72))
    for kind in ("exif", "APP1"):
        text = f"\n{kind}\n{len(raw):8d}\n{lines}\n".encode()
        key = f"Raw profile type {kind}".encode()
        put(f"png_raw_profile_{kind.lower()}_ztxt.png", f'PNG, "Raw profile type {kind}", compressed',
            head + chunk(b"zTXt", key + b"\0\0" + zlib.compress(text)) + rest)
        put(f"png_raw_profile_{kind.lower()}_text.png", f'PNG, "Raw profile type {kind}"',
            head + chunk(b"tEXt", key + b"\0" + text) + rest)
    put("png_raw_profile_spaced.png", 'PNG, "Raw profile type exif" with spaces of all kinds',
        head + chunk(b"tEXt", b"Raw profile type exif\0\nexif\n8\n\v\f\r\t" + raw.hex(" ").encode()) + rest)
    for attribute, name in ((True, "attribute"), (False, "element")):
        put(f"png_xmp_{name}.png", f"PNG, XMP orientation as {name}",
            head + chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp(6, attribute)) + rest)
    put("png_xmp_compressed.png", "PNG, XMP orientation, compressed",
        head + chunk(b"iTXt", b"XML:com.adobe.xmp\0\x01\0\0\0" + zlib.compress(xmp(8, True))) + rest)
    put("png_exif_before.png", "PNG, EXIF before the pixels", head + chunk(b"eXIf", exif_block(6)) + rest)
    put("png_exif_big_endian_long.png", "PNG, EXIF, big-endian, LONG", head + chunk(b"eXIf", exif_block(8, ">", 4)) + rest)
    put("png_exif_after.png", "PNG, EXIF behind the pixels", head + whole + chunk(b"eXIf", exif_block(6)) + rest[-12:])
    put("png_xmp_after.png", "PNG, XMP behind the pixels",
        head + whole + chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp(6, True)) + rest[-12:])


def filtered_png(kind: int) -> bytes:
    """A PNG in which all rows have the same filter."""
    rows = []
    previous = np.zeros(3 * WIDTH, np.int32)
    for row in PIXELS.reshape(HEIGHT, -1).astype(np.int32):
        left = np.concatenate([np.zeros(3, np.int32), row[:-3]])
        corner = np.concatenate([np.zeros(3, np.int32), previous[:-3]])
        guess = left + previous - corner
        a, b, c = abs(guess - left), abs(guess - previous), abs(guess - corner)
        paeth = np.where((a <= b) & (a <= c), left, np.where(b <= c, previous, corner))
        take = (0, left, previous, (left + previous) // 2, paeth)[kind]
        rows.append(bytes([kind]) + ((row - take) & 255).astype(np.uint8).tobytes())
        previous = row
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, 2, 0, 0, 0))
            + chunk(b"IDAT", zlib.compress(b"".join(rows))) + chunk(b"IEND", b""))
