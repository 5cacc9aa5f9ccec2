#!/usr/bin/env python3
"""Makes a model that refuses some of its inputs: it throws on very bright images and answers NaN on bright ones.

    tools/make_picky_model.py                # writes tests/data/models/picky/1

The model is TorchScript, so that the choice depends on each input. Tests check that an image on which the model fails
does not affect other images. """

from pathlib import Path

import torch
from torch import nn

import model_files

ROOT = Path(__file__).resolve().parent.parent
LABELS = ["暗", "亮"]


class picky_net(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        light = x.mean()
        if bool(light > 0.9):
            raise RuntimeError("这张图片太亮: its mean is above 0.9")
        if bool(light > 0.8):
            return torch.full([1, 2], float("nan"))
        return torch.stack([1 - light, light]).reshape(1, 2)


def main():
    model = picky_net().eval()
    folder = ROOT / "tests/data/models/picky/1"
    folder.mkdir(parents=True, exist_ok=True)
    torch.jit.save(torch.jit.script(model), str(folder / "model.pt"))
    model_files.write_folder(
        folder, name="picky", version="1", labels=LABELS,
        preprocessing={"channels": "grey", "height": 16, "width": 16, "squash": True, "interpolation": "bilinear",
                       "mean": [0.0], "std": [1.0], "invert": False},
        notes="Made by tools/make_picky_model.py: throws above a mean of 0.9, answers NaN above 0.8. For tests only.")


if __name__ == "__main__":
    main()
