"""Layouts of BMP."""

import struct

import numpy as np
from PIL import Image

from .common import packed, ALPHA, GREY, HEIGHT, PIXELS, RGB, WIDTH, encoded, put, refused


def bmp_of(bits: int, rows: bytes, *, width: int = WIDTH, height: int = HEIGHT, how: int = 0, header: int = 40,
           masks: tuple = (), palette: bytes = b"", colours: int = 0, top_down: bool = False, gap: bytes = b"") -> bytes:
    if header == 12:
        info = struct.pack("<IHHHH", 12, width, height, 1, bits)
    else:
        info = struct.pack("<IiiHHIIiiII", header, width, -height if top_down else height, 1, bits, how, len(rows),
                           2835, 2835, colours, 0)
        extra = b"".join(struct.pack("<I", mask) for mask in masks)
        info += extra if header == 40 else extra.ljust(header - 40, b"\0")
    offset = 14 + len(info) + len(palette) + len(gap)
    return b"BM" + struct.pack("<IHHI", offset + len(rows), 0, 0, offset) + info + palette + gap + rows


def padded(rows: list[bytes]) -> bytes:
    """The rows, the bottom one first, each padded to a multiple of 4 bytes."""
    return b"".join(row + bytes(-len(row) % 4) for row in reversed(rows))


def quads(colours: np.ndarray, size: int = 4) -> bytes:
    table = np.zeros((len(colours), size), np.uint8)
    table[:, :3] = colours[:, ::-1]
    return table.tobytes()


def run_lengths(rows: list[list[int]], *, bits: int = 8, extra: int = 0, literal: bool = False) -> bytes:
    out = b""
    for row in rows:
        row = list(row) + [0] * extra
        at = 0
        while at < len(row):
            count = 1
            while at + count < len(row) and row[at + count] == row[at] and count < 255:
                count += 1
            if literal and len(row) - at >= 3:
                count = min(len(row) - at, 17)
                body = bytes(row[at:at + count]) if bits == 8 else bytes(
                    row[i] << 4 | (row[i + 1] if i + 1 < at + count else 0) for i in range(at, at + count, 2))
                out += bytes([0, count]) + body + bytes(len(body) % 2)
            else:
                if at < WIDTH < at + count:
                    count = WIDTH - at
                out += bytes([count, row[at] if bits == 8 else row[at] * 17])
            at += count
        out += b"\0\0"
    return out + b"\0\x01"


def bmp() -> None:
    reversed_rows = PIXELS[:, :, ::-1]
    bgr = [row.tobytes() for row in reversed_rows]
    colours = {1: 2, 4: 16, 8: 200}
    for bits, count in colours.items():
        quantized = RGB.quantize(count)
        values = np.asarray(quantized)
        table = np.asarray(quantized.getpalette()[:3 * count], np.uint8).reshape(-1, 3)
        if len(table) < count:
            table = np.vstack([table, np.zeros((count - len(table), 3), np.uint8)])
        rows = padded(packed(values, bits) if bits < 8 else [row.tobytes() for row in values])
        put(f"bmp_palette_{bits}.bmp", f"BMP, palette, {bits} bits",
            bmp_of(bits, rows, palette=quads(table), colours=count))
        full = np.vstack([table, np.zeros(((1 << bits) - count, 3), np.uint8)])
        put(f"bmp_palette_{bits}_core.bmp", f"BMP, palette, {bits} bits, header of 12 bytes",
            bmp_of(bits, rows, header=12, palette=quads(full, 3)))
    for bits in (1, 8):
        values = (GREY > 99) if bits == 1 else GREY
        table = np.repeat(np.arange(0, 256, 255 if bits == 1 else 1, dtype=np.uint8)[:, None], 3, axis=1)
        rows = padded(packed(values, 1) if bits == 1 else [row.tobytes() for row in values])
        put(f"bmp_grey_{bits}.bmp", f"BMP, grey, {bits} bits", bmp_of(bits, rows, palette=quads(table)))
    table = np.asarray(RGB.quantize(16).getpalette()[:48], np.uint8).reshape(-1, 3)
    indexed = np.asarray(RGB.quantize(16))
    rows8 = padded([row.tobytes() for row in indexed])
    put("bmp_palette_short.bmp", "BMP with an index behind its palette",
        bmp_of(8, rows8, palette=quads(table[:10]), colours=10))
    ramp = np.repeat(np.arange(100, dtype=np.uint8)[:, None], 3, axis=1)
    put("bmp_grey_short.bmp", "BMP with an index behind its greys",
        bmp_of(8, padded([row.tobytes() for row in GREY]), palette=quads(ramp), colours=100))
    put("bmp_one_colour.bmp", "BMP of 1 bit with one colour, black",
        bmp_of(1, padded(packed(GREY > 99, 1)), palette=bytes(4), colours=1))
    two = np.array([[0] * 3, [255] * 3], np.uint8)
    put("bmp_black_and_white_8.bmp", "BMP, 8 bits, black and white",
        bmp_of(8, padded([row.tobytes() for row in (GREY > 99).astype(np.uint8)]), palette=quads(two), colours=2),
        reference=Image.fromarray((GREY > 99).astype(np.uint8) * 255), note="Pillow takes it for one of 1 bit")
    for header in (40, 52, 56, 64, 108, 124):
        put(f"bmp_rgb_24_header_{header}.bmp", f"BMP, 24 bits, header of {header} bytes", bmp_of(24, padded(bgr), header=header))
    put("bmp_rgb_24_core.bmp", "BMP, 24 bits, header of 12 bytes", bmp_of(24, padded(bgr), header=12))
    put("bmp_rgb_24_top_down.bmp", "BMP, 24 bits, top row first", bmp_of(24, padded(bgr[::-1]), top_down=True))
    put("bmp_rgb_24_gap.bmp", "BMP with a gap before its pixels", bmp_of(24, padded(bgr), gap=bytes(10)))
    put("bmp_rgb_32.bmp", "BMP, 32 bits", bmp_of(32, padded([row.tobytes() for row in np.dstack([reversed_rows, ALPHA])])))
    wide = PIXELS.astype(np.uint32)
    red, green, blue = wide[..., 0], wide[..., 1], wide[..., 2]

    def word(*shifts: int | None) -> list[bytes]:
        value = np.zeros((HEIGHT, WIDTH), np.uint32)
        for sample, shift in zip((red, green, blue, ALPHA.astype(np.uint32)), shifts):
            if shift is not None:
                value |= sample << np.uint32(shift)
        return [row.tobytes() for row in value.astype("<u4")]

    def mask(shift: int | None) -> int:
        return 0 if shift is None else 0xff << shift

    layouts = {"bgrx": (16, 8, 0, None), "xbgr": (24, 16, 8, None), "bgxr": (24, 8, 0, None), "abgr": (24, 16, 8, 0),
               "rgba": (0, 8, 16, 24), "bgra": (16, 8, 0, 24), "bgar": (24, 8, 0, 16)}
    for name, shifts in layouts.items():
        for header in ((40, 52, 56, 108, 124) if shifts[3] is None else (56, 108, 124)):
            put(f"bmp_fields_32_{name}_{header}.bmp", f"BMP, 32 bits, bit fields {name.upper()}, header of {header} bytes",
                bmp_of(32, padded(word(*shifts)), how=3, header=header,
                       masks=tuple(mask(s) for s in shifts)[:3 if header <= 52 else 4]))
    put("bmp_fields_32_zero.bmp", "BMP, 32 bits, bit fields of nothing",
        bmp_of(32, padded(word(16, 8, 0, 24)), how=3, header=108, masks=(0, 0, 0, 0)))
    refused("bmp_fields_32_rgbx.bmp", "BMP, 32 bits, bit fields that Pillow does not know",
            bmp_of(32, padded(word(0, 8, 16)), how=3, masks=(0xff, 0xff00, 0xff0000)),
            "BMP of 32 bits with the bit fields 000000ff 0000ff00 00ff0000 00000000")
    refused("bmp_fields_32_10_bit.bmp", "BMP, 32 bits, fields of 10 bits",
            bmp_of(32, padded(word(0, 8, 16)), how=3, masks=(0x3ff00000, 0xffc00, 0x3ff)),
            "BMP of 32 bits with the bit fields 3ff00000 000ffc00 000003ff 00000000")
    put("bmp_fields_24.bmp", "BMP, 24 bits, bit fields",
        bmp_of(24, padded(bgr), how=3, header=56, masks=(0xff0000, 0xff00, 0xff, 0)))
    five = lambda x: (x.astype(np.uint16) >> 3)
    x555 = five(PIXELS[..., 0]) << 10 | five(PIXELS[..., 1]) << 5 | five(PIXELS[..., 2])
    x565 = five(PIXELS[..., 0]) << 11 | (PIXELS[..., 1].astype(np.uint16) >> 2) << 5 | five(PIXELS[..., 2])
    x555[0, 0], x565[0, 0] = 0x7fff, 0xffff
    rows555, rows565 = (padded([row.tobytes() for row in x.astype("<u2")]) for x in (x555, x565))
    put("bmp_555.bmp", "BMP, 16 bits, 5-5-5", bmp_of(16, rows555))
    for header in (40, 52, 56, 108, 124):
        put(f"bmp_555_fields_{header}.bmp", f"BMP, 16 bits, fields 5-5-5, header of {header} bytes",
            bmp_of(16, rows555, how=3, header=header, masks=(0x7c00, 0x3e0, 0x1f)))
        put(f"bmp_565_fields_{header}.bmp", f"BMP, 16 bits, fields 5-6-5, header of {header} bytes",
            bmp_of(16, rows565, how=3, header=header, masks=(0xf800, 0x7e0, 0x1f)))
    refused("bmp_444_fields.bmp", "BMP, 16 bits, fields 4-4-4", bmp_of(16, rows555, how=3, masks=(0xf00, 0xf0, 0xf)),
            "BMP of 16 bits with the bit fields 00000f00 000000f0 0000000f 00000000")
    # Run lengths.
    listed = [list(map(int, row)) for row in indexed[::-1]]
    blocks = [[(x // 9 + y // 5) % 16 for x in range(WIDTH)] for y in range(HEIGHT)]
    rle = {"runs": run_lengths(blocks), "literals": run_lengths(listed, literal=True),
           "padded": run_lengths(blocks, extra=3)}
    for name, data in rle.items():
        put(f"bmp_rle8_{name}.bmp", f"BMP, 8-bit run lengths, {name}",
            bmp_of(8, data, how=1, palette=quads(table), colours=16))
    rle4 = {"runs": run_lengths(blocks, bits=4), "literals": run_lengths(listed, bits=4, literal=True)}
    for name, data in rle4.items():
        put(f"bmp_rle4_{name}.bmp", f"BMP, 4-bit run lengths, {name}",
            bmp_of(4, data, how=2, palette=quads(table), colours=16))
    moved = run_lengths(blocks[:5])[:-2] + bytes([0, 2, 7, 3]) + run_lengths([[5] * (WIDTH - 7)] + blocks[:14])
    put("bmp_rle8_move.bmp", "BMP, 8-bit run lengths with a move", bmp_of(8, moved, how=1, palette=quads(table), colours=16))
    put("bmp_rle8_short_rows.bmp", "BMP, 8-bit run lengths with short rows",
        bmp_of(8, b"".join(bytes([20, y % 16, 0, 0]) for y in range(HEIGHT)) + b"\0\x01", how=1, palette=quads(table),
               colours=16))
    put("bmp_rle8_no_end.bmp", "BMP, 8-bit run lengths without their end",
        bmp_of(8, rle["runs"][:-2], how=1, palette=quads(table), colours=16))
    early = "… is truncated: its run lengths end before its pixels"
    half = len(rle["runs"]) // 2 & ~1
    refused("bmp_rle8_early_end.bmp", "BMP, 8-bit run lengths that end early",
            bmp_of(8, rle["runs"][:half] + b"\0\x01", how=1, palette=quads(table), colours=16), early)
    refused("bmp_rle8_cut.bmp", "BMP, 8-bit run lengths, cut",
            bmp_of(8, rle["runs"], how=1, palette=quads(table), colours=16)[:-half], early)
    refused("bmp_rle4_cut.bmp", "BMP, 4-bit run lengths, cut",
            bmp_of(4, rle4["literals"], how=2, palette=quads(table), colours=16)[:-200], early)
    refused("bmp_rle8_of_24_bits.bmp", "BMP, 8-bit run lengths of 24 bits", bmp_of(24, padded(bgr), how=1),
            "BMP with 8-bit run lengths of 24-bit pixels")
    refused("bmp_jpeg.bmp", "BMP that holds a JPEG", bmp_of(24, encoded(RGB, "JPEG"), how=4), "BMP that holds a JPEG")
    refused("bmp_png.bmp", "BMP that holds a PNG", bmp_of(24, encoded(RGB, "PNG"), how=5), "BMP that holds a PNG")
    refused("bmp_cmyk_compression.bmp", "BMP with an unknown compression", bmp_of(24, padded(bgr), how=11),
            "BMP with compression 11")
    refused("bmp_header_66.bmp", "BMP with a header of 66 bytes", bmp_of(24, padded(bgr), header=66),
            "BMP with a header of 66 bytes")
    refused("bmp_2_bits.bmp", "BMP of 2 bits", bmp_of(2, padded(packed(indexed & 3, 2)), palette=quads(table[:4])),
            "BMP with 2 bits a pixel")
    refused("bmp_cut.bmp", "BMP, cut", bmp_of(24, padded(bgr))[:-500], "… is truncated: its data end before its pixels")
    refused("bmp_cut_palette.bmp", "BMP, cut within its palette", bmp_of(8, rows8, palette=quads(table), colours=16)[:80],
            "… is truncated: it ends within its palette")
