#!/usr/bin/env python3
"""Makes the model of the demo: a small convolutional network for handwritten digits.

The data is scikit-learn's bundled copy of "Optical Recognition of Handwritten Digits" (UCI, E. Alpaydin, C. Kaynak;
1797 scans of 8x8 pixels with 17 grey levels). One fifth of it is never trained on; those images are written as PNG
files of several sizes, grey and RGB, dark ink on light paper, for the tests and the demo.

    tools/train_digits.py                    # writes models/digits/1 and tests/data/digits; about 2 minutes

Fixed seeds: the same versions of the libraries on the same kind of CPU give the same model.
"""

import argparse
import json
import random
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn
from torch.nn import functional as F

import model_files

ROOT = Path(__file__).resolve().parent.parent
LABELS = list("零一二三四五六七八九")
SIZE = 32
PREPROCESSING = {
    "channels": "grey", "height": SIZE, "width": SIZE, "squash": True, "interpolation": "bilinear",
    "mean": [0.3], "std": [0.35], "invert": True,
}
# Edge lengths of the held-out PNGs; small ones are the most, to keep the repository small.
SIZES = [32, 40, 48, 48, 64, 64, 80, 96, 128, 256]


class digit_net(nn.Module):
    def __init__(self):
        super().__init__()

        def block(inputs, outputs):
            return [nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]

        self.layers = nn.Sequential(
            *block(1, 16), *block(16, 16), nn.MaxPool2d(2),
            *block(16, 32), *block(32, 32), nn.MaxPool2d(2),
            *block(32, 64), nn.MaxPool2d(2), nn.Dropout(0.3),
            nn.Flatten(), nn.Linear(64 * 4 * 4, 64), nn.ReLU(), nn.Dropout(0.3), nn.Linear(64, len(LABELS)))

    def forward(self, x):
        return self.layers(x)


def as_image(scan: np.ndarray, size: int) -> Image.Image:
    """Dark ink on light paper, `size` pixels wide and high."""
    return Image.fromarray((255 - scan * 255 / 16).round().astype(np.uint8)).resize((size, size), Image.BICUBIC)


def augmented(batch: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Turns, scales, moves and shears each image a little and changes its contrast."""
    count = len(batch)

    def between(low, high):
        return torch.rand(count, generator=generator) * (high - low) + low

    angle, scale, shear = between(-0.22, 0.22), between(0.88, 1.15), between(-0.15, 0.15)
    matrix = torch.zeros(count, 2, 3)
    matrix[:, 0, 0] = torch.cos(angle) * scale
    matrix[:, 0, 1] = (shear - torch.sin(angle)) * scale
    matrix[:, 1, 0] = torch.sin(angle) * scale
    matrix[:, 1, 1] = torch.cos(angle) * scale
    matrix[:, 0, 2], matrix[:, 1, 2] = between(-0.14, 0.14), between(-0.14, 0.14)
    moved = F.grid_sample(batch, F.affine_grid(matrix, batch.shape, align_corners=False),
                          padding_mode="border", align_corners=False)
    noise = torch.randn(moved.shape, generator=generator) * between(0, 0.12).view(-1, 1, 1, 1)
    return moved * between(0.8, 1.2).view(-1, 1, 1, 1) + between(-0.1, 0.1).view(-1, 1, 1, 1) + noise


def train(scans, labels, epochs: int) -> digit_net:
    torch.manual_seed(1)
    generator = torch.Generator().manual_seed(2)
    transform = model_files.torchvision_transform(PREPROCESSING)
    # Each scan in several sizes: resizing up and down again blurs differently.
    sizes = [SIZE, 48, 96, 256]
    x = torch.stack([transform(as_image(scan, size)) for size in sizes for scan in scans])
    y = torch.tensor(labels).repeat(len(sizes))
    model = digit_net()
    steps = epochs * (len(scans) // 64)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=6e-3, total_steps=steps)
    for step in range(steps):
        chosen = torch.randint(len(x), (64,), generator=generator)
        loss = F.cross_entropy(model(augmented(x[chosen], generator)), y[chosen], label_smoothing=0.05)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if (step + 1) % 200 == 0 or step + 1 == steps:
            print(f"step {step + 1} of {steps}, loss {loss.item():.3f}", flush=True)
    return model.eval()


def write_held_out(scans, labels, folder: Path) -> dict[str, int]:
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.png"):
        old.unlink()
    classes = {}
    chooser = random.Random(3)
    for index, (scan, label) in enumerate(zip(scans, labels)):
        size = SIZES[index % len(SIZES)]
        image = as_image(scan, size)
        if size < 128 and chooser.random() < 0.4:
            # Coloured ink on tinted paper, so that the conversion to grey has something to do.
            ink = np.array([chooser.randrange(0, 90) for _ in range(3)])
            paper = np.array([chooser.randrange(215, 256) for _ in range(3)])
            light = np.asarray(image, dtype=np.float32)[..., None] / 255
            image = Image.fromarray((ink + (paper - ink) * light).round().astype(np.uint8))
        name = f"{label}_{index:03}.png"
        image.save(folder / name, optimize=True)
        classes[name] = int(label)
    text = json.dumps(classes, ensure_ascii=False, indent=1)
    (folder / "labels.json").write_text(text + "\n", encoding="utf-8")
    return classes


def accuracy(model, folder: Path, classes: dict[str, int]) -> float:
    transform = model_files.torchvision_transform(PREPROCESSING)
    with torch.no_grad():
        right = 0
        for name, label in classes.items():
            image = Image.open(folder / name).convert("RGB")
            right += model(transform(image)[None]).argmax().item() == label
    return right / len(classes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=ROOT / "models/digits/1", help="model folder to write")
    parser.add_argument("--images", type=Path, default=ROOT / "tests/data/digits", help="held-out images to write")
    parser.add_argument("--epochs", type=int, default=60)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)

    digits = load_digits()
    train_scans, test_scans, train_labels, test_labels = train_test_split(
        digits.images, digits.target, test_size=0.2, stratify=digits.target, random_state=0)
    model = train(train_scans, train_labels, options.epochs)
    classes = write_held_out(test_scans, test_labels, options.images)
    held_out = accuracy(model, options.images, classes)

    options.model.mkdir(parents=True, exist_ok=True)
    difference = model_files.trace_and_save(model, torch.zeros(1, 1, SIZE, SIZE), options.model / "model.pt")
    model_files.write_folder(
        options.model, name="digits", version=options.model.name, labels=LABELS, preprocessing=PREPROCESSING,
        held_out_accuracy=held_out, licence="Apache-2.0",
        notes=f"Trained by tools/train_digits.py on {len(train_scans)} scans of scikit-learn's handwritten digits; "
              f"held_out_accuracy is over the other {len(test_scans)}, tests/data/digits.")
    print(f"held-out accuracy {held_out:.4f} over {len(classes)} images, "
          f"TorchScript differs from eager by at most {difference:.2g}")


if __name__ == "__main__":
    main()
