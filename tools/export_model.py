#!/usr/bin/env python3
"""Turns a PyTorch image classifier into a model folder for Ziyu.

    tools/export_model.py resnet18                              # torchvision, random weights, nothing is downloaded
    tools/export_model.py timm:vit_base_patch16_224 --pretrained
    tools/export_model.py timm:vit_base_patch16_224 --checkpoint pytorch_model.pt --rename mmcls \\
        --labels labels.txt --name general-recognition --version 2 --preprocessing resize224

writes OUTPUT/NAME/VERSION/{model.pt,labels.txt,model.json}, loads the TorchScript again and compares it with the
original. A checkpoint must fit the architecture exactly; nothing is skipped silently.

Preprocessing (all: ToTensor, then ImageNet's mean and std unless --mean and --std say otherwise):
    imagenet    Resize 256, CenterCrop 224 (in proportion for another --size)
    resize224   Resize to --size (shorter edge), CenterCrop to --size
    squash      Resize to --size x --size, proportions lost
    model       what timm's configuration of the model says: size, crop, interpolation, mean and std
"""

import argparse
import json
import re
from pathlib import Path

import torch

import model_files

IMAGENET = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
# Names of the ViT of mmpretrain and of ModelScope's recognition models -> timm's.
RENAMES = {
    "mmcls": [
        (r"^backbone\.", ""),
        (r"^patch_embed\.projection\.", "patch_embed.proj."),
        (r"^layers\.(\d+)\.ln1\.", r"blocks.\1.norm1."),
        (r"^layers\.(\d+)\.ln2\.", r"blocks.\1.norm2."),
        (r"^layers\.(\d+)\.attn\.", r"blocks.\1.attn."),
        (r"^layers\.(\d+)\.ffn\.layers\.0\.0\.", r"blocks.\1.mlp.fc1."),
        (r"^layers\.(\d+)\.ffn\.layers\.1\.", r"blocks.\1.mlp.fc2."),
        (r"^ln1\.", "norm."),
        (r"^head\.layers\.head\.", "head."),
        (r"^head\.fc\.", "head."),
    ],
}


def read_labels(path: Path) -> list[str]:
    """One label a line, a JSON list, or JSON with `id2label` (Hugging Face) or {"0": label, ...}."""
    text = path.read_text(encoding="utf-8-sig")
    if path.suffix != ".json":
        return text.splitlines()
    content = json.loads(text)
    if isinstance(content, dict):
        content = content.get("id2label", content)
        content = [content[str(index)] for index in range(len(content))]
    return [str(label) for label in content]


def default_labels(classes: int) -> list[str]:
    if classes == 1000:
        from torchvision.models import ResNet18_Weights
        return list(ResNet18_Weights.IMAGENET1K_V1.meta["categories"])
    return [f"class {index}" for index in range(classes)]


def read_checkpoint(path: Path, rename: list[str]) -> dict[str, torch.Tensor]:
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file
        state = load_file(path)
    else:
        state = torch.load(path, map_location="cpu", weights_only=True)
    for key in ("state_dict", "model", "model_state_dict"):
        if isinstance(state.get(key), dict):
            state = state[key]
    if all(key.startswith("module.") for key in state):  # DataParallel
        state = {key.removeprefix("module."): value for key, value in state.items()}
    rules = []
    for rule in rename:
        if rule in RENAMES:
            rules += RENAMES[rule]
        elif "=" in rule:
            rules.append(tuple(rule.split("=", 1)))
        else:
            raise SystemExit(f"--rename {rule}: neither PATTERN=REPLACEMENT nor one of {', '.join(RENAMES)}")
    renamed = {}
    for key, value in state.items():
        for pattern, replacement in rules:
            key = re.sub(pattern, replacement, key)
        renamed[key] = value
    return renamed


def make_model(name: str, classes: int | None, pretrained: bool):
    """A torchvision or timm model; a name without "timm:" or "torchvision:" is looked up in both, in this order."""
    import timm
    import torchvision

    library, _, bare = name.rpartition(":")
    if library not in ("", "timm", "torchvision"):
        raise SystemExit(f"{name}: the prefix must be torchvision: or timm:")
    if library != "timm" and bare in torchvision.models.list_models():
        arguments = {} if classes is None else {"num_classes": classes}
        return torchvision.models.get_model(bare, weights="DEFAULT" if pretrained else None, **arguments)
    if library != "torchvision" and (timm.is_model(bare)):
        arguments = {} if classes is None else {"num_classes": classes}
        return timm.create_model(bare, pretrained=pretrained, **arguments)
    raise SystemExit(f"{name} is neither a torchvision nor a timm model; timm.list_models() and "
                     "torchvision.models.list_models() know the names")


def load_checkpoint(model, state: dict) -> None:
    wanted = model.state_dict()
    problems = [f"  missing: {key}" for key in wanted if key not in state]
    problems += [f"  unexpected: {key}" for key in state if key not in wanted]
    problems += [f"  {key}: {tuple(state[key].shape)} in the checkpoint, {tuple(wanted[key].shape)} in the model"
                 for key in wanted if key in state and state[key].shape != wanted[key].shape]
    if problems:
        shown = "\n".join(problems[:12])
        raise SystemExit(f"the checkpoint does not fit the model ({len(problems)} differences; --rename may help):\n{shown}")
    model.load_state_dict(state)


def make_random(model) -> None:
    """Replaces weights that are initialised with zeros, as heads often are: they would answer the same to everything,
    and a comparison of two such models proves nothing."""
    for parameter in model.parameters():
        if parameter.dim() >= 2 and not parameter.any():
            torch.nn.init.normal_(parameter, std=0.02)


def preprocessing_of(options, model) -> dict:
    mean, std = IMAGENET
    resize, squash, interpolation = 0, False, "bilinear"
    size = options.size or 224
    if options.preprocessing == "imagenet":
        resize = round(size * 256 / 224)
    elif options.preprocessing == "resize224":
        resize = size
    elif options.preprocessing == "squash":
        squash = True
    else:
        from timm.data import resolve_data_config
        config = resolve_data_config({}, model=model)
        size = options.size or config["input_size"][1]
        mean, std, interpolation = list(config["mean"]), list(config["std"]), config["interpolation"]
        squash = config["crop_mode"] == "squash"
        resize = 0 if squash else int(size / config["crop_pct"])
    channels = "grey" if options.grey else "rgb"
    count = 1 if options.grey else 3
    result = {
        "channels": channels, "height": size, "width": size, "resize": resize, "squash": squash,
        "interpolation": options.interpolation or interpolation,
        "mean": options.mean or mean[:count], "std": options.std or std[:count], "invert": options.invert,
    }
    if options.resize is not None:
        result.update(resize=options.resize, squash=False)
    if result["interpolation"] not in ("bilinear", "bicubic"):
        raise SystemExit(f"interpolation {result['interpolation']} is not supported; choose --interpolation")
    for key in ("mean", "std"):
        if len(result[key]) != count:
            raise SystemExit(f"--{key} needs {count} numbers")
    return result


def main() -> None:
    root = Path(__file__).resolve().parent.parent
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("model", help="architecture, e.g., resnet18, vit_b_16, timm:vit_base_patch16_224")
    add("--checkpoint", type=Path, metavar="FILE", help="weights: a state dict (.pt, .pth, .bin, .safetensors)")
    add("--rename", action="append", default=[], metavar="RULE",
        help=f"adapt the checkpoint's names: PATTERN=REPLACEMENT (regular expression) or {', '.join(RENAMES)}")
    add("--pretrained", action="store_true", help="download the library's weights (default: random weights)")
    add("--labels", type=Path, metavar="FILE", help="UTF-8 text, a label a line; or JSON (list, id2label)")
    add("--classes", type=int, help="number of classes (default: that of the labels, else the model's own)")
    add("--name", help="model name (default: the architecture's)")
    add("--version", default="1")
    add("--output", type=Path, default=root / "models", metavar="FOLDER", help="default: %(default)s")
    add("--preprocessing", choices=["imagenet", "resize224", "squash", "model"], default="imagenet")
    add("--size", type=int, help="edge of the model's input (default 224, or the model's)")
    add("--resize", type=int, help="shorter edge before the crop; 0: no resize")
    add("--interpolation", choices=["bilinear", "bicubic"])
    add("--mean", type=float, nargs="+", help="per channel, on the 0..1 scale")
    add("--std", type=float, nargs="+")
    add("--grey", action="store_true", help="the model takes one channel")
    add("--invert", action="store_true", help="1 - x after ToTensor")
    add("--seed", type=int, default=0, help="of random weights")
    options = parser.parse_args()

    torch.manual_seed(options.seed)
    labels = read_labels(options.labels) if options.labels else None
    classes = options.classes or (len(labels) if labels else None)
    model = make_model(options.model, classes, options.pretrained).eval()
    if options.checkpoint:
        load_checkpoint(model, read_checkpoint(options.checkpoint, options.rename))
    elif not options.pretrained:
        make_random(model)
    preprocessing = preprocessing_of(options, model)
    example = torch.rand(1, len(preprocessing["mean"]), preprocessing["height"], preprocessing["width"])
    with torch.no_grad():
        answer = model(example)
    if not torch.is_tensor(answer) or answer.dim() != 2 or not answer.isfinite().all():
        raise SystemExit(f"{options.model} must answer [1, classes] of finite numbers")
    labels = labels or default_labels(answer.shape[1])
    if len(labels) != answer.shape[1]:
        raise SystemExit(f"{len(labels)} labels, but the model has {answer.shape[1]} classes")

    name = options.name or options.model.rpartition(":")[2]
    folder = options.output / name / options.version
    folder.mkdir(parents=True, exist_ok=True)
    difference = model_files.trace_and_save(model, example, folder / "model.pt")
    tolerance = 1e-4 * max(1.0, answer.abs().max().item())
    if difference > tolerance:
        (folder / "model.pt").unlink()
        raise SystemExit(f"the TorchScript differs from the model by {difference:.3g} (at most {tolerance:.3g})")
    weights = "checkpoint" if options.checkpoint else "pretrained" if options.pretrained else "random"
    model_files.write_folder(folder, name=name, version=options.version, labels=labels, preprocessing=preprocessing,
                             notes=f"Exported from {options.model}, {weights} weights.")
    size = (folder / "model.pt").stat().st_size
    print(f"{folder}: {answer.shape[1]} classes, {size / 1e6:.1f} MB, {weights} weights, "
          f"TorchScript differs from the original by at most {difference:.2g}")


if __name__ == "__main__":
    main()
