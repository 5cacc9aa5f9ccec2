# SPDX-License-Identifier: Apache-2.0
"""Writes and checks model folders; the format is described in docs/model-folder.md."""

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
import warnings
from pathlib import Path

import label_text


@contextlib.contextmanager
def new_version(output: Path, name: str, version: str, force: bool):
    """Yields a temporary folder beside OUTPUT/NAME/VERSION, which becomes that folder if the block ends without an
    exception. Otherwise nothing is left behind, also after a signal that Python turns into an exception. An existing
    version is replaced only by `force`, and at the end."""
    for what, word in (("--name", name), ("--version", version)):
        if not word or word.startswith(".") or "/" in word or "\0" in word:
            raise SystemExit(f"{what} {word!r} cannot be the name of a folder")
    target = output / name / version
    if (target.exists() or target.is_symlink()) and not force:
        raise SystemExit(f"{target} is there already; give another --version, or --force to replace it")
    missing = [folder for folder in (target.parent, *target.parent.parents) if not folder.exists()]
    staging = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{version}.", dir=target.parent))
        yield staging
        umask = os.umask(0)
        os.umask(umask)
        staging.chmod(0o777 & ~umask)
        _put_in_place(staging, target, force)
    except BaseException:
        if staging:
            shutil.rmtree(staging, ignore_errors=True)
        for folder in missing:
            with contextlib.suppress(OSError):
                folder.rmdir()
        raise


def _put_in_place(staging: Path, target: Path, force: bool) -> None:
    old = None
    if force and (target.exists() or target.is_symlink()):
        old = target.with_name(f"{staging.name}.old")
        target.rename(old)
    try:
        staging.rename(target)  # refused where another export has put its own there meanwhile
    except OSError as problem:
        if old:
            old.rename(target)
        raise SystemExit(f"cannot write {target}: {problem.strerror}") from None
    if old and not old.is_symlink():
        shutil.rmtree(old, ignore_errors=True)
    elif old:
        old.unlink()


def trace_and_save(model, example, weights: Path) -> float:
    """Saves `model` as TorchScript; returns the largest difference between what the saved file and the model
    answer to inputs that were not traced."""
    import torch

    # TorchScript is in maintenance, and the one format that libtorch loads without a compiler or Python on the machine.
    warnings.filterwarnings("ignore", message=".*torch.jit.*deprecated.*")
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"torch\.jit")
    # Shapes that the model checks become constants: the input's shape is fixed anyway.
    warnings.filterwarnings("ignore", category=torch.jit.TracerWarning)
    model.eval()
    with torch.inference_mode(False), torch.no_grad():
        traced = torch.jit.trace(model, example, check_trace=False)
        torch.jit.save(traced, str(weights))
        loaded = torch.jit.load(str(weights), map_location="cpu").eval()
        difference = 0.0
        for seed in range(3):
            generator = torch.Generator().manual_seed(seed)
            x = torch.randn(example.shape, generator=generator)
            difference = max(difference, (model(x) - loaded(x)).abs().max().item())
    return difference


def sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_folder(folder: Path, *, name: str, version: str, labels: list[str], preprocessing: dict,
                 activation: str = "softmax", threshold: float | None = None,
                 held_out_accuracy: float | None = None, notes: str = "",
                 licence: str = "") -> None:
    """Writes labels.txt and model.json beside the weights `folder`/model.pt."""
    label_text.check_labels(labels, "labels.txt")
    (folder / "labels.txt").write_text("".join(f"{label}\n" for label in labels), encoding="utf-8")
    description = {
        "schema": "ziyu.model/1",
        "name": name,
        "version": version,
        "weights": "model.pt",
        "sha256": sha256(folder / "model.pt"),
        **({"license": licence} if licence else {}),  # an SPDX expression, of the weights
        "precision": "fp32",
        "labels": "labels.txt",
        "classes": len(labels),
        "input": preprocessing,
    }
    if activation != "softmax":
        description["activation"] = activation
    if threshold is not None:
        description["threshold"] = threshold
    if held_out_accuracy is not None:
        description["held_out_accuracy"] = round(held_out_accuracy, 4)
    if notes:
        description["notes"] = notes
    text = json.dumps(description, ensure_ascii=False, indent=2)
    (folder / "model.json").write_text(text + "\n", encoding="utf-8")


def torchvision_transform(preprocessing: dict):
    """The torchvision transform that model.json's `input` stands for; the C++ side does the same."""
    from torchvision import transforms as t
    from torchvision.transforms import functional as f

    size = (preprocessing["height"], preprocessing["width"])
    filter_ = {"bilinear": t.InterpolationMode.BILINEAR, "bicubic": t.InterpolationMode.BICUBIC}[
        preprocessing["interpolation"]]
    resize, fit = preprocessing.get("resize") or 0, preprocessing.get("fit")
    fill = tuple(preprocessing.get("fill") or ())
    down = preprocessing.get("crop_rounding") == "down"

    def in_proportion(image):
        across, high = image.width / resize[1], image.height / resize[0]
        ratio = max(across, high) if fit == "contain" else min(across, high)
        return f.resize(image, [max(1, round(image.height / ratio)), max(1, round(image.width / ratio))], filter_)

    def pad_and_crop(image):
        wide, high = max(0, size[1] - image.width), max(0, size[0] - image.height)
        if wide or high:
            image = f.pad(image, [wide // 2, high // 2, (wide + 1) // 2, (high + 1) // 2],
                          fill=fill[0] if len(fill) == 1 else fill or 0)
        left, top = image.width - size[1], image.height - size[0]
        left, top = (left // 2, top // 2) if down else (round(left / 2), round(top / 2))
        return f.crop(image, top, left, *size)

    steps = []
    if preprocessing["channels"] == "grey":
        steps.append(t.Grayscale())
    if preprocessing.get("squash"):
        steps.append(t.Resize(size, filter_))
    elif isinstance(resize, list):
        steps.append(t.Resize(tuple(resize), filter_) if fit == "squash" else t.Lambda(in_proportion))
    elif resize:
        steps.append(t.Resize(resize, filter_))
    steps.append(t.Lambda(pad_and_crop) if fill or down else t.CenterCrop(size))
    steps.append(t.ToTensor())
    if preprocessing.get("invert"):
        steps.append(t.Lambda(lambda x: 1 - x))
    steps.append(t.Normalize(preprocessing["mean"], preprocessing["std"]))
    return t.Compose(steps)
