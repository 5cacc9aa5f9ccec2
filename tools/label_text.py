# SPDX-License-Identifier: Apache-2.0
"""Reads files of labels and reports mistakes in them, like model/label_text.cpp. Needs no PyTorch."""

import json
import re
import shlex
from pathlib import Path


def likely_encoding(content: bytes) -> str:
    """The name, as iconv has it, of the encoding of a text that is not UTF-8; "" for UTF-8 without NUL bytes."""
    if content.startswith((b"\xff\xfe\0\0", b"\0\0\xfe\xff")):
        return "UTF-32"
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "UTF-16"
    even, odd = content[::2].count(0), content[1::2].count(0)
    if even + odd:
        return "UTF-16LE" if odd >= even else "UTF-16BE"
    if _is(content, "utf-8"):
        return ""
    gbk, big5 = _scores(content)
    if _is(content, "big5") and (not _is(content, "gb18030") or big5 > gbk):
        return "BIG5"
    if _is(content, "gb18030"):
        return "GBK" if _is(content, "gbk") else "GB18030"
    return "WINDOWS-1252"


def _is(content: bytes, encoding: str) -> bool:
    try:
        content.decode(encoding)
        return True
    except UnicodeDecodeError:
        return False


def _scores(content: bytes) -> tuple[float, float]:
    """How well the pairs of bytes fit the common characters of GBK and of Big5."""
    gbk = big5 = 0.0
    at = 0
    while at + 1 < len(content):
        lead, trail = content[at], content[at + 1]
        if lead < 0x80:
            at += 1
            continue
        high, low = 0xA1 <= trail <= 0xFE, 0x40 <= trail <= 0x7E
        if high:
            gbk += 1 if 0xB0 <= lead <= 0xD7 else 0.3 if 0xD8 <= lead <= 0xF7 else 0
        if high or low:
            big5 += 1 if 0xA4 <= lead <= 0xC6 else 0.3 if 0xC9 <= lead <= 0xF9 else 0
        at += 4 if 0x30 <= trail <= 0x39 else 2
    return gbk, big5


def _not_utf8(place: str, encoding: str, content: bytes, path: Path) -> str:
    old, new = shlex.quote(str(path)), shlex.quote(f"{path}.utf8")
    readings = _readings(content, encoding)
    names = " or ".join(name + (f' ("{label}")' if label else "") for name, label in readings)
    commands = "; or ".join(f"iconv -f {name} -t UTF-8 {old} > {new} && mv {new} {old}" for name, _ in readings)
    guess = "nor GBK, Big5 or UTF-16; perhaps " if encoding == "WINDOWS-1252" else "but likely "
    which = " from the one in which the label makes sense" if len(readings) > 1 else ""
    return f"{place} is not UTF-8, {guess}{names}; convert the file{which}: {commands}"


def _readings(content: bytes, likely: str) -> list[tuple[str, str]]:
    """The encodings that the whole text has sense in, the likely one first, each with a label as it then reads."""
    names = [likely]
    if not likely.startswith("UTF-"):
        names += [name for name in ("GBK", "BIG5", "WINDOWS-1252") if name != likely]
    if likely == "GB18030":
        names.remove("GBK")
    # Words of a Latin script have no four letters in a row that are not ASCII.
    if likely != "WINDOWS-1252" and re.search(rb"[\x80-\xff]{4}", content):
        names = [name for name in names if name != "WINDOWS-1252"]
    return [(name, _telling_label(content.decode(name))) for name in names if _is(content, name)] or [(likely, "")]


def _telling_label(text: str) -> str:
    """The first line that can show the encoding: one that is not ASCII."""
    lines = text.removeprefix("\ufeff").splitlines() or [""]
    label = next((line for line in lines if not line.isascii()), lines[0])
    return label if len(label) <= 20 else label[:20] + "…"


def read_labels(path: Path) -> list[str]:
    """One label a line, a JSON list, or JSON with `id2label` (Hugging Face) or {"0": label, ...}.
    If the file is none of these, the program ends and names the line, the likely encodings and what to do."""
    try:
        content = path.read_bytes()
    except OSError as problem:
        raise SystemExit(f"cannot read the labels {path}: {problem.strerror}") from None
    encoding = likely_encoding(content)
    if encoding:
        place = str(path)
        if not encoding.startswith("UTF-"):
            lines = content.split(b"\n")
            place += f" line {next(i for i, line in enumerate(lines, 1) if not _is(line, 'utf-8'))}"
        raise SystemExit(_not_utf8(place, encoding, content, path))
    text = content.decode("utf-8-sig")
    labels = labels_of_json(text, path) if path.suffix == ".json" else text.replace("\r\n", "\n").split("\n")
    if labels and not labels[-1] and path.suffix != ".json":
        labels.pop()  # the end of the last line
    check_labels(labels, str(path))
    return labels


def labels_of_json(text: str, path: Path) -> list[str]:
    try:
        content = json.loads(text)
    except json.JSONDecodeError as problem:
        raise SystemExit(f"{path} is not JSON: {problem}") from None
    if isinstance(content, dict):
        content = content.get("id2label", content)
    if isinstance(content, dict):
        missing = [index for index in range(len(content)) if str(index) not in content]
        if missing:
            raise SystemExit(f"{path} has {len(content)} labels, but none for the class {missing[0]}")
        content = [content[str(index)] for index in range(len(content))]
    if not isinstance(content, list):
        raise SystemExit(f"{path} must be a list of labels or an object with id2label")
    return [str(label) for label in content]


def check_labels(labels: list[str], source: str) -> None:
    """Ends the program if a label cannot be written as one line of labels.txt."""
    if not labels:
        raise SystemExit(f"{source} has no labels")
    for index, label in enumerate(labels):
        if not label.strip(" \t"):
            raise SystemExit(f"{source} line {index + 1} is empty; write one label a line, in the order of the classes")
        if "\n" in label or "\r" in label:
            raise SystemExit(f"label {index} of {source} has more than one line")


def label_warnings(labels: list[str]) -> list[str]:
    """A sentence for what looks like a mistake: labels that stand for several classes, lines that all begin with
    their number ("0,cat")."""
    result = []
    first: dict[str, int] = {}
    again = [(first[label], index) for index, label in enumerate(labels) if first.setdefault(label, index) != index]
    if again:
        one, other = again[0]
        count = "1 label is a duplicate: " if len(again) == 1 else f"{len(again)} labels are duplicates, e.g., "
        result.append(f'{count}"{labels[one]}" stands for the classes {one} and {other}; only the index in a result '
                      "tells them apart")
    numbers = [_leading_number(label) for label in labels]
    if len(labels) > 1 and any(numbers == list(range(base, base + len(labels))) for base in (0, 1)):
        result.append(f'every label begins with its number ("{labels[0]}"), which results will show; labels.txt holds '
                      "labels only, in the order of the classes")
    return result


def _leading_number(label: str) -> int:
    match = re.match(r'[ "]*(\d+)[,;:\t |="]+[^,;:\t |="]', label, re.ASCII)
    return int(match.group(1)) if match else -1
