"""The pictures from which the files of all formats are made, and the list of expected results."""

import hashlib
import io
import struct
import warnings

import numpy as np
from PIL import Image, ImageOps

WIDTH, HEIGHT = 41, 23
FILES: dict[str, bytes] = {}
EXPECTED: dict[str, dict] = {}
warnings.simplefilter("ignore")


def picture(width: int = WIDTH, height: int = HEIGHT) -> Image.Image:
    """Four quarters of different colours with soft edges: every wrong turn, flip or channel order shows."""
    colours = np.array([[[210, 40, 30], [30, 180, 60]], [[40, 60, 200], [230, 220, 40]]], dtype=np.uint8)
    return Image.fromarray(colours).resize((width, height), Image.BICUBIC)


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


RGB = picture()
PIXELS = np.asarray(RGB)
GREY = np.asarray(RGB.convert("L"))
ALPHA = np.tile(np.linspace(0, 255, WIDTH).astype(np.uint8), (HEIGHT, 1))
NOISE = np.random.default_rng(3).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)


def rgb_of(content: bytes) -> Image.Image:
    return ImageOps.exif_transpose(Image.open(io.BytesIO(content))).convert("RGB")


def put(name: str, layout: str, content: bytes, *, reference: bytes | Image.Image | None = None, note: str = "") -> None:
    """A file that must decode to Pillow's pixels of itself, or of `reference`."""
    assert name not in FILES, name
    try:
        want = reference if isinstance(reference, Image.Image) else rgb_of(reference or content)
    except Exception as e:
        raise SystemExit(f"{name}: Pillow refuses it: {e}") from e
    pixels = want.convert("RGB").tobytes()
    FILES[name] = content
    EXPECTED[name] = {"layout": layout, "size": list(want.size), "sha256": hashlib.sha256(pixels).hexdigest()}
    if note:
        EXPECTED[name]["note"] = note


def refused(name: str, layout: str, content: bytes, reason: str) -> None:
    """A file that must be refused with exactly this reason. A leading "…" stands for "FORMAT of W×H "."""
    assert name not in FILES, name
    FILES[name] = content
    EXPECTED[name] = {"layout": layout, "reason": reason}


def with_orientation(value: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = value
    return exif


def exif_block(value: int, order: str = "<", kind: int = 3) -> bytes:
    """A TIFF without pixels that has one tag, the orientation, as SHORT (3) or LONG (4)."""
    field = struct.pack(order + ("HH" if kind == 3 else "I"), *((value, 0) if kind == 3 else (value,)))
    return ((b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "IH", 8, 1)
            + struct.pack(order + "HHI", 0x112, kind, 1) + field + struct.pack(order + "I", 0))


#: Types of numbers, as TIFF counts them, with 6 as a value of each.
NUMBERS = {"RATIONAL": (5, "II", (12, 2)), "SBYTE": (6, "b", (6,)), "SSHORT": (8, "h", (6,)), "SLONG": (9, "i", (6,)),
           "SRATIONAL": (10, "ii", (-6, -1)), "FLOAT": (11, "f", (6.0,)), "DOUBLE": (12, "d", (6.0,)),
           "two SHORT": (3, "HH", (6, 8)), "two LONG": (4, "II", (6, 8))}


def exif_number(name: str, order: str = "<") -> bytes:
    """An EXIF block whose orientation is 6 in one of `NUMBERS`."""
    kind, code, values = NUMBERS[name]
    field = struct.pack(order + code, *values)
    inside, outside = (field.ljust(4, b"\0"), b"") if len(field) <= 4 else (struct.pack(order + "I", 26), field)
    return ((b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "IH", 8, 1)
            + struct.pack(order + "HHI", 0x112, kind, 2 if name.startswith("two") else 1) + inside
            + struct.pack(order + "I", 0) + outside)


def xmp(value: int, attribute: bool) -> bytes:
    start = (b'<?xpacket begin="\xef\xbb\xbf" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF '
             b'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
             b'xmlns:tiff="http://ns.adobe.com/tiff/1.0/"')
    said = (b' tiff:Orientation="%d"/>' if attribute else
            b'><tiff:Orientation>%d</tiff:Orientation></rdf:Description>') % value
    return start + said + b'</rdf:RDF></x:xmpmeta><?xpacket end="w"?>'


def packed(values: np.ndarray, bits: int) -> list[bytes]:
    """Packs rows of samples of 1, 2 or 4 bits, the first sample into the high bits."""
    rows = []
    for row in values:
        bools = np.unpackbits(row.astype(np.uint8)[:, None], axis=1)[:, 8 - bits:]
        rows.append(np.packbits(bools.reshape(-1)).tobytes())
    return rows
