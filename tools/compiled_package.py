# SPDX-License-Identifier: Apache-2.0
"""Writes the packages of tools/optimize_model.py; the format is described in docs/model-folder.md. Needs no PyTorch."""

import dataclasses
import hashlib
import json
import platform
import re
import shutil
from pathlib import Path

# What generated code and oneDNN choose instructions by. model/compiled/host.cpp has the same list.
ISA_FLAGS = ("amx_bf16", "amx_fp16", "amx_int8", "amx_tile", "avx2", "avx512_bf16", "avx512_fp16", "avx512_vnni",
             "avx512bw", "avx512dq", "avx512f", "avx512vl", "avx_vnni", "f16c", "fma")
ALIGNMENT = 64


@dataclasses.dataclass
class host:
    """The kind of machine that a package is for."""

    vendor: str
    family: int
    model: int
    isa: str
    torch: str

    def folder(self) -> str:
        flags = hashlib.sha256(self.isa.encode()).hexdigest()[:8]
        return f"{self.vendor}-{self.family}-{self.model}-{flags}-torch-{self.torch}"


def host_of(cpuinfo: str, torch: str) -> host:
    """From the text of /proc/cpuinfo."""
    values = {}
    for line in cpuinfo.splitlines():
        name, colon, value = line.partition(":")
        if colon:
            values.setdefault(name.strip(), value.strip())
    flags = set(values.get("flags", "").split())
    return host(values.get("vendor_id", platform.machine()), int(values.get("cpu family", 0)),
                int(values.get("model", 0)), " ".join(x for x in ISA_FLAGS if x in flags), torch)


def this_host(torch: str) -> host:
    return host_of(Path("/proc/cpuinfo").read_text(encoding="utf-8"), torch)


def read_constants(wrapper: str, size: int) -> list[dict]:
    """The constants of generated code, in the order of its blob of `size` bytes."""
    fields: dict[int, dict[str, str]] = {}
    for index, name, value in re.findall(r"constants_info_\[(\d+)\]\.(\w+) = (.*);", wrapper):
        fields.setdefault(int(index), {})[name] = value
    result, at = [], 0
    for index in range(len(fields)):
        x = fields[index]
        if x.get("from_folded") != "false":
            raise SystemExit(f"the generated code computes its constant {x.get('name')} at the start: not supported")
        numbers = {key: [int(n.rstrip("L")) for n in re.findall(r"-?\d+L?", x.get(key, ""))]
                   for key in ("shape", "stride", "opaque_metadata")}
        layout = x.get("layout", "cached_torch_layout_strided")
        result.append({
            "name": x["name"].strip('"'),
            "bytes": int(x["data_size"]),
            "at": at,
            "dtype": re.sub(r".*cached_torch_dtype_", "", x["dtype"]),
            "shape": numbers["shape"],
            "stride": numbers["stride"],
            "offset": int(x["offset"]),
            "layout": "mkldnn" if "mkldnn" in layout else "strided",
            "metadata": bytes(numbers["opaque_metadata"]).hex(),
        })
        at += int(x["data_size"])
    if at != size:
        raise SystemExit(f"the generated code has constants of {at} bytes, but its blob has {size}: this version of "
                         "PyTorch lays them out otherwise")
    return result


class writer:
    """Writes a package to `folder`. Constants that several numbers of images share are stored once."""

    def __init__(self, folder: Path, *, sha256: str, torch: str, precision: str):
        self.folder = folder
        self.description = {"schema": "ziyu.compiled/1", "sha256": sha256,
                            "host": dataclasses.asdict(this_host(torch)), "precision": precision,
                            "constants": "constants.bin", "batches": []}
        self.constants = folder / "constants.bin"
        self.size = 0
        self.known: dict[bytes, int] = {}

    def add(self, rows: int, made: Path) -> None:
        """Adds the code for `rows` images that AOTInductor has written to the folder `made`."""
        (wrapper,), (blob,) = made.glob("*.wrapper.cpp"), made.glob("*.blob")
        for source in made.glob("*.cpp"):
            if "#pragma omp parallel" in source.read_text(encoding="utf-8"):
                raise SystemExit("the generated code starts threads; a worker must have one")
        content = blob.read_bytes()
        constants = read_constants(wrapper.read_text(encoding="utf-8"), len(content))
        for x in constants:
            x["at"] = self._store(content[x["at"]:x["at"] + x["bytes"]])
        library = f"{rows}.so"
        shutil.move(made / "model.so", self.folder / library)
        for calls in made.glob("*.wrapper.json"):  # of operators that libtorch has only by name; its loader looks there
            shutil.move(calls, self.folder / f"{rows}.json")
        self.description["batches"].append({"rows": rows, "library": library, "constants": constants})

    def _store(self, content: bytes) -> int:
        digest = hashlib.sha256(content).digest()
        if digest not in self.known:
            padding = bytes(-self.size % ALIGNMENT)
            with open(self.constants, "ab") as file:
                file.write(padding + content)
            self.known[digest] = self.size + len(padding)
            self.size = self.known[digest] + len(content)
        return self.known[digest]

    def close(self) -> None:
        text = json.dumps(self.description, ensure_ascii=False)
        (self.folder / "package.json").write_text(text + "\n", encoding="utf-8")
