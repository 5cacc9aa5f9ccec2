# SPDX-License-Identifier: Apache-2.0
"""Tells what a file of weights is by its first bytes and, for a ZIP archive, its directory, as
model/weights_format.cpp does. Needs no PyTorch."""

import zipfile
from pathlib import Path

# What --checkpoint can take.
READABLE = ("state dict", "pickle", "safetensors", "TorchScript")


def kind_of(path: Path) -> str:
    """TorchScript, state dict, pickle, safetensors, torch.export, AOTInductor, ONNX, Keras, NumPy, HDF5,
    TensorFlow Lite, GGUF, Git LFS, web page, ZIP, cut off, empty, or "" for anything else."""
    with open(path, "rb") as file:
        head = file.read(512)
    if not head:
        return "empty"
    if head.startswith(b"PK\x03\x04"):
        return _kind_of_archive(path)
    length = int.from_bytes(head[:8], "little")
    if head[8:9] == b"{" and 1 < length < path.stat().st_size:
        return "safetensors"
    if head[0] == 0x80 and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return "pickle"
    if head.startswith(b"version https://git-lfs"):
        return "Git LFS"
    if head.startswith(b"\x89HDF"):
        return "HDF5"
    if head[4:8] == b"TFL3":
        return "TensorFlow Lite"
    if head.startswith(b"GGUF"):
        return "GGUF"
    if head.lstrip(b" \t\r\n").startswith(b"<"):
        return "web page"
    if len(head) > 3 and head[0] == 8 and 1 <= head[1] <= 64 and (
            path.suffix == ".onnx" or head[2] in b"\x12\x1a\x22\x3a\x42"):
        return "ONNX"
    return ""


def _kind_of_archive(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            full = archive.namelist()
    except zipfile.BadZipFile:
        return "cut off"
    names = [name.partition("/")[2] or name for name in full]
    if any(name.endswith("constants.pkl") or name.startswith("code/") for name in names):
        return "TorchScript"
    if any("aotinductor/" in name for name in names):
        return "AOTInductor"
    if any(name.endswith(("archive_format", "serialized_exported_program.json", "models/model.json"))
           for name in names):
        return "torch.export"
    if any(name.endswith("data.pkl") for name in names):
        return "state dict"
    if any(name.endswith("model.weights.h5") for name in names):
        return "Keras"
    if any(name.endswith(".npy") for name in names):
        return "NumPy"
    return "ZIP"


def why_no_checkpoint(path: Path, kind: str) -> str:
    """For a file that --checkpoint cannot take: what the file is, and what to do. "" for any other file."""
    from_pytorch = ("export the model from PyTorch: tools/export_model.py ARCHITECTURE --checkpoint STATE_DICT")
    return {
        "torch.export": f"{path} is a program of torch.export (.pt2), not a state dict; in Python, "
                        "torch.save(torch.export.load(FILE).state_dict, 'weights.pt') makes one",
        "AOTInductor": f"{path} is a compiled package of AOTInductor (.pt2), whose weights cannot be taken out; "
                       f"{from_pytorch}",
        "ONNX": f"{path} is ONNX, not a state dict; {from_pytorch}",
        "Keras": f"{path} is a Keras model, not a state dict of PyTorch; convert it first",
        "HDF5": f"{path} is HDF5, such as a Keras model, not a state dict of PyTorch; convert it first",
        "TensorFlow Lite": f"{path} is TensorFlow Lite, not a state dict of PyTorch; convert it first",
        "NumPy": f"{path} is an archive of NumPy arrays, not a state dict; load them into the model, then torch.save "
                 "its state_dict()",
        "GGUF": f"{path} is GGUF, not a state dict; Ziyu runs image classifiers of PyTorch",
        "Git LFS": f"{path} is only a pointer of Git LFS, not the weights; run git lfs pull where it came from",
        "web page": f"{path} is a web page, not weights; download the file itself",
        "ZIP": f"{path} is a ZIP archive without a state dict",
        "cut off": f"{path} ends early: an archive without its directory; download or copy it again",
        "empty": f"{path} is empty; download or copy it again",
    }.get(kind, "")
