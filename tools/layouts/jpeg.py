"""Layouts of JPEG."""

import struct

from PIL import Image

from .common import NOISE, NUMBERS, RGB, encoded, exif_block, exif_number, picture, put, refused, with_orientation, xmp


def segment(marker: int, body: bytes) -> bytes:
    return bytes([0xff, marker]) + struct.pack(">H", len(body) + 2) + body


def behind_start(jpeg: bytes, *segments: bytes) -> bytes:
    return jpeg[:2] + b"".join(segments) + jpeg[2:]


def scans_of(jpeg: bytes) -> list[int]:
    """The positions of the start-of-scan markers."""
    at, found = 2, []
    while at < len(jpeg) - 1:
        if jpeg[at] != 0xff or jpeg[at + 1] in (0, 0xff) or 0xd0 <= jpeg[at + 1] <= 0xd8:
            at += 1
            continue
        if jpeg[at + 1] == 0xd9:
            break
        if jpeg[at + 1] == 0xda:
            found.append(at)
        at += 2 + struct.unpack_from(">H", jpeg, at + 2)[0]
    return found


def jpeg() -> None:
    truncated = "… is truncated: its data end before its pixels"
    plain = encoded(RGB, "JPEG", quality=90)
    noisy = Image.fromarray(NOISE)
    for name, factor in (("444", 0), ("422", 1), ("420", 2)):
        for kind, options in (("baseline", {}), ("progressive", {"progressive": True}),
                              ("restart", {"restart_marker_rows": 1}), ("optimized", {"optimize": True})):
            put(f"jpeg_{name}_{kind}.jpg", f"JPEG, colour, {kind}, 4:{name[1]}:{name[2]}",
                encoded(noisy if kind == "restart" else RGB, "JPEG", quality=88, subsampling=factor, **options))
    put("jpeg_odd_1x1.jpg", "JPEG of one pixel", encoded(picture(1, 1), "JPEG"))
    put("jpeg_odd_17x1.jpg", "JPEG of one row", encoded(picture(17, 1), "JPEG", subsampling=2))
    for name, across, down in (("440", 1, 2), ("411", 4, 1), ("410", 4, 2), ("441", 1, 4)):
        put(f"jpeg_{name}.jpg", f"JPEG, sampling factors {across}×{down}", resampled_jpeg(across, down))
    put("jpeg_grey.jpg", "JPEG, grey", encoded(RGB.convert("L"), "JPEG", quality=90))
    put("jpeg_grey_progressive.jpg", "JPEG, grey, progressive", encoded(RGB.convert("L"), "JPEG", progressive=True))
    put("jpeg_rgb_adobe.jpg", "JPEG, RGB without YCbCr (Adobe)", encoded(RGB, "JPEG", quality=92, keep_rgb=True))
    cmyk = encoded(RGB.convert("CMYK"), "JPEG", quality=92)
    put("jpeg_cmyk_adobe.jpg", "JPEG, CMYK (Adobe)", cmyk)
    put("jpeg_cmyk_progressive.jpg", "JPEG, CMYK, progressive",
        encoded(RGB.convert("CMYK"), "JPEG", quality=92, progressive=True))
    ycck = bytearray(cmyk)
    adobe = cmyk.index(b"Adobe")
    ycck[adobe + 11] = 2
    put("jpeg_ycck_adobe.jpg", "JPEG, YCCK (Adobe)", bytes(ycck))
    no_adobe = cmyk[:adobe - 4] + cmyk[adobe + 12:]
    put("jpeg_cmyk_plain.jpg", "JPEG, CMYK without Adobe's marker", no_adobe)
    # What stands around the pixels.
    put("jpeg_no_end_marker.jpg", "JPEG that lacks only its end marker", plain[:-2], reference=plain)
    put("jpeg_progressive_no_end_marker.jpg", "JPEG, progressive, that lacks only its end marker",
        encoded(RGB, "JPEG", progressive=True)[:-2], reference=encoded(RGB, "JPEG", progressive=True))
    put("jpeg_trailer.jpg", "JPEG with a vendor's trailer", plain + b"SEFT\0\0\x01" + bytes(range(256)))
    put("jpeg_trailer_no_end_marker.jpg", "JPEG with a trailer in place of its end marker",
        plain[:-2] + b"\xff\xe1\0\x10vendor's trailer", reference=plain)
    put("jpeg_extraneous.jpg", "JPEG with bytes before its end marker", plain[:-2] + b"\0\0\0\0" + plain[-2:])
    put("jpeg_filled_markers.jpg", "JPEG with filling before markers", plain.replace(b"\xff\xc0", b"\xff\xff\xff\xc0"))
    put("jpeg_comment.jpg", "JPEG with a comment", behind_start(plain, segment(0xfe, "说明".encode())))
    put("jpeg_icc.jpg", "JPEG with a colour profile, which is not applied",
        encoded(RGB, "JPEG", quality=90, icc_profile=bytes(range(200))))
    half = scans_of(plain)[0] + (len(plain) - scans_of(plain)[0]) // 2
    noisy_jpeg = encoded(noisy, "JPEG", quality=90)
    noisy_half = scans_of(noisy_jpeg)[0] + (len(noisy_jpeg) - scans_of(noisy_jpeg)[0]) // 2
    refused("jpeg_cut.jpg", "JPEG cut in half", plain[:half], truncated)
    refused("jpeg_cut_with_end_marker.jpg", "JPEG cut in half, with an end marker", plain[:half] + b"\xff\xd9", truncated)
    refused("jpeg_noise_cut_with_end_marker.jpg", "JPEG cut in half, with an end marker",
            noisy_jpeg[:noisy_half] + b"\xff\xd9", truncated)
    progressive = encoded(noisy, "JPEG", quality=90, progressive=True)
    scans = scans_of(progressive)
    refused("jpeg_progressive_cut.jpg", "JPEG, progressive, cut within a scan",
            progressive[:(scans[2] + scans[3]) // 2] + b"\xff\xd9", truncated)
    refused("jpeg_progressive_lacks_scans.jpg", "JPEG, progressive, without its last scans",
            progressive[:progressive.rindex(b"\xff\xc4", 0, scans[4])] + b"\xff\xd9", "… is truncated: it lacks its last scans")
    restart = encoded(noisy, "JPEG", quality=88, subsampling=0, restart_marker_rows=1)
    second = restart.index(b"\xff\xd1")
    refused("jpeg_restart_missing.jpg", "JPEG that lacks a restart interval",
            restart[:restart.index(b"\xff\xd0")] + restart[second:], "… is damaged: its restart markers are out of order")
    one = bytearray(plain)
    one[plain.index(b"\xff\xc0") + 1] = 0xc1
    put("jpeg_extended.jpg", "JPEG, extended sequential (SOF1)", bytes(one))
    for marker, reason in ((0xc3, "JPEG with lossless coding (SOF3)"), (0xc5, "JPEG with hierarchical coding (SOF5)"),
                           (0xc9, "JPEG with arithmetic coding (SOF9)"), (0xca, "JPEG with arithmetic coding (SOF10)")):
        one[plain.index(b"\xff\xc0") + 1] = marker
        refused(f"jpeg_sof{marker - 0xc0}.jpg", reason, bytes(one), reason)
    one = bytearray(plain)
    one[plain.index(b"\xff\xc0") + 4] = 12
    refused("jpeg_12_bit.jpg", "JPEG with 12-bit samples", bytes(one), "JPEG with 12-bit samples")
    grey = encoded(RGB.convert("L"), "JPEG", quality=90)
    frame = grey.index(b"\xff\xc0")
    two = grey[:frame] + segment(0xc0, grey[frame + 4:frame + 9] + b"\x02\x01\x11\0\x02\x11\0") + grey[frame + 13:]
    refused("jpeg_two_components.jpg", "JPEG with 2 components", two, "JPEG with 2 components")
    no_height = bytearray(plain)
    no_height[plain.index(b"\xff\xc0") + 5:plain.index(b"\xff\xc0") + 7] = b"\0\0"
    refused("jpeg_no_height.jpg", "JPEG whose height stands behind its pixels (DNL)", bytes(no_height),
            "JPEG whose height is not in its header")
    table = plain.index(b"\xff\xdb")
    length = struct.unpack_from(">H", plain, table + 2)[0] + 2
    refused("jpeg_no_table.jpg", "JPEG without a table", plain[:table] + plain[table + length:],
            "… is damaged: it lacks a table")
    no_jfif = plain[:2] + plain[plain.index(b"\xff\xdb"):]
    frame, scan = no_jfif.index(b"\xff\xc0"), scans_of(no_jfif)[0]
    named = bytearray(no_jfif)
    for i, letter in enumerate(b"RGB"):
        named[frame + 10 + 3 * i] = named[scan + 5 + 2 * i] = letter
    put("jpeg_rgb_by_name.jpg", "JPEG, RGB by the names of its components", bytes(named))
    put("jpeg_no_jfif.jpg", "JPEG without JFIF", no_jfif)
    at = plain.index(b"\xff\xc0")
    header = plain[at:at + 19]
    for factors, name in ((0x31, "3x1_2x1"), (0x13, "1x3_1x2"), (0x44, "4x4")):
        odd = bytearray(plain)
        odd[at + 11], odd[at + 14] = factors, {0x31: 0x21, 0x13: 0x12}.get(factors, 0x11)
        refused(f"jpeg_factors_{name}.jpg", f"JPEG, sampling factors {name.replace('_', ' and ').replace('x', '×')}",
                bytes(odd), "… has sampling factors that no decoder takes")
    refused("jpeg_two_frames.jpg", "JPEG with two frame headers", plain[:at] + header + plain[at:], "… has two frame headers")
    refused("jpeg_unknown_marker.jpg", "JPEG with a marker that is unknown", behind_start(plain, segment(0xf0, b"ab")),
            "… has a marker that is unknown")
    refused("jpeg_ls.jpg", "JPEG-LS", b"\xff\xd8" + segment(0xf7, b"\x08\0\x05\0\x05\x01\x01\x11\0") + bytes(30), "JPEG-LS")
    put("jpeg_67_scans.jpg", "JPEG, progressive, in 67 scans", jpeg_of_scans(8))
    refused("jpeg_67_scans_large.jpg", "JPEG of 64 megapixels in 67 scans, each of which takes as long as the image",
            jpeg_of_scans(8000), "… has more than 64 scans")
    # Orientation.
    for value in range(1, 9):
        put(f"jpeg_exif_{value}.jpg", f"JPEG, EXIF orientation {value}", encoded(RGB, "JPEG", quality=90,
                                                                          exif=with_orientation(value)))
    for order, end in (("<", "little"), (">", "big")):
        for kind, name in ((3, "SHORT"), (4, "LONG")):
            put(f"jpeg_exif_{name.lower()}_{end}.jpg", f"JPEG, EXIF orientation as {name}, {end}-endian",
                encoded(RGB, "JPEG", quality=90, exif=b"Exif\0\0" + exif_block(6, order, kind)))
    put("jpeg_exif_two.jpg", "JPEG with two EXIF segments",
        behind_start(plain, segment(0xe1, b"Exif\0\0" + exif_block(6)), segment(0xe1, b"Exif\0\0" + exif_block(3))))
    for order, end in (("<", "little"), (">", "big")):
        for name in NUMBERS:
            put(f"jpeg_exif_{name.lower().replace(' ', '_')}_{end}.jpg", f"JPEG, EXIF orientation as {name}, {end}-endian",
                behind_start(plain, segment(0xe1, b"Exif\0\0" + exif_number(name, order))))
        big = ((b"II+\0" if order == "<" else b"MM\0+") + struct.pack(order + "HHQQ", 8, 0, 16, 1)
               + struct.pack(order + "HHQHHI", 0x112, 3, 1, 6, 0, 0) + bytes(8))
        put(f"jpeg_exif_bigtiff_{end}.jpg", f"JPEG, EXIF as BigTIFF, which does not count, {end}-endian",
            behind_start(plain, segment(0xe1, b"Exif\0\0" + big)))
        put(f"jpeg_exif_bigtiff_and_xmp_{end}.jpg", f"JPEG, EXIF as BigTIFF and XMP, {end}-endian",
            behind_start(plain, segment(0xe1, b"Exif\0\0" + big),
                         segment(0xe1, b"http://ns.adobe.com/xap/1.0/\0" + xmp(6, True))))
    put("jpeg_exif_nonsense.jpg", "JPEG, EXIF orientation 99",
        behind_start(plain, segment(0xe1, b"Exif\0\0" + exif_block(99))))
    for attribute, name in ((True, "attribute"), (False, "element")):
        put(f"jpeg_xmp_{name}.jpg", f"JPEG, XMP orientation as {name}", encoded(RGB, "JPEG", quality=90,
                                                                              xmp=xmp(6, attribute)))
    put("jpeg_exif_and_xmp.jpg", "JPEG, EXIF before XMP", encoded(RGB, "JPEG", quality=90, exif=with_orientation(3),
                                                                 xmp=xmp(6, True)))
    put("jpeg_exif_upright_and_xmp.jpg", "JPEG, EXIF says upright, XMP does not",
        encoded(RGB, "JPEG", quality=90, exif=with_orientation(1), xmp=xmp(6, True)))
    unreadable = exif_block(3)[:4] + b"\0\0\x80\0" + exif_block(3)[8:]
    put("jpeg_exif_unreadable_and_xmp.jpg", "JPEG, EXIF whose directory is elsewhere, and XMP",
        behind_start(plain, segment(0xe1, b"Exif\0\0" + unreadable),
                     segment(0xe1, b"http://ns.adobe.com/xap/1.0/\0" + xmp(6, True))))
    put("jpeg_exif_other_and_xmp.jpg", "JPEG, EXIF that is none, and XMP",
        behind_start(plain, segment(0xe1, b"Exif\0\0no TIFF at all"),
                     segment(0xe1, b"http://ns.adobe.com/xap/1.0/\0" + xmp(6, True))), reference=plain,
        note="Pillow fails at its second look")


def jpeg_of_scans(edge: int) -> bytes:
    """A progressive grey square in 67 scans with the data of one block: each coefficient is a scan of its own, and the
    mean is refined three times."""
    def scan(first: int, last: int, before: int, now: int, data: bytes) -> bytes:
        return segment(0xda, bytes([1, 1, 0, first, last, before << 4 | now])) + data

    one_code = bytes([1] + [0] * 15)
    content = b"\xff\xd8" + segment(0xdb, bytes(1) + bytes([1] * 64))
    content += segment(0xc2, b"\x08" + struct.pack(">HH", edge, edge) + b"\x01\x01\x11\0")
    content += segment(0xc4, b"\0" + one_code + b"\x05") + segment(0xc4, b"\x10" + one_code + b"\0")
    content += scan(0, 0, 0, 3, b"\x4d")  # a difference of 5 bits, 10011
    content += b"".join(scan(0, 0, step + 1, step, b"\xbf") for step in (2, 1, 0))
    return content + b"".join(scan(k, k, 0, 0, b"\x7f") for k in range(1, 64)) + b"\xff\xd9"


def resampled_jpeg(across: int, down: int) -> bytes:
    """A JPEG with rare sampling factors and one block of each colour per unit. Its blocks are those of a grey
    picture."""
    # A picture whose luma blocks are repeated is enough to see how its chroma is stretched.
    base = encoded(picture(64, 64), "JPEG", quality=90, subsampling=0, optimize=False)
    frame = base.index(b"\xff\xc0")
    content = bytearray(base)
    # The number of units shrinks with the factors: the data hold enough for a smaller picture.
    units = 64 // across // down
    width, height = 8 * across * (units // 2), 8 * down * 2
    struct.pack_into(">HH", content, frame + 5, height, width)
    content[frame + 11] = across << 4 | down
    return bytes(content)
