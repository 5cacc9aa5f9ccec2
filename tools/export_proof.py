# SPDX-License-Identifier: Apache-2.0
"""Proves an export: the same images through the model's original pipeline and, with the exported folder, through
ziyu-worker, the program that serves jobs. A test in Python alone would not prove that the service answers alike."""

import dataclasses
import json
import math
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Of width and height; the sizes and shapes that jobs have: large, small, long, odd.
SIZES = [(640, 480), (480, 640), (1024, 683), (333, 500), (224, 224), (256, 192), (97, 131), (801, 267), (301, 299),
         (150, 450)]


@dataclasses.dataclass
class agreement:
    """How well the exported folder's answers agree with those of the original pipeline."""

    images: int = 0
    same_top: int = 0          # images whose best label is the same
    difference: float = 0      # the largest of one class of one image, of a confidence
    # The largest of one score, as a part of what scores vary by from image to image. Large confidences hide what
    # happens to others, and those of untrained weights are all small: this is the figure that tells.
    of_spread: float = 0
    spread: float = 0

    def proves(self, least_agreement: float, most_of_spread: float) -> bool:
        return self.same_top >= least_agreement * self.images and self.of_spread <= most_of_spread

    def tells_nothing(self) -> bool:
        return not self.spread > 1e-9

    def __str__(self) -> str:
        return (f"top-1 agrees on {self.same_top} of {self.images} images, confidences differ by at most "
                f"{self.difference:.2g}, scores by at most {100 * self.of_spread:.2g} % of their spread")


def find_worker(given: Path | None) -> Path | None:
    """The ziyu-worker to use: the given one, the one that this clone has built, or the one in PATH."""
    if given:
        if not given.is_file():
            raise SystemExit(f"--worker {given}: no such program")
        return given
    built = ROOT / "build/release/bin/ziyu-worker"
    found = shutil.which("ziyu-worker")
    return built if built.is_file() else Path(found) if found else None


def make_images(folder: Path, count: int, seed: int = 0) -> list[Path]:
    """Images of noise over gradients with hard edges, in which a mistake in any step of the preprocessing shows. Every
    fourth is a JPEG, the others are PNG."""
    import numpy as np
    from PIL import Image

    files = []
    for number in range(count):
        random = np.random.default_rng([seed, number])
        width, height = SIZES[number % len(SIZES)]
        y, x = np.mgrid[0:height, 0:width].astype(np.float64)
        planes = []
        for _ in range(3):
            across, down, phase = random.uniform(0.005, 0.2), random.uniform(0.005, 0.2), random.uniform(0, 6)
            planes.append(random.uniform(30, 225) + random.uniform(20, 110) * np.sin(across * x + down * y + phase))
        pixels = np.stack(planes, axis=-1) + random.normal(0, random.uniform(2, 30), (height, width, 1))
        for _ in range(12):
            left, top = random.integers(0, width), random.integers(0, height)
            right, bottom = left + random.integers(1, width // 3 + 2), top + random.integers(1, height // 3 + 2)
            pixels[top:bottom, left:right] = random.integers(0, 256, 3)
        image = Image.fromarray(pixels.clip(0, 255).round().astype(np.uint8))
        kind = "jpg" if number % 4 == 3 else "png"
        file = folder / f"{number:02}-{width}x{height}.{kind}"
        image.save(file, **({"quality": 92} if kind == "jpg" else {"compress_level": 1}))
        files.append(file)
    return files


def served(worker: Path, folder: Path, files: list[Path], classes: int) -> list[dict[int, float]]:
    """The answers of ziyu-worker to each image: class -> confidence."""
    command = [str(worker), "--model", str(folder), "--top-k", str(classes), "--classify", *map(str, files)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", errors="replace",
                              timeout=120 + 60 * len(files))
    except (OSError, subprocess.TimeoutExpired) as problem:
        raise SystemExit(f"{worker} cannot run the exported folder: {problem}") from None
    for line in done.stderr.splitlines():
        if " does not serve: " in line:  # a compiled package: TorchScript has answered
            print(line.replace(str(folder), "the folder"), file=sys.stderr)
    lines = []
    for line in done.stdout.splitlines():
        try:
            lines.append(json.loads(line))
        except json.JSONDecodeError:
            pass
    failed = next((line["error"] for line in lines if "error" in line), None)
    if failed or len(lines) != len(files) or any("top_k" not in line for line in lines):
        said = f"{failed['code']}: {failed['message']}" if failed else (done.stderr.strip().splitlines() or [""])[-1]
        hint = " (was it built before this tool? build it again)" if "--top-k" in done.stderr else ""
        raise SystemExit(f"{worker} cannot serve the exported folder{hint}: {said or f'exit code {done.returncode}'}")
    return [{entry["index"]: entry["confidence"] for entry in line["top_k"]} for line in lines]


def activated(scores: list[float], activation: str) -> list[float]:
    if activation == "none":
        return scores
    if activation == "sigmoid":
        return [1 / (1 + math.exp(-x)) if x > -700 else 0.0 for x in scores]
    highest = max(scores)
    powers = [math.exp(x - highest) for x in scores]
    return [x / sum(powers) for x in powers]


def compare(original: list[list[float]], answers: list[dict[int, float]], activation: str,
            threshold: float | None) -> agreement:
    """`original`: the model's own answers to each image, before the activation."""
    result = agreement(images=len(original))
    ours, theirs = [], []
    for scores, answer in zip(original, answers):
        wanted = activated(scores, activation)
        got = [answer.get(index) for index in range(len(wanted))]
        for index, value in enumerate(got):
            if value is None:  # below the threshold there, as it should be here
                got[index] = wanted[index] if wanted[index] < threshold + 1e-4 else threshold
            result.difference = max(result.difference, abs(got[index] - wanted[index]))
        best = max(range(len(wanted)), key=wanted.__getitem__)
        passed = threshold is None or wanted[best] >= threshold
        found = max(answer, key=lambda index: (answer[index], -index)) if answer else None
        # If two classes are equally good up to rounding, either is right.
        same = found == best or (found is not None and abs(wanted[found] - wanted[best]) <= 1e-6 * abs(wanted[best]))
        close = threshold is not None and abs(wanted[best] - threshold) < 1e-4
        result.same_top += same if passed and found is not None else (not passed and found is None) or close
        compress = (lambda x: math.log(max(x, 1e-30))) if activation == "softmax" else (lambda x: x)
        ours.append([compress(x) for x in got])
        theirs.append([compress(x) for x in wanted])
    result.spread = _spread(theirs)
    largest = max(max(0.0, abs(a - b) - _rounding(b, activation)) for one, other in zip(ours, theirs)
                  for a, b in zip(one, other))
    result.of_spread = largest / result.spread if result.spread else math.inf if largest else 0
    return result


def _rounding(score: float, activation: str) -> float:
    """What a score may differ by since ziyu-worker answers float32. Scores of untrained weights vary by little more."""
    return 2**-22 * (1 if activation == "softmax" else abs(score))  # softmax: of the logarithm of a confidence


def _spread(rows: list[list[float]]) -> float:
    """The standard deviation of a class' score over the images, as a mean over the classes."""
    total = 0.0
    for column in zip(*rows):
        mean = sum(column) / len(column)
        total += math.sqrt(sum((x - mean) ** 2 for x in column) / len(column))
    return total / len(rows[0])
