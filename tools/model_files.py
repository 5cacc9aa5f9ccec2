"""Writes and checks model folders; the format is described in docs/model-folder.md."""

import hashlib
import json
import warnings
from pathlib import Path

import torch

# TorchScript is in maintenance, and the one format that libtorch loads without a compiler or Python on the machine.
warnings.filterwarnings("ignore", category=FutureWarning, module=r"torch\.jit")
# Shapes that the model checks become constants: the input's shape is fixed anyway.
warnings.filterwarnings("ignore", category=torch.jit.TracerWarning)


def trace_and_save(model, example, weights: Path) -> float:
    """Saves `model` as TorchScript; returns the largest difference between what the saved file and the model
    answer to inputs that were not traced."""
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
                 held_out_accuracy: float | None = None, notes: str = "") -> None:
    """Writes labels.txt and model.json beside the weights `folder`/model.pt."""
    for index, label in enumerate(labels):
        if not label or "\n" in label:
            raise SystemExit(f"label {index} is empty or has more than one line")
    (folder / "labels.txt").write_text("".join(f"{label}\n" for label in labels), encoding="utf-8")
    description = {
        "schema": "ziyu.model/1",
        "name": name,
        "version": version,
        "weights": "model.pt",
        "sha256": sha256(folder / "model.pt"),
        "precision": "fp32",
        "labels": "labels.txt",
        "classes": len(labels),
        "input": preprocessing,
    }
    if held_out_accuracy is not None:
        description["held_out_accuracy"] = round(held_out_accuracy, 4)
    if notes:
        description["notes"] = notes
    text = json.dumps(description, ensure_ascii=False, indent=2)
    (folder / "model.json").write_text(text + "\n", encoding="utf-8")


def torchvision_transform(preprocessing: dict):
    """The torchvision transform that model.json's `input` stands for; the C++ side does the same."""
    from torchvision import transforms as t

    size = (preprocessing["height"], preprocessing["width"])
    filter_ = {"bilinear": t.InterpolationMode.BILINEAR, "bicubic": t.InterpolationMode.BICUBIC}[
        preprocessing["interpolation"]]
    steps = []
    if preprocessing["channels"] == "grey":
        steps.append(t.Grayscale())
    if preprocessing.get("squash"):
        steps.append(t.Resize(size, filter_))
    elif preprocessing.get("resize"):
        steps.append(t.Resize(preprocessing["resize"], filter_))
    steps += [t.CenterCrop(size), t.ToTensor()]
    if preprocessing.get("invert"):
        steps.append(t.Lambda(lambda x: 1 - x))
    steps.append(t.Normalize(preprocessing["mean"], preprocessing["std"]))
    return t.Compose(steps)
