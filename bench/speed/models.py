"""The models that speed is measured with, in the cache of this machine. Their weights are random: speed does not depend
on them."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ziyu/models"


def folder(name):
    """The folder of `resnet18`, `vit_b_16` (torchvision's) or `noop`, made when it is missing."""
    made = CACHE / name / "1"
    if not (made / "model.json").exists():
        noop() if name == "noop" else export(name)
    return made


def export(name):
    print(f"Making the model {name} ...", file=sys.stderr)
    subprocess.run([sys.executable, ROOT / "tools/export_model.py", name, "--output", CACHE, "--proof", "skip"],
                   check=True, stdout=subprocess.DEVNULL)


def noop():
    """Answers the mean of its input of one pixel: what is left is the service."""
    import torch

    class Noop(torch.nn.Module):
        def forward(self, x):
            mean = x.mean(dim=(1, 2, 3))
            return torch.stack([mean, -mean], 1)

    made = CACHE / "noop/1"
    made.mkdir(parents=True, exist_ok=True)
    torch.jit.script(Noop().eval()).save(str(made / "model.pt"))
    (made / "labels.txt").write_text("yes\nno\n", encoding="utf-8")
    sha256 = hashlib.sha256((made / "model.pt").read_bytes()).hexdigest()
    image = {"channels": "rgb", "height": 1, "width": 1, "squash": True, "interpolation": "bilinear",
             "mean": [0, 0, 0], "std": [1, 1, 1]}
    (made / "model.json").write_text(json.dumps({
        "schema": "ziyu.model/1", "name": "noop", "version": "1", "weights": "model.pt", "sha256": sha256,
        "precision": "fp32", "labels": "labels.txt", "classes": 2, "input": image}), encoding="utf-8")
