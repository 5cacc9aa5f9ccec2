"""Layouts of TIFF."""

import io
import struct
import zlib

import numpy as np
from PIL import Image

from .common import packed, ALPHA, GREY, HEIGHT, NOISE, NUMBERS, PIXELS, RGB, WIDTH, encoded, picture, put, refused, xmp


def tiff_of(tags: dict[int, tuple[int, list[int]]], pieces: list[bytes], *, order: str = "<", big: bool = False,
            twice: dict[int, tuple[int, list[int]]] | None = None) -> bytes:
    """A TIFF with its directory before the pixels; `tags` have a type, 3 (SHORT), 4 (LONG) and so on, and values."""
    tiles = 322 in tags
    places, sizes = (324, 325) if tiles else (273, 279)
    entries = sorted([*tags.items(), (places, (4, [0] * len(pieces))), (sizes, (4, [len(x) for x in pieces])),
                      *(twice or {}).items()], key=lambda x: x[0])
    step, room = (20, 8) if big else (12, 4)
    start = (16 + 8) if big else (8 + 2)
    base = start + step * len(entries) + (8 if big else 4)
    formats = {1: "B", 3: "H", 4: "I", 5: "I", 6: "b", 7: "B", 8: "h", 9: "i", 10: "i", 11: "f", 12: "d"}

    def values(kind: int, list_: list[int]) -> bytes:
        return struct.pack(f"{order}{len(list_)}{formats[kind]}", *list_)

    extra_size = sum(len(v) + len(v) % 2 for v in (values(*x) for _, x in entries) if len(v) > room)
    at = base + extra_size
    offsets = []
    for piece in pieces:
        offsets.append(at)
        at += len(piece)
    directory, extra = b"", b""
    for tag, (kind, list_) in entries:
        v = values(kind, offsets if tag == places else list_)
        directory += struct.pack(order + ("HHQ" if big else "HHI"), tag, kind, len(list_) // (2 if kind in (5, 10) else 1))
        if len(v) <= room:
            directory += v.ljust(room, b"\0")
        else:
            directory += struct.pack(order + ("Q" if big else "I"), base + len(extra))
            extra += v + bytes(len(v) % 2)
    name = b"II" if order == "<" else b"MM"
    if big:
        head = name + struct.pack(order + "HHHQQ", 43, 8, 0, 16, len(entries))
    else:
        head = name + struct.pack(order + "HIH", 42, 8, len(entries))
    return head + directory + bytes(8 if big else 4) + extra + b"".join(pieces)


def layout(bits: int = 8, samples: int = 3, photometric: int = 2, compression: int = 1, **more) -> dict:
    """The tags of a picture in one strip."""
    tags = {256: (3, [WIDTH]), 257: (3, [HEIGHT]), 258: (3, [bits] * samples), 259: (3, [compression]),
            262: (3, [photometric]), 277: (3, [samples]), 278: (3, [HEIGHT])}
    names = {"rows": 278, "planar": 284, "extra": 338, "format": 339, "fill": 266, "predictor": 317}
    for key, value in more.items():
        tags[names[key]] = (3, value if isinstance(value, list) else [value])
    return tags


def packbits(data: bytes, row: int) -> bytes:
    out = b""
    for at in range(0, len(data), row):
        rest = data[at:at + row]
        while rest:
            out += bytes([min(len(rest), 128) - 1]) + rest[:128]
            rest = rest[128:]
    return out


def tiff() -> None:
    samples16 = (PIXELS.astype(np.uint16) << 8) | 0x5a
    alpha16 = (ALPHA.astype(np.uint16) << 8) | 0x11
    quantized = {bits: RGB.quantize(1 << bits) for bits in (1, 2, 4, 8)}

    def colour_map(bits: int) -> list[int]:
        table = np.zeros((1 << bits, 3), np.uint16)
        own = np.asarray(quantized[bits].getpalette(), np.uint16).reshape(-1, 3)[:1 << bits]
        table[:len(own)] = own * 257
        return [int(x) for x in table.T.reshape(-1)]

    for order, end in (("<", "little"), (">", "big")):
        for white, name in ((0, "white is zero"), (1, "black is zero")):
            for bits in (1, 2, 4, 8):
                values = GREY >> (8 - bits)
                rows = b"".join(packed(values, bits) if bits < 8 else [row.tobytes() for row in values])
                for fill in (1, 2):
                    data = rows if fill == 1 else bytes(int(f"{x:08b}"[::-1], 2) for x in rows)
                    put(f"tiff_grey_{bits}_{'white' if white == 0 else 'black'}_{end}{'_reversed' if fill == 2 else ''}.tiff",
                        f"TIFF, grey, {bits} bits, {name}, {end}-endian{', reversed bits' if fill == 2 else ''}",
                        tiff_of(layout(bits, 1, white, fill=fill), [data], order=order),
                        **({"reference": Image.fromarray(255 - GREY), "note": "Pillow does not know this combination"}
                           if (bits, white, fill) == (8, 0, 2) else {}))
        put(f"tiff_grey_16_{end}.tiff", f"TIFF, grey, 16 bits, {end}-endian",
            tiff_of(layout(16, 1, 1), [((GREY.astype(np.uint16) << 8) | 0x5a).astype(order + "u2").tobytes()], order=order),
            reference=Image.fromarray(GREY), note="Pillow clips 16-bit grey to white")
        for bits in (1, 2, 4, 8):
            values = np.asarray(quantized[bits])
            rows = b"".join(packed(values, bits) if bits < 8 else [row.tobytes() for row in values])
            put(f"tiff_palette_{bits}_{end}.tiff", f"TIFF, palette, {bits} bits, {end}-endian",
                tiff_of({**layout(bits, 1, 3), 320: (3, colour_map(bits))}, [rows], order=order))
        put(f"tiff_rgb_8_{end}.tiff", f"TIFF, RGB, 8 bits, {end}-endian", tiff_of(layout(), [PIXELS.tobytes()], order=order))
        put(f"tiff_rgb_16_{end}.tiff", f"TIFF, RGB, 16 bits, {end}-endian",
            tiff_of(layout(16), [samples16.astype(order + "u2").tobytes()], order=order))
        put(f"tiff_cmyk_8_{end}.tiff", f"TIFF, CMYK, {end}-endian",
            tiff_of(layout(8, 4, 5), [RGB.convert("CMYK").tobytes()], order=order))
        cmyk16 = np.frombuffer(RGB.convert("CMYK").tobytes(), np.uint8).astype(np.uint16) << 8 | 0x33
        put(f"tiff_cmyk_16_{end}.tiff", f"TIFF, CMYK, 16 bits, {end}-endian",
            tiff_of(layout(16, 4, 5), [cmyk16.astype(order + "u2").tobytes()], order=order))
        put(f"tiff_big_{end}.tiff", f"TIFF, BigTIFF, {end}-endian", tiff_of(layout(), [PIXELS.tobytes()], order=order, big=True),
            **({"reference": RGB, "note": "Pillow reads little-endian ones only"} if order == ">" else {}))
        for extra, name in ((None, "unexplained"), (0, "unspecified"), (1, "associated"), (2, "unassociated")):
            data = np.dstack([PIXELS, ALPHA])
            data16 = np.dstack([samples16, alpha16])
            if extra == 1:
                data[..., :3] = data[..., :3].astype(int) * ALPHA[..., None] // 255
                data16[..., :3] = data16[..., :3].astype(int) * alpha16[..., None] // 65535
            more = {} if extra is None else {"extra": extra}
            put(f"tiff_rgba_{name}_{end}.tiff", f"TIFF, RGB with {name} alpha, {end}-endian",
                tiff_of(layout(8, 4, 2, **more), [data.tobytes()], order=order))
            put(f"tiff_rgba_16_{name}_{end}.tiff", f"TIFF, RGB with {name} alpha, 16 bits, {end}-endian",
                tiff_of(layout(16, 4, 2, **more), [data16.astype(order + "u2").tobytes()], order=order))
    for extra, name in ((0, "unspecified"), (2, "unassociated")):
        put(f"tiff_grey_alpha_{name}.tiff", f"TIFF, grey with {name} alpha",
            tiff_of(layout(8, 2, 1, extra=extra), [np.dstack([GREY, ALPHA]).tobytes()]))
        put(f"tiff_palette_alpha_{name}.tiff", f"TIFF, palette with {name} alpha",
            tiff_of({**layout(8, 2, 3, extra=extra), 320: (3, colour_map(8))},
                    [np.dstack([np.asarray(quantized[8]), ALPHA]).tobytes()]))
    refused("tiff_grey_alpha_associated.tiff", "TIFF, grey with associated alpha",
            tiff_of(layout(8, 2, 1, extra=1), [np.dstack([GREY, ALPHA]).tobytes()]),
            "TIFF with grey that is premultiplied by alpha")
    for count in (2, 3):
        data = np.dstack([PIXELS] + [ALPHA] * count).tobytes()
        for first, name in ((0, "unspecified"), (1, "associated"), (2, "unassociated")):
            put(f"tiff_rgb_{name}_extra_{count}.tiff", f"TIFF, RGB with {count} extra samples, {name}",
                tiff_of(layout(8, 3 + count, 2, extra=[first] + [0] * (count - 1)), [data]))
    for count in (1, 2):
        data = np.dstack([np.asarray(RGB.convert("CMYK"))] + [ALPHA] * count).tobytes()
        put(f"tiff_cmyk_extra_{count}.tiff", f"TIFF, CMYK with extra samples: {count}",
            tiff_of(layout(8, 4 + count, 5, extra=[0] * count), [data]))
    put("tiff_rgb_reversed.tiff", "TIFF, RGB, reversed bits",
        tiff_of(layout(fill=2), [bytes(int(f"{x:08b}"[::-1], 2) for x in PIXELS.tobytes())]))
    put("tiff_bits_once.tiff", "TIFF that says its bits once for three samples",
        tiff_of({**layout(), 258: (3, [8])}, [PIXELS.tobytes()]))
    planes = [PIXELS[..., i].tobytes() for i in range(3)]
    put("tiff_rgb_planar.tiff", "TIFF, RGB, in planes", tiff_of(layout(planar=2), planes))
    put("tiff_rgba_planar.tiff", "TIFF, RGB with alpha, in planes",
        tiff_of(layout(8, 4, 2, planar=2, extra=2), [*planes, ALPHA.tobytes()]))
    put("tiff_rgba_planar_unexplained.tiff", "TIFF, RGB with unexplained alpha, in planes",
        tiff_of(layout(8, 4, 2, planar=2), [*planes, ALPHA.tobytes()]))
    refused("tiff_rgba_planar_unexplained_deflate.tiff", "TIFF, RGB with unexplained alpha, in planes, Deflate",
            tiff_of(layout(8, 4, 2, planar=2, compression=8), [zlib.compress(x) for x in [*planes, ALPHA.tobytes()]]),
            "TIFF with extra samples in planes of their own")
    put("tiff_rgb_planar_deflate.tiff", "TIFF, RGB, in planes, Deflate",
        tiff_of(layout(planar=2, compression=8), [zlib.compress(x) for x in planes]))
    put("tiff_rgb_planar_strips.tiff", "TIFF, RGB, in planes and strips",
        tiff_of(layout(planar=2, rows=5), [PIXELS[y:y + 5, :, i].tobytes() for i in range(3) for y in range(0, HEIGHT, 5)]))
    cmyk = np.asarray(Image.fromarray(NOISE).convert("CMYK")) // 2 + np.arange(0, 200, 50, dtype=np.uint8)
    inks = [cmyk[..., i] for i in range(4)]
    put("tiff_cmyk_planar.tiff", "TIFF, CMYK, in planes", tiff_of(layout(8, 4, 5, planar=2), [x.tobytes() for x in inks]))
    put("tiff_cmyk_planar_strips.tiff", "TIFF, CMYK, in planes and strips, Deflate",
        tiff_of(layout(8, 4, 5, planar=2, rows=5, compression=8),
                [zlib.compress(x[y:y + 5].tobytes()) for x in inks for y in range(0, HEIGHT, 5)]))
    put("tiff_cmyk_planar_tiles.tiff", "TIFF, CMYK, in planes and tiles",
        tiff_of({k: v for k, v in layout(8, 4, 5, planar=2).items() if k != 278} | {322: (3, [48]), 323: (3, [32])},
                [np.pad(x, ((0, 32 - HEIGHT), (0, 48 - WIDTH))).tobytes() for x in inks]))
    for bits in (1, 2, 4):
        refused(f"tiff_grey_{bits}_planar.tiff", f"TIFF, grey, {bits} bits, in a plane",
                tiff_of(layout(bits, 1, 1, planar=2), [b"".join(packed(GREY >> (8 - bits), bits))]),
                f"TIFF with {bits}-bit samples in a plane of their own")
    refused("tiff_grey_white_planar.tiff", "TIFF, grey, white is zero, in a plane",
            tiff_of(layout(8, 1, 0, planar=2), [GREY.tobytes()]), "TIFF with 8-bit samples in a plane of their own")
    refused("tiff_rgb_16_planar.tiff", "TIFF, RGB, 16 bits, in planes",
            tiff_of(layout(16, planar=2), [samples16[..., i].astype("<u2").tobytes() for i in range(3)]),
            "TIFF with 16-bit samples in planes of their own")
    # Strips and tiles.
    put("tiff_strips.tiff", "TIFF in strips", tiff_of(layout(rows=5), [PIXELS[y:y + 5].tobytes() for y in range(0, HEIGHT, 5)]))
    put("tiff_strips_of_one_row.tiff", "TIFF in strips of one row", tiff_of(layout(rows=1), [row.tobytes() for row in PIXELS]))
    noise = NOISE.tobytes()
    put("tiff_rows_deflate_long.tiff", "TIFF in strips of one row, Deflate, with more data than pixels",
        tiff_of(layout(rows=1, compression=8), [zlib.compress(row.tobytes() + noise, 0) for row in PIXELS]))
    for size in (16, 32, 64):
        across, down = -(-WIDTH // size), -(-HEIGHT // size)
        board = np.zeros((down * size, across * size, 3), np.uint8)
        board[:HEIGHT, :WIDTH] = PIXELS
        tiles = [board[y:y + size, x:x + size].tobytes() for y in range(0, down * size, size)
                 for x in range(0, across * size, size)]
        tags = layout()
        del tags[278]
        tags |= {322: (3, [size]), 323: (3, [size])}
        put(f"tiff_tiles_{size}.tiff", f"TIFF in tiles of {size}×{size}", tiff_of(tags, tiles))
        put(f"tiff_tiles_{size}_deflate.tiff", f"TIFF in tiles of {size}×{size}, Deflate",
            tiff_of({**tags, 259: (3, [8])}, [zlib.compress(x) for x in tiles]))
        put(f"tiff_tiles_{size}_deflate_long.tiff", f"TIFF in tiles of {size}×{size}, Deflate, with more data than pixels",
            tiff_of({**tags, 259: (3, [8])}, [zlib.compress(x + noise, 0) for x in tiles]))
        grey = [board[y:y + size, x:x + size, 0].tobytes() for y in range(0, down * size, size)
                for x in range(0, across * size, size)]
        put(f"tiff_tiles_{size}_grey.tiff", f"TIFF in tiles of {size}×{size}, grey",
            tiff_of({**tags, 258: (3, [8]), 262: (3, [1]), 277: (3, [1])}, grey))
    refused("tiff_tiles_odd.tiff", "TIFF in tiles of 17×17", tiff_of({**tags, 322: (3, [17]), 323: (3, [17])}, tiles),
            "TIFF with tiles whose size is not a multiple of 16")
    # Compressions.
    put("tiff_deflate.tiff", "TIFF, Deflate", tiff_of(layout(compression=8), [zlib.compress(PIXELS.tobytes())]))
    put("tiff_old_deflate.tiff", "TIFF, Deflate under its old number", tiff_of(layout(compression=32946), [zlib.compress(PIXELS.tobytes())]))
    put("tiff_packbits.tiff", "TIFF, PackBits", tiff_of(layout(compression=32773), [packbits(PIXELS.tobytes(), 3 * WIDTH)]))
    refused("tiff_packbits_across.tiff", "TIFF, PackBits, with runs from one row to the next",
            tiff_of(layout(compression=32773), [packbits(PIXELS.tobytes(), 100)]),
            "… is damaged: its PackBits runs go on behind the end of a row")
    refused("tiff_jpeg_progressive.tiff", "TIFF, JPEG, progressive",
            tiff_of({**layout(photometric=6, compression=7), 530: (3, [1, 1])},
                    [encoded(RGB, "JPEG", subsampling=0, progressive=True)]),
            "… holds a progressive JPEG, which TIFF does not allow")
    put("tiff_lzw.tiff", "TIFF, LZW", encoded(RGB, "TIFF", compression="tiff_lzw"))
    put("tiff_deflate_predictor.tiff", "TIFF, Deflate with differences",
        tiff_of(layout(compression=8, predictor=2), [zlib.compress(np.diff(PIXELS.astype(np.int16), axis=1, prepend=0)
                                                                    .astype(np.uint8).tobytes())]))
    put("tiff_deflate_16.tiff", "TIFF, RGB, 16 bits, Deflate",
        tiff_of(layout(16, compression=8), [zlib.compress(samples16.astype("<u2").tobytes())]))
    put("tiff_deflate_16_big.tiff", "TIFF, RGB, 16 bits, Deflate, big-endian",
        tiff_of(layout(16, compression=8), [zlib.compress(samples16.astype(">u2").tobytes())], order=">"))
    put("tiff_cmyk_lzw.tiff", "TIFF, CMYK, LZW", encoded(RGB.convert("CMYK"), "TIFF", compression="tiff_lzw"))
    put("tiff_rgba_lzw.tiff", "TIFF, RGB with alpha, LZW",
        encoded(Image.fromarray(np.dstack([PIXELS, ALPHA])), "TIFF", compression="tiff_lzw"))
    put("tiff_palette_lzw.tiff", "TIFF, palette, LZW", encoded(quantized[8], "TIFF", compression="tiff_lzw"))
    bilevel = Image.fromarray((GREY > 99).astype(np.uint8) * 255).convert("1")
    for name, title in (("tiff_ccitt", "CCITT run lengths"), ("group3", "CCITT group 3"), ("group4", "CCITT group 4")):
        put(f"tiff_{name.replace('tiff_', '')}.tiff", f"TIFF, {title}", encoded(bilevel, "TIFF", compression=name))
    put("tiff_jpeg_ycbcr.tiff", "TIFF, JPEG of YCbCr", encoded(RGB, "TIFF", compression="jpeg", quality=90))
    put("tiff_jpeg_grey.tiff", "TIFF, JPEG of grey", encoded(RGB.convert("L"), "TIFF", compression="jpeg", quality=90))
    put("tiff_two_pages.tiff", "TIFF of two pages: the first",
        encoded(RGB, "TIFF", save_all=True, append_images=[RGB.transpose(Image.Transpose.ROTATE_180)]))
    put("tiff_pillow.tiff", "TIFF as Pillow writes it", encoded(RGB, "TIFF"))
    put("tiff_unknown_tag.tiff", "TIFF with a tag of its own", tiff_of({**layout(), 60000: (3, [1])}, [PIXELS.tobytes()]))
    put("tiff_icc.tiff", "TIFF with a colour profile, which is not applied",
        encoded(RGB, "TIFF", icc_profile=bytes(range(200))))
    # What is not admitted.
    grey = GREY.tobytes()
    for bits, kind, code, name in ((32, "float", 3, "<f4"), (64, "float", 3, "<f8"), (16, "float", 3, "<f2"),
                                   (8, "signed", 2, "<i1"), (16, "signed", 2, "<i2"), (32, "signed", 2, "<i4")):
        refused(f"tiff_grey_{bits}_{kind}.tiff", f"TIFF, grey, {bits}-bit {kind}",
                tiff_of(layout(bits, 1, 1, format=code), [GREY.astype(name).tobytes()]),
                f"TIFF with {bits}-bit {kind} samples")
    refused("tiff_grey_32.tiff", "TIFF, grey, 32 bits", tiff_of(layout(32, 1, 1), [GREY.astype("<u4").tobytes()]),
            "TIFF with 32-bit samples")
    refused("tiff_grey_12.tiff", "TIFF, grey, 12 bits", tiff_of(layout(12, 1, 1), [grey + grey]), "TIFF with 12-bit samples")
    refused("tiff_grey_16_white.tiff", "TIFF, grey, 16 bits, white is zero", tiff_of(layout(16, 1, 0), [grey + grey]),
            "TIFF with 16-bit samples whose zero is white")
    refused("tiff_lab.tiff", "TIFF, CIE L*a*b*", tiff_of(layout(8, 3, 8), [PIXELS.tobytes()]), "TIFF with CIE L*a*b* colours")
    refused("tiff_ycbcr.tiff", "TIFF, YCbCr without JPEG", tiff_of(layout(8, 3, 6), [PIXELS.tobytes()]),
            "TIFF with YCbCr samples that are not JPEG-compressed")
    refused("tiff_cfa.tiff", "TIFF of a sensor", tiff_of(layout(8, 1, 32803), [grey]), "TIFF with raw sensor (CFA) samples")
    refused("tiff_mixed_bits.tiff", "TIFF, 5-6-5 bits", tiff_of({**layout(), 258: (3, [5, 6, 5])}, [PIXELS.tobytes()]),
            "TIFF with samples of different widths")
    for number, name in ((6, "old-style JPEG"), (34925, "LZMA"), (50000, "ZSTD"), (50001, "WebP"), (34887, "LERC"),
                         (34661, "JBIG"), (33005, "JPEG 2000"), (4321, "unknown (4321)")):
        refused(f"tiff_compression_{number}.tiff", f"TIFF, {name} compression",
                tiff_of(layout(compression=number), [PIXELS.tobytes()]), f"TIFF with {name} compression")
    refused("tiff_width_twice.tiff", "TIFF with two widths", tiff_of(layout(), [PIXELS.tobytes()], twice={256: (3, [9])}),
            "TIFF that has tag 256 twice")
    refused("tiff_no_size.tiff", "TIFF without a width", tiff_of({k: v for k, v in layout().items() if k != 256},
                                                            [PIXELS.tobytes()]), "TIFF without a size")
    # Cut and damaged.
    damaged = "… is damaged or truncated: its data do not match its pixels"
    bits = (NOISE[..., 0] > 128).astype(np.uint8)
    fax = Image.open(io.BytesIO(encoded(Image.fromarray(bits * 255).convert("1"), "TIFF", compression="group4")))
    lzw_source = encoded(Image.fromarray(NOISE), "TIFF", compression="tiff_lzw")
    lzw = Image.open(io.BytesIO(lzw_source))

    def strips(image: Image.Image, source: bytes) -> list[bytes]:
        return [source[o:o + n] for o, n in zip(image.tag_v2[273], image.tag_v2[279])]

    fax_source = fax.fp.getvalue()
    sources = {
        "raw": (layout(), [NOISE.tobytes()]), "deflate": (layout(compression=8), [zlib.compress(NOISE.tobytes())]),
        "packbits": (layout(compression=32773), [packbits(NOISE.tobytes(), 3 * WIDTH)]),
        "lzw": (layout(compression=5), strips(lzw, lzw_source)),
        "group4": ({**layout(1, 1, fax.tag_v2[262], compression=4), 266: (3, [fax.tag_v2.get(266, 1)])}, strips(fax, fax_source)),
    }
    for name, (tags, pieces) in sources.items():
        whole = tiff_of(tags, pieces)
        put(f"tiff_whole_{name}.tiff", f"TIFF of noise, {name}", whole)
        refused(f"tiff_cut_{name}.tiff", f"TIFF, {name}, cut", whole[:-len(pieces[0]) // 2], damaged)
    for name in ("deflate", "lzw", "group4"):
        tags, pieces = sources[name]
        middle = len(pieces[0]) // 2
        broken = pieces[0][:middle] + b"\xff\x00\xff\x00\xff\x00\xff\x00" + pieces[0][middle + 8:]
        refused(f"tiff_damaged_{name}.tiff", f"TIFF, {name}, with changed bytes", tiff_of(tags, [broken]), damaged)
        refused(f"tiff_short_{name}.tiff", f"TIFF, {name}, whose data end early", tiff_of(tags, [pieces[0][:middle]]), damaged)
    jpeg_tiff = encoded(Image.fromarray(NOISE), "TIFF", compression="jpeg", quality=90)
    at = Image.open(io.BytesIO(jpeg_tiff)).tag_v2[273][0]
    size = Image.open(io.BytesIO(jpeg_tiff)).tag_v2[279][0]
    half = at + size // 2
    refused("tiff_damaged_jpeg.tiff", "TIFF, JPEG, with half of its data gone",
            jpeg_tiff[:half] + b"\xff\xd9" + bytes(at + size - half - 2) + jpeg_tiff[at + size:], damaged)
    refused("tiff_lacks_strips.tiff", "TIFF that lacks strips",
            tiff_of(layout(rows=5), [PIXELS[y:y + 5].tobytes() for y in range(0, 15, 5)]),
            "TIFF that is truncated: it names 3 of 5 strips")
    # Orientation.
    for value in range(1, 9):
        put(f"tiff_orientation_{value}.tiff", f"TIFF, orientation {value}", tiff_of({**layout(), 274: (3, [value])}, [PIXELS.tobytes()]))
    put("tiff_orientation_long_big.tiff", "TIFF, orientation as LONG, big-endian",
        tiff_of({**layout(), 274: (4, [6])}, [PIXELS.tobytes()], order=">"))
    for name, (kind, _, values) in NUMBERS.items():
        put(f"tiff_orientation_{name.lower().replace(' ', '_')}.tiff", f"TIFF, orientation as {name}",
            tiff_of({**layout(), 274: (kind, list(values))}, [PIXELS.tobytes()]))
    put("tiff_orientation_deflate.tiff", "TIFF, Deflate, orientation 6",
        tiff_of({**layout(compression=8), 274: (3, [6])}, [zlib.compress(PIXELS.tobytes())]))
    put("tiff_xmp.tiff", "TIFF, XMP orientation", tiff_of({**layout(), 700: (1, list(xmp(6, True)))}, [PIXELS.tobytes()]))
    put("tiff_orientation_byte.tiff", "TIFF, orientation as BYTE, which does not count",
        tiff_of({**layout(), 274: (1, [6])}, [PIXELS.tobytes()]))
    refused("tiff_two_heights.tiff", "TIFF with a list of heights",
            tiff_of({**layout(), 257: (3, [HEIGHT, HEIGHT])}, [PIXELS.tobytes()]), "TIFF whose tag 257 is not one number")
    refused("tiff_no_height.tiff", "TIFF of 0 rows", tiff_of({**layout(), 257: (3, [0])}, [PIXELS.tobytes()]),
            "… pixels")
