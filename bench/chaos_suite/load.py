"""The submitted jobs: an endless stream from a seed, with the expected outcome of each job."""

import hashlib
import json
import random
import struct
import zlib
from base64 import b64encode
from dataclasses import dataclass
from pathlib import Path

RESULT, DEAD, EITHER = "result", "dead", "either"


@dataclass(frozen=True)
class Job:
    job_id: str
    kind: str
    key: str  # of the record; the job id unless order is asked by key
    value: bytes
    headers: tuple
    expected: str
    image: str  # equal images must get equal labels; empty: not compared
    prompt: bool = True  # it can be answered at once: counts as pending work when a stall is looked for

    @property
    def digest(self):
        return hashlib.sha1(self.value or b"").hexdigest()


# kind: (share, expected outcome, prompt)
KINDS = {
    "digit": (0.820, RESULT, True),
    "digit_json": (0.060, RESULT, True),
    "photo": (0.030, RESULT, True),           # 0.1 to 1.5 MB
    "leak": (0.030, RESULT, True),            # its worker keeps 1 to 6 MiB
    "slow": (0.020, RESULT, False),
    "undecodable": (0.014, DEAD, True),
    "empty": (0.004, DEAD, True),
    "broken_json": (0.006, DEAD, True),
    "too_many_pixels": (0.004, DEAD, True),
    "oversized": (0.004, DEAD, True),         # more than jobs.max_bytes
    "crash": (0.004, DEAD, False),            # each worker that meets it dies
    "garbage": (0.0034, DEAD, False),
    "hang": (0.0006, DEAD, False),            # each costs a slot three times jobs.timeout
}
MAX_BYTES = 2 << 20  # jobs.max_bytes of the services


def without_prompt_dead_letters(kinds):
    """The same kinds of jobs, but none that becomes a dead letter counts as prompt: the topic of dead letters is
    missing."""
    return {name: (share, expected, prompt and expected != DEAD) for name, (share, expected, prompt) in kinds.items()}


class Load:
    """`next()` makes the next job; `pace(t)` says how many should have been made by then."""

    def __init__(self, seed, repository, rate, ordering="unordered", keys=40, kinds=None):
        self.rng = random.Random(f"load {seed}")
        self.seed, self.rate, self.ordering, self.keys = seed, rate, ordering, keys
        self.kinds = kinds or KINDS
        self.count = 0
        data = Path(repository) / "tests/data"
        self.digits = sorted((data / "digits").glob("*.png"))
        self.damaged = [x for x in sorted((data / "bad").iterdir())
                        if x.name not in ("expected.json", "empty") and not x.name.startswith("huge_header")]
        self.huge = data / "bad/huge_header.png"

    def pace(self, seconds):
        """Bursts: every eighth second brings three times as many."""
        whole, rest = divmod(seconds, 8)
        return int(self.rate * (whole * 10 + min(rest, 7) + 3 * max(0.0, rest - 7)))

    def next(self):
        self.count += 1
        job_id = f"{self.seed}-{self.count:06d}"
        kind = self.rng.choices(list(self.kinds), [x[0] for x in self.kinds.values()])[0]
        _, expected, prompt = self.kinds[kind]
        value, headers, image = self._content(kind, job_id)
        key = job_id
        if self.ordering == "key":
            key = f"key-{self.rng.randrange(self.keys):02d}"
            # The key names the job no longer, so that its value must.
            if kind not in ("digit_json", "broken_json"):
                value = self._json(job_id, value)
        return Job(job_id, kind, key, value, tuple(headers), expected, image, prompt)

    @staticmethod
    def _json(job_id, image):
        return json.dumps({"schema": "ziyu.job.v1", "job_id": job_id, "image": b64encode(image).decode()}).encode()

    def _content(self, kind, job_id):
        digit = self.rng.choice(self.digits)
        fault = {"crash": "crash", "garbage": "garbage", "hang": "hang",
                 "slow": f"slow:{self.rng.randrange(50, 400)}",
                 "leak": f"{self.rng.choice(('retain_tensors', 'native_malloc'))}:{self.rng.randrange(1, 7)}MiB"}
        if kind in fault:
            return digit.read_bytes(), [("ziyu-fault", fault[kind])], digit.name
        if kind == "digit":
            return digit.read_bytes(), [("traceparent", f"00-{zlib.crc32(job_id.encode()):032x}-0000000000000001-01")], digit.name
        if kind == "digit_json":
            return self._json(job_id, digit.read_bytes()), [], digit.name
        if kind == "photo":
            side = self.rng.randrange(180, 700)
            return bitmap(side, side, self.rng), [], ""
        if kind == "undecodable":
            return self.rng.choice(self.damaged).read_bytes(), [], ""
        if kind == "empty":
            return b"", [], ""
        if kind == "broken_json":
            return self.rng.choice((b'{"job_id": 1', b'{"schema": "ziyu.job.v9", "image": ""}', b'{"a": 1}')), [], ""
        if kind == "too_many_pixels":
            return self.huge.read_bytes(), [], ""
        assert kind == "oversized", kind
        return bitmap(900, 900, self.rng), [], ""


def bitmap(width, height, rng):
    """An uncompressed BMP of noise with 3 bytes per pixel."""
    row = (3 * width + 3) // 4 * 4
    noise = rng.randbytes(row)
    pixels = b"".join(noise[i % row:] + noise[:i % row] for i in range(height))
    header = b"BM" + struct.pack("<IHHI", 54 + len(pixels), 0, 0, 54)
    return header + struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, len(pixels), 2835, 2835, 0, 0) + pixels


def png(width, height, ratio, rng):
    """A PNG with 3 bytes per pixel. Decoded, it is about `ratio` (2 to 100) times as large as the file. Its columns
    have the same shades from top to bottom; a stripe beside them is noise."""
    row = 3 * width
    shades = bytes(255 * i // row for i in range(row))
    # What is as in the row above is 0.6 % of it when compressed.
    noisy = int(row * max(0.0, 1 / ratio - 0.006))
    packed = zlib.compressobj(1)
    pixels = packed.compress(b"\0" + shades)
    pixels += b"".join(packed.compress(b"\2" + rng.randbytes(noisy) + bytes(row - noisy)) for _ in range(height - 1))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", pixels + packed.flush())
            + _chunk(b"IEND", b""))


def with_comment(picture, text):
    """The same picture in other bytes: a PNG with a comment."""
    end = 8 + 25  # its signature and its header
    return picture[:end] + _chunk(b"tEXt", b"Comment\0" + text.encode("latin-1")) + picture[end:]


def _chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
