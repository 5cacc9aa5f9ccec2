#!/usr/bin/env python3
"""Makes a model that leaks by itself: its forward appends to a list that it keeps.

    tools/make_leaky_model.py                # writes tests/data/models/leaky/1

TorchScript, so that the list is an attribute of the module and every call adds a tensor of 64 KiB to it. Its inputs and
outputs have the shapes of the digits model. Its weights come from a fixed seed, so its answers mean nothing. """

from pathlib import Path
from typing import List

import torch
from torch import nn

import model_files

ROOT = Path(__file__).resolve().parent.parent
SIZE = 32
KEPT = 16 * 1024  # floats per call
LABELS = list("零一二三四五六七八九")


class leaky_net(nn.Module):
    history: List[torch.Tensor]

    def __init__(self):
        super().__init__()
        self.classify = nn.Linear(SIZE * SIZE, len(LABELS))
        self.history = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        flat = x.flatten(1)
        # A list "for debugging" that is never emptied: a common mistake.
        self.history.append(flat.mean() + torch.zeros(16384))
        return self.classify(flat)


def main():
    torch.manual_seed(1)
    model = leaky_net().eval()
    folder = ROOT / "tests/data/models/leaky/1"
    folder.mkdir(parents=True, exist_ok=True)
    torch.jit.save(torch.jit.script(model), str(folder / "model.pt"))
    model_files.write_folder(
        folder, name="leaky", version="1", labels=LABELS,
        preprocessing={"channels": "grey", "height": SIZE, "width": SIZE, "squash": True, "interpolation": "bilinear",
                       "mean": [0.3], "std": [0.35], "invert": True},
        notes=f"Made by tools/make_leaky_model.py: keeps a tensor of {4 * KEPT} bytes per call. For tests only.")


if __name__ == "__main__":
    main()
