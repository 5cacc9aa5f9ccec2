#!/usr/bin/env python3
"""Trains the digits model that is in the repository and writes its test images.

scikit-learn's bundled handwritten digits (8x8 scans of real handwriting, 1797 of
them) are split into train and held-out; the held-out ones are also written as PNG
files of several sizes. Training needs the packages of tools/requirements.txt;
building, testing and running Ziyu do not.

    python3 tools/train_digits.py            # writes models/digits/1 and tests/data/digits
"""

import argparse
import hashlib
import json
import pathlib

import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

LABELS = "零 一 二 三 四 五 六 七 八 九".split()
SIDE = 32  # the model's input is 1 x SIDE x SIDE
MEAN, STDDEV = 0.3, 0.35


class DigitsNet(nn.Module):
    def __init__(self):
        super().__init__()

        def block(inputs, outputs):
            return [nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU(), nn.MaxPool2d(2)]

        self.features = nn.Sequential(*block(1, 16), *block(16, 32), *block(32, 48))
        self.head = nn.Sequential(nn.Flatten(), nn.Dropout(0.3), nn.Linear(48 * 4 * 4, len(LABELS)))

    def forward(self, x):
        return self.head(self.features(x))


def to_image(digit, side):
    """An 8x8 digit of 0..16 as a grey PIL image."""
    return Image.fromarray(np.round(digit * (255 / 16)).astype(np.uint8), "L").resize((side, side), Image.BICUBIC)


def to_tensor(image):
    """What model.json's preprocessing says: resize to SIDE x SIDE, 0..1, normalise."""
    squeezed = np.asarray(image.resize((SIDE, SIDE), Image.BILINEAR), dtype=np.float32) / 255
    return torch.from_numpy((squeezed - MEAN) / STDDEV)[None]


def augment(x, generator):
    """Small random shifts, turns and scalings, and noise."""
    n = len(x)
    angle = (torch.rand(n, generator=generator) - 0.5) * 0.4
    scale = 1 + (torch.rand(n, generator=generator) - 0.5) * 0.25
    shift = (torch.rand(n, 2, generator=generator) - 0.5) * 0.25
    cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
    theta = torch.stack([torch.stack([cos, -sin, shift[:, 0]], 1), torch.stack([sin, cos, shift[:, 1]], 1)], 1)
    grid = nn.functional.affine_grid(theta, x.shape, align_corners=False)
    moved = nn.functional.grid_sample(x, grid, padding_mode="border", align_corners=False)
    return moved + 0.05 * torch.randn(moved.shape, generator=generator)


def main():
    root = pathlib.Path(__file__).resolve().parent.parent
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=pathlib.Path, default=root / "models/digits/1")
    parser.add_argument("--images", type=pathlib.Path, default=root / "tests/data/digits")
    parser.add_argument("--epochs", type=int, default=60)
    args = parser.parse_args()
    torch.manual_seed(20)
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(21)

    digits = load_digits()
    train_x, held_x, train_y, held_y = train_test_split(
        digits.images, digits.target, test_size=0.2, random_state=22, stratify=digits.target)
    sizes = [24, 32, 48, 64, 96, 128, 200]
    # Trained on each size once: scaling up and down again blurs differently.
    x = torch.stack([to_tensor(to_image(d, s)) for s in (24, 64, 200) for d in train_x])
    y = torch.from_numpy(np.tile(train_y, 3))

    net = DigitsNet()
    optimiser = torch.optim.AdamW(net.parameters(), lr=3e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 5e-3, args.epochs * (len(x) // 128 + 1))
    for epoch in range(args.epochs):
        net.train()
        for batch in torch.randperm(len(x), generator=generator).split(128):
            loss = nn.functional.cross_entropy(net(augment(x[batch], generator)), y[batch], label_smoothing=0.05)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    net.eval()

    args.images.mkdir(parents=True, exist_ok=True)
    truth, held = {}, []
    for i, (digit, label) in enumerate(zip(held_x, held_y)):
        image = to_image(digit, sizes[i % len(sizes)])
        name = f"{label}_{i:03}.png"
        (image.convert("RGB") if i % 3 == 0 else image).save(args.images / name, optimize=True)
        truth[name] = int(label)
        held.append(to_tensor(image))
    (args.images / "labels.json").write_text(json.dumps(truth, indent=0) + "\n")
    with torch.inference_mode():
        accuracy = (net(torch.stack(held)).argmax(1) == torch.from_numpy(held_y)).float().mean().item()

    args.model.mkdir(parents=True, exist_ok=True)
    with torch.inference_mode():
        traced = torch.jit.freeze(torch.jit.trace(net, torch.zeros(1, 1, SIDE, SIDE)))
    traced.save(str(args.model / "model.pt"))
    (args.model / "labels.txt").write_text("\n".join(LABELS) + "\n", encoding="utf-8")
    description = {
        "name": "digits",
        "version": args.model.name,
        "description": "Handwritten digits, trained on scikit-learn's bundled scans",
        "weights": "model.pt",
        "sha256": hashlib.sha256((args.model / "model.pt").read_bytes()).hexdigest(),
        "precision": "fp32",
        "labels": "labels.txt",
        "preprocessing": {"channels": "grey", "squash": True, "crop": [SIDE, SIDE], "interpolation": "bilinear",
                          "mean": [MEAN], "std": [STDDEV]},
        "held_out_accuracy": round(accuracy, 4),
    }
    (args.model / "model.json").write_text(json.dumps(description, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"held-out accuracy {accuracy:.4f} on {len(held)} images; wrote {args.model} and {args.images}")


if __name__ == "__main__":
    main()
