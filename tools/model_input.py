# SPDX-License-Identifier: Apache-2.0
"""Turns a model's own preprocessing into model.json's `input`. Steps that Ziyu does not have are refused by name."""

import re

IMAGENET = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])


class unsupported(Exception):
    """The preprocessing has a step that Ziyu does not have."""


def _pair(size) -> list[int]:
    """[height, width] of a size in any form that the libraries use."""
    if isinstance(size, int):
        return [size, size]
    size = [int(x) for x in size]
    return size * 2 if len(size) == 1 else size


def _interpolation(mode) -> str:
    """The name that torchvision's InterpolationMode or Pillow's number stands for."""
    numbers = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic", 4: "box", 5: "hamming"}
    name = numbers.get(int(mode), str(mode)) if isinstance(mode, int) else str(getattr(mode, "value", mode))
    if name not in ("bilinear", "bicubic"):
        raise unsupported(f"the model's images are resized by {name} interpolation, which Ziyu does not have; "
                          "--interpolation bicubic or bilinear takes another, and the proof shows what that costs")
    return name


def _described(size: list[int], resize, fit: str, interpolation: str, mean, std, fill=(), down=False) -> dict:
    """An `input`. `resize`: 0, the shorter edge, or [height, width] with `fit`."""
    squash = fit == "squash" and resize == size
    result = {"channels": "grey" if len(mean) == 1 else "rgb", "height": size[0], "width": size[1],
              "resize": 0 if squash else resize, "squash": squash, "interpolation": interpolation,
              "mean": [float(x) for x in mean], "std": [float(x) for x in std], "invert": False}
    if isinstance(result["resize"], list):
        result["fit"] = fit
    if any(fill):
        result["fill"] = [int(x) for x in fill]
    if down:
        result["crop_rounding"] = "down"
    if len(mean) not in (1, 3):
        raise unsupported(f"the model takes images with {len(mean)} channels; Ziyu has 1 and 3")
    return result


def of_steps(steps, interpolation: str | None = None) -> dict:
    """The `input` for the steps of a torchvision `Compose`, as timm and torchvision make them. `interpolation` replaces
    that of the steps."""
    size, resize, fit, how, fill, mean, std = None, 0, "", "bilinear", (), None, None
    for step in steps:
        kind = type(step).__name__
        if kind == "Resize":
            how = interpolation or _interpolation(step.interpolation)
            single = isinstance(step.size, int) or len(step.size) == 1
            resize, fit = (_pair(step.size)[0], "") if single else (_pair(step.size), "squash")
        elif kind == "ResizeKeepRatio" and step.longest in (0.0, 1.0):
            how = interpolation or _interpolation(step.interpolation)
            resize, fit = _pair(step.size), "contain" if step.longest else "cover"
        elif kind in ("CenterCrop", "CenterCropOrPad") and getattr(step, "padding_mode", "constant") == "constant":
            size = _pair(step.size)
            fill = getattr(step, "fill", 0) or ()
            fill = [fill] if isinstance(fill, int) else list(fill)
        elif kind == "Normalize":
            mean, std = [float(x) for x in step.mean], [float(x) for x in step.std]
        elif kind not in ("ToTensor", "MaybeToTensor"):
            raise unsupported(f"the model's preprocessing has the step {kind}, which Ziyu does not have")
    if mean is None:
        raise unsupported("the model's preprocessing does not normalise to numbers, which Ziyu expects")
    if size is None and fit == "squash":
        size = resize
    if size is None:
        raise unsupported("the model's preprocessing gives images of different sizes")
    return _described(size, resize, fit, how, mean, std, fill)


def of_torchvision(preset, interpolation: str | None = None) -> dict:
    """The `input` for `weights.transforms()` of torchvision."""
    if type(preset).__name__ != "ImageClassification":
        raise unsupported(f"the weights' transforms are {type(preset).__name__}, not those of an image classifier")
    if not preset.antialias:
        raise unsupported("the weights' transforms resize without antialiasing")
    return _described(_pair(preset.crop_size), _pair(preset.resize_size)[0], "",
                      interpolation or _interpolation(preset.interpolation), preset.mean, preset.std)


def of_processor(processor, interpolation: str | None = None) -> dict:
    """The `input` for an image processor of `transformers` (preprocessor_config.json)."""
    kind = re.sub(r"(Fast|Pil)$", "", type(processor).__name__)
    if kind == "TimmWrapperImageProcessor":
        return of_steps(processor.val_transforms.transforms, interpolation)

    def value(name, otherwise=None):
        found = getattr(processor, name, None)
        return otherwise if found is None else found

    for name in ("do_pad", "do_thumbnail", "do_align_long_axis", "rescale_offset", "include_top"):
        if value(name, False):
            raise unsupported(f"the preprocessor's {name} is not in Ziyu")
    how, resize, fit, size = "bilinear", 0, "", None
    if value("do_resize", True):
        how = interpolation or _interpolation(value("resample", 2))
        resize, fit, size = _resizing(kind, dict(value("size", {})), value("crop_pct", 224 / 256))
    if value("do_center_crop", False):
        crop = value("crop_size")
        size = [crop, crop] if isinstance(crop, int) else [int(crop["height"]), int(crop["width"])]
    if size is None:
        raise unsupported(f"the {kind} gives images of different sizes: it has no crop after its resize")
    factor = value("rescale_factor", 1 / 255) if value("do_rescale", True) else 1.0
    channels = 3
    mean, std = value("image_mean", [0.0] * 3), value("image_std", [1.0] * 3)
    mean, std = ([x] * channels if isinstance(x, (int, float)) else [float(y) for y in x] for x in (mean, std))
    if not value("do_normalize", True):
        mean, std = [0.0] * channels, [1.0] * channels
    # (pixel * factor - mean) / std, in terms of pixel / 255.
    scale = 255 * factor
    if abs(scale - 1) > 1e-9:
        mean, std = [x / scale for x in mean], [x / scale for x in std]
    return _described(size, resize, fit, how, mean, std, down=True)


def _resizing(kind: str, size: dict, crop_pct: float):
    """resize, fit, and the size after it where all images get the same."""
    size = {key: int(number) for key, number in size.items() if number}
    shortest = size.get("shortest_edge")
    if kind == "PoolFormerImageProcessor":
        raise unsupported("the PoolFormerImageProcessor's resize is not in Ziyu; "
                          "--preprocessing imagenet --resize N gives it by hand")
    if kind == "ConvNextImageProcessor" and shortest:
        if shortest >= 384:
            return [shortest, shortest], "squash", [shortest, shortest]
        return int(shortest / crop_pct), "", [shortest, shortest]
    if kind == "LevitImageProcessor" and shortest:
        return int(256 / 224 * shortest), "", None
    if shortest and "longest_edge" not in size:
        return shortest, "", None
    if "height" in size and "width" in size:
        box = [size["height"], size["width"]]
        return box, "squash", box
    raise unsupported(f"the {kind} resizes to {size}, which Ziyu cannot do")
