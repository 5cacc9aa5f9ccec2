#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Turns a PyTorch image classifier into a model folder for Ziyu, and proves that the folder answers as the model does.

    tools/export_model.py resnet18 --pretrained                    # torchvision
    tools/export_model.py timm:vit_base_patch16_224 --pretrained   # timm
    tools/export_model.py hf:google/vit-base-patch16-224           # Hugging Face: a name, or a local folder
    tools/export_model.py timm:vit_base_patch16_224 --checkpoint pytorch_model.pt --rename mmcls \\
        --labels labels.txt --name general-recognition --version 2 --preprocessing resize224

writes OUTPUT/NAME/VERSION/{model.pt,labels.txt,model.json}. With --format pt2 it has compiled/ too: packages in fp32 and
bf16 for this machine, as tools/optimize_model.py makes them. model.pt stays, for other machines and as what Ziyu falls
back to. Without --pretrained or --checkpoint a torchvision or timm
model has random weights, and nothing is downloaded. A checkpoint must fit the architecture exactly; nothing is skipped
silently.

Preprocessing is by default the model's own: timm's configuration, torchvision's weights.transforms(), or the
preprocessor_config.json of Hugging Face. Others (ToTensor, then ImageNet's mean and std unless --mean and --std say
otherwise):
    imagenet    Resize 256, CenterCrop 224 (in proportion for another --size)
    resize224   Resize to --size (shorter edge), CenterCrop to --size
    squash      Resize to --size x --size, proportions lost

The proof sends generated images through the original pipeline and, with the exported folder, through ziyu-worker
(--worker; by default that of build/release or of PATH), and compares the answers. Without ziyu-worker the export says
"not proven".

Exit codes: 0 exported (and proven, where it does not say "not proven"), 1 failed: nothing is left behind, 2 wrong
usage. """

import argparse
import re
import signal
import sys
import tempfile
from pathlib import Path

import export_proof
import label_text
import model_files
import model_input
import optimize_model
import weights_format
from model_input import IMAGENET

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


RENAMES["hf-vit"] = [  # of Hugging Face's ViT and DeiT; q, k and v become one below
    (r"^(vit|deit)\.", ""),
    (r"^embeddings\.cls_token$", "cls_token"),
    (r"^embeddings\.position_embeddings$", "pos_embed"),
    (r"^embeddings\.patch_embeddings\.projection\.", "patch_embed.proj."),
    (r"^(encoder\.layer|layers)\.(\d+)\.", r"blocks.\2."),
    (r"\.attention\.output\.dense\.|\.attention\.o_proj\.", ".attn.proj."),
    (r"\.attention\.attention\.|\.attention\.(?=[qkv]_proj)", ".attn."),
    (r"\.intermediate\.dense\.", ".mlp.fc1."),
    (r"^(blocks\.\d+)\.output\.dense\.", r"\1.mlp.fc2."),
    (r"\.layernorm_before\.", ".norm1."),
    (r"\.layernorm_after\.", ".norm2."),
    (r"^layernorm\.", "norm."),
    (r"^classifier\.", "head."),
]
# How the parts of an attention's one projection are called where they are separate.
SEPARATE = [("query", "key", "value"), ("q_proj", "k_proj", "v_proj"), ("q", "k", "v")]


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def first_line(problem: BaseException) -> str:
    return (str(problem).strip().splitlines() or [type(problem).__name__])[0]


# -- weights -------------------------------------------------------------------------------


def read_checkpoint(path: Path, rename: list[str]) -> dict:
    import torch

    if not path.is_file():
        raise SystemExit(f"no checkpoint {path}")
    kind = weights_format.kind_of(path)
    if problem := weights_format.why_no_checkpoint(path, kind):
        raise SystemExit(problem)
    if kind not in weights_format.READABLE:
        raise SystemExit(f"{path} is no state dict: it has none of the formats that PyTorch and safetensors write")
    try:
        if kind == "safetensors":
            from safetensors.torch import load_file
            state = load_file(path)
        elif kind == "TorchScript":
            state = torch.jit.load(str(path), map_location="cpu").state_dict()
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as problem:
        if "weights_only" in str(problem) or "Unsupported" in str(problem):
            raise SystemExit(f"{path} holds Python objects and not only tensors, such as a whole model; where it was "
                             "made, torch.save(model.state_dict(), FILE) saves the weights alone") from None
        raise SystemExit(f"{path} is no state dict that PyTorch can read: {first_line(problem)}") from None
    if isinstance(state, torch.nn.Module) or not isinstance(state, dict):
        raise SystemExit(f"{path} holds a {type(state).__name__}, not a state dict; save model.state_dict()")
    for key in ("state_dict", "model", "model_state_dict"):
        if isinstance(state.get(key), dict):
            state = state[key]
    if not state or not all(torch.is_tensor(value) for value in state.values()):
        keys = ", ".join(map(str, list(state)[:5]))
        raise SystemExit(f"{path} is no state dict: it has {keys or 'nothing'} instead of tensors by name")
    if all(key.startswith("module.") for key in state):  # DataParallel
        state = {key.removeprefix("module."): value for key, value in state.items()}
    return renamed(state, rename)


def renamed(state: dict, rename: list[str]) -> dict:
    import torch

    rules = []
    for rule in rename:
        if rule in RENAMES:
            rules += RENAMES[rule]
        elif "=" in rule:
            rules.append(tuple(rule.split("=", 1)))
        else:
            raise SystemExit(f"--rename {rule}: neither PATTERN=REPLACEMENT nor one of {', '.join(RENAMES)}")
    result = {}
    for key, value in state.items():
        for pattern, replacement in rules:
            key = re.sub(pattern, replacement, key)
        result[key] = value
    if "hf-vit" in rename:
        for key in list(result):
            for parts in SEPARATE:
                match = re.fullmatch(rf"(.*\.attn\.){parts[0]}\.(weight|bias)", key)
                if match:
                    names = [f"{match[1]}{part}.{match[2]}" for part in parts]
                    if all(name in result for name in names):
                        result[f"{match[1]}qkv.{match[2]}"] = torch.cat([result.pop(name) for name in names])
    return result


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
    """Replaces weights that are initialised with zeros, as heads often are: such a model gives the same answer to every
    image, and comparing two of them proves nothing."""
    import torch

    for parameter in model.parameters():
        if parameter.dim() >= 2 and not parameter.any():
            torch.nn.init.normal_(parameter, std=0.02)


# -- models --------------------------------------------------------------------------------


class source:
    """A model, and the metadata that its library has for it."""

    def __init__(self, name, library, model, weights, own_input=None, original=None, labels=None, multi_label=False,
                 flip=False):
        self.name, self.library, self.model, self.weights = name, library, model, weights
        self.own_input = own_input  # interpolation or None -> model.json's `input`; None: the library knows none
        self.original = original    # image -> tensor, the library's own preprocessing
        self.labels, self.multi_label = labels, multi_label
        self.flip = flip            # the model takes BGR


def is_hugging_face(name: str) -> bool:
    return name.startswith("hf:") or (Path(name) / "config.json").is_file()


def make_source(options, classes: int | None) -> source:
    """The prefix names the library. A name without a prefix is looked up in torchvision, then in timm."""
    name = options.model
    if is_hugging_face(name):
        return of_hugging_face(name.removeprefix("hf:"), options)
    if Path(name).is_file():
        kind = weights_format.kind_of(Path(name))
        problem = weights_format.why_no_checkpoint(Path(name), kind)
        raise SystemExit(problem or f"{name} is a file ({kind or 'of no known format'}), not an architecture: "
                                    f"tools/export_model.py ARCHITECTURE --checkpoint {name}")
    library, _, bare = name.rpartition(":")
    if library not in ("", "timm", "torchvision"):
        raise SystemExit(f"{name}: the prefix must be torchvision:, timm: or hf:")
    import torchvision
    if library != "timm" and bare in torchvision.models.list_models():
        return of_torchvision(bare, options, classes)
    import timm
    if library != "torchvision" and timm.is_model(bare):
        return of_timm(bare, options, classes)
    raise SystemExit(f"{name} is neither a torchvision nor a timm model; timm.list_models() and "
                     "torchvision.models.list_models() know the names")


def of_torchvision(bare: str, options, classes: int | None) -> source:
    from torchvision import models

    if options.grey:
        raise SystemExit("torchvision's models take three channels; timm's take one with --grey (timm:...)")
    arguments = {} if classes is None or (options.pretrained and classes == 1000) else {"num_classes": classes}
    if options.pretrained and arguments:
        raise SystemExit(f"the pretrained weights of {bare} have 1000 classes, not {classes}")
    try:
        model = models.get_model(bare, weights="DEFAULT" if options.pretrained else None, **arguments)
    except Exception as problem:
        raise SystemExit(f"cannot make torchvision's {bare}: {first_line(problem)}") from None
    try:
        preset = models.get_model_weights(bare).DEFAULT.transforms()
    except (AttributeError, ValueError):
        return source(bare, "torchvision", model, weights_word(options))
    return source(bare, "torchvision", model, weights_word(options),
                  lambda how: model_input.of_torchvision(preset, how), preset)


def of_timm(bare: str, options, classes: int | None) -> source:
    import timm

    arguments = {} if classes is None else {"num_classes": classes}
    if options.grey:
        arguments["in_chans"] = 1
    if options.size and "img_size" in timm.models.model_entrypoint(bare.split(".")[0]).__code__.co_varnames:
        arguments["img_size"] = options.size
    try:
        model = timm.create_model(bare, pretrained=options.pretrained, **arguments)
    except Exception as problem:
        raise SystemExit(f"cannot make timm's {bare}: {first_line(problem)}") from None
    asked = {"img_size": options.size} if options.size else {}
    if options.grey:
        asked["in_chans"] = 1
    config = timm.data.resolve_data_config(asked, model=model)
    transform = timm.data.create_transform(**config, is_training=False)
    labels = None
    subset = timm.data.infer_imagenet_subset(model)
    if subset and subset != "imagenet-1k":
        info = timm.data.ImageNetInfo(subset)
        labels = [info.index_to_description(index) for index in range(info.num_classes())]
    return source(bare, "timm", model, weights_word(options),
                  lambda how: model_input.of_steps(transform.transforms, how), transform, labels)


def of_hugging_face(path: str, options) -> source:
    try:
        import transformers
    except ImportError:
        raise SystemExit("Hugging Face models need the package transformers: pip install -r tools/requirements.txt"
                         ) from None
    if options.checkpoint:
        raise SystemExit("hf: loads its own weights; leave --checkpoint out")
    if Path(path).is_dir() and not any((Path(path) / name).is_file() for name in (
            "preprocessor_config.json", "processor_config.json")) and options.preprocessing == "model":
        raise SystemExit(f"{path} has no preprocessor_config.json, so its preprocessing is not known; copy it, or say "
                         "--preprocessing")
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    try:
        model = transformers.AutoModelForImageClassification.from_pretrained(path)
        processor = transformers.AutoImageProcessor.from_pretrained(path) if options.preprocessing == "model" else None
    except Exception as problem:
        raise SystemExit(f"cannot load {path} as an image classifier of transformers: {first_line(problem)}") from None
    names = getattr(model.config, "id2label", None) or {}
    labels = [str(names[index]) for index in range(len(names)) if index in names]
    labels = labels if len(labels) == len(names) and labels else None
    if labels and all(re.fullmatch(r"LABEL_\d+", label) for label in labels):
        say("warning: the model's config.json has no names for its classes; --labels gives them")
    flip = bool(getattr(processor, "do_flip_channel_order", False))
    return source(path.rstrip("/").rpartition("/")[2], "transformers", model, "its own",
                  processor and (lambda how: model_input.of_processor(processor, how)),
                  processor and (lambda image: processor(images=image, return_tensors="pt")["pixel_values"][0]),
                  labels, getattr(model.config, "problem_type", None) == "multi_label_classification", flip)


def weights_word(options) -> str:
    return "checkpoint" if options.checkpoint else "pretrained" if options.pretrained else "random"


def scores_of(answer):
    """The tensor [1, classes] in a model's answer: the answer is a tensor, a mapping with `logits`, or a tuple that
    begins with it; None for anything else."""
    import torch

    if torch.is_tensor(answer):
        return answer
    for key in ("logits", "cls_logits", "output", "out"):
        found = answer.get(key) if hasattr(answer, "get") else getattr(answer, key, None)
        if torch.is_tensor(found):
            return found
    if isinstance(answer, (tuple, list)) and answer:
        return scores_of(answer[0])
    return None


def as_tensor_model(model, flip: bool, example):
    """`model` itself if it answers a tensor, else a module around it that does."""
    import torch

    class tensor_model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, x):
            return scores_of(self.model(x.flip(1) if flip else x))

    with torch.no_grad():
        try:
            plain = torch.is_tensor(model(example))
        except Exception as problem:
            raise SystemExit(f"the model does not take an input of {list(example.shape)}: {first_line(problem)}") from None
    return model if plain and not flip else tensor_model().eval()


# -- the description ------------------------------------------------------------------------


def preprocessing_of(options, origin: source) -> tuple[dict, bool]:
    """The `input` of model.json, and whether it is the model's own preprocessing."""
    own = options.preprocessing == "model"
    if own and origin.own_input:
        try:
            result = origin.own_input(options.interpolation)
        except model_input.unsupported as problem:
            raise SystemExit(f"{origin.name}: {problem}; or choose another --preprocessing") from None
    else:
        if own:
            say(f"warning: {origin.library} knows no preprocessing of {origin.name}; taking ImageNet's")
        size = options.size or 224
        mean, std = (numbers[:1] if options.grey else numbers for numbers in IMAGENET)
        squash = options.preprocessing == "squash"
        resize = 0 if squash else size if options.preprocessing == "resize224" else round(size * 256 / 224)
        result = {"channels": "grey" if options.grey else "rgb", "height": size, "width": size, "resize": resize,
                  "squash": squash, "interpolation": options.interpolation or "bilinear", "mean": mean, "std": std,
                  "invert": False}
        own = False
    changed = {}
    if options.size and own and origin.library != "timm":  # timm's configuration has been told
        factor = options.size / result["height"]
        resize = result["resize"]
        changed.update(height=options.size, width=options.size,
                       resize=[round(x * factor) for x in resize] if isinstance(resize, list) else round(resize * factor))
    if options.resize is not None:
        changed.update(resize=options.resize, squash=False)
        result.pop("fit", None)
    changed.update({key: getattr(options, key) for key in ("mean", "std") if getattr(options, key)})
    if options.invert:
        changed["invert"] = True
    result.update(changed)
    count = 1 if result["channels"] == "grey" else 3
    for key in ("mean", "std"):
        if len(result[key]) != count:
            raise SystemExit(f"--{key} needs {count} numbers")
    return result, own and not changed


def default_labels(classes: int) -> list[str]:
    if classes == 1000:
        from torchvision.models import ResNet18_Weights
        return list(ResNet18_Weights.IMAGENET1K_V1.meta["categories"])
    return [f"class {index}" for index in range(classes)]


def activation_of(options, origin: source, model, example) -> tuple[str, float | None]:
    """`activation` and `threshold`. A model that ends with a softmax of its own must not get a second one."""
    import torch

    chosen = options.activation or ("sigmoid" if origin.multi_label else None)
    with torch.no_grad():
        answers = torch.cat([model(torch.randn(example.shape)) for _ in range(3)])
    between = bool((answers >= 0).all() and (answers <= 1).all())
    sums_to_one = between and bool(((answers.sum(1) - 1).abs() < 1e-3).all())
    if chosen is None and sums_to_one:
        say("the model answers probabilities already: activation none")
        chosen = "none"
    elif between and chosen != "none":
        say(f"warning: the model's answers lie between 0 and 1; if it ends with an activation of its own, say "
            f"--activation none ({chosen or 'softmax'} is taken)")
    chosen = chosen or "softmax"
    threshold = options.threshold
    if threshold is None and chosen == "sigmoid":
        threshold = 0.5
    if threshold is not None and chosen == "softmax":
        raise SystemExit("--threshold requires --activation sigmoid or none")
    if threshold is not None and chosen == "sigmoid" and not 0 <= threshold <= 1:
        raise SystemExit("--threshold must be from 0 to 1 with --activation sigmoid")
    return chosen, threshold


# -- the proof --------------------------------------------------------------------------------


def prove(options, folder: Path, origin: source, model, preprocessing: dict, own: bool, activation: str,
          threshold: float | None, classes: int) -> str:
    """Compares the folder, as ziyu-worker serves it, with the original model. Returns the line to print; ends the
    program if the answers differ."""
    import torch
    from PIL import Image

    if options.proof == "skip":
        return "not proven: --proof skip"
    worker = export_proof.find_worker(options.worker)
    if not worker:
        if options.proof == "required":
            raise SystemExit("--proof required: no ziyu-worker; build it (scripts/demo does) or name it by --worker")
        return "NOT PROVEN: there is no ziyu-worker; build it (scripts/demo does) or name it by --worker, and export again"
    original = origin.original if own else model_files.torchvision_transform(preprocessing)
    with tempfile.TemporaryDirectory(prefix="ziyu-export-") as images, torch.no_grad():
        files = export_proof.make_images(Path(images), options.proof_images)
        scores = []
        for file in files:
            tensor = original(Image.open(file).convert("RGB"))[None]
            answer = origin.model(tensor)
            scores.append([float(x) for x in scores_of(answer)[0]])
        answers = export_proof.served(worker, folder, files, classes)
    result = export_proof.compare(scores, answers, activation, threshold)
    pipeline = f"the pipeline of {origin.library}" if own else "the preprocessing given here, in torchvision"
    if result.tells_nothing():
        return "NOT PROVEN: the model answers the same to every image"
    most = options.spread
    if most is None:
        most = 0.05 if own and origin.library == "transformers" else 0.02
    if not result.proves(options.agreement, most):
        raise SystemExit(f"the exported folder does not answer what {pipeline} does: {result} (at least "
                         f"{options.agreement:.0%} and at most {most:.0%} are wanted); nothing was written")
    return f"proven with ziyu-worker against {pipeline}: {result}"


# -- the program --------------------------------------------------------------------------------


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("model", help="architecture, e.g., resnet18, vit_b_16, timm:vit_base_patch16_224; or hf:NAME, hf:FOLDER")
    add("--checkpoint", type=Path, metavar="FILE",
        help="weights: a state dict (.pt, .pth, .bin, .safetensors) or TorchScript")
    add("--rename", action="append", default=[], metavar="RULE",
        help=f"adapt the checkpoint's names: PATTERN=REPLACEMENT (regular expression) or {', '.join(RENAMES)}")
    add("--pretrained", action="store_true", help="download the library's weights (default: random weights)")
    add("--labels", type=Path, metavar="FILE", help="UTF-8 text, a label a line; or JSON (list, id2label)")
    add("--classes", type=int, help="number of classes (default: that of the labels, else the model's own)")
    add("--name", help="model name (default: the architecture's)")
    add("--version", default="1")
    add("--output", type=Path, default=export_proof.ROOT / "models", metavar="FOLDER", help="default: %(default)s")
    add("--force", action="store_true", help="replace the version if it is there already")
    add("--preprocessing", choices=["model", "imagenet", "resize224", "squash"], default="model",
        help="default: the model's own")
    add("--size", type=int, help="edge of the model's input (default: the model's)")
    add("--resize", type=int, help="shorter edge before the crop; 0: no resize")
    add("--interpolation", choices=["bilinear", "bicubic"])
    add("--mean", type=float, nargs="+", help="per channel, on the 0..1 scale")
    add("--std", type=float, nargs="+")
    add("--grey", action="store_true", help="the model takes one channel")
    add("--invert", action="store_true", help="1 - x after ToTensor")
    add("--activation", choices=["softmax", "sigmoid", "none"],
        help="what makes confidences of the model's answers: softmax, one label an image (default); sigmoid, several "
             "labels (default for multi_label_classification of Hugging Face); none, where the model does it itself")
    add("--threshold", type=float, help="labels below it are not answered (default with sigmoid: 0.5)")
    add("--format", choices=["pt", "pt2"], default="pt",
        help="pt: TorchScript (default); pt2: and compiled for this machine by AOTInductor, which takes some minutes")
    add("--max-batch", type=int, default=16, metavar="N", choices=[1, 2, 4, 8, 16],
        help="with --format pt2: most images that run together, 1 to 16 (default: %(default)s, as batching.max_jobs)")
    add("--proof", choices=["auto", "required", "skip"], default="auto",
        help="auto: prove the export if there is a ziyu-worker (default)")
    add("--proof-images", type=int, default=20, metavar="N", help="default: %(default)s")
    add("--agreement", type=float, default=0.95, metavar="PART",
        help="least part of the images with the same top-1 (default: %(default)s)")
    add("--spread", type=float, metavar="PART",
        help="largest difference of a score, as a part of what scores vary by between images (default: 0.02; against "
             "the pipeline of transformers, which rounds otherwise than Pillow, 0.05)")
    add("--worker", type=Path, metavar="PROGRAM", help="the ziyu-worker of the proof")
    add("--seed", type=int, default=0, help="of random weights")
    options = parser.parse_args()
    if options.proof_images < 2:
        parser.error("--proof-images must be at least 2")
    return options


def export(options) -> None:
    import torch

    torch.set_num_threads(1)  # enough, and fair to what else runs
    torch.manual_seed(options.seed)
    labels = label_text.read_labels(options.labels) if options.labels else None
    classes = options.classes or (len(labels) if labels else None)
    origin = make_source(options, classes)
    origin.model.eval()
    if options.checkpoint:
        load_checkpoint(origin.model, read_checkpoint(options.checkpoint, options.rename))
    elif origin.weights == "random":
        make_random(origin.model)
    preprocessing, own = preprocessing_of(options, origin)
    example = torch.rand(1, len(preprocessing["mean"]), preprocessing["height"], preprocessing["width"])
    model = as_tensor_model(origin.model, origin.flip, example)
    with torch.no_grad():
        answer = model(example)
    if answer is None or answer.dim() != 2 or not answer.isfinite().all():
        raise SystemExit(f"{options.model} must answer [1, classes] of finite numbers, alone, as `logits`, or first of "
                         "a tuple")
    classes = answer.shape[1]
    if not labels and origin.labels and len(origin.labels) == classes:
        labels = origin.labels
    labels = labels or default_labels(classes)
    if len(labels) != classes:
        raise SystemExit(f"{len(labels)} labels, but the model has {classes} classes")
    for warning in label_text.label_warnings(labels):
        say(f"warning: {warning}")
    activation, threshold = activation_of(options, origin, model, example)

    name = options.name or origin.name
    with model_files.new_version(options.output, name, options.version, options.force) as folder:
        try:
            difference = model_files.trace_and_save(model, example, folder / "model.pt")
        except Exception as problem:
            raise SystemExit(f"torch.jit.trace cannot follow {options.model}: {first_line(problem)}") from None
        tolerance = 1e-4 * max(1.0, answer.abs().max().item())
        if difference > tolerance:
            raise SystemExit(f"the TorchScript differs from the model by {difference:.3g} (at most {tolerance:.3g})")
        model_files.write_folder(
            folder, name=name, version=options.version, labels=labels, preprocessing=preprocessing,
            activation=activation, threshold=threshold,
            notes=f"Exported from {options.model} ({origin.library}), {origin.weights} weights.")
        packages = optimize_model.optimize(folder, most=options.max_batch) if options.format == "pt2" else []
        proof = prove(options, folder, origin, model, preprocessing, own, activation, threshold, classes)
        size = (folder / "model.pt").stat().st_size
    print(f"{options.output / name / options.version}: {classes} classes, {size / 1e6:.1f} MB, {origin.weights} weights, "
          f"TorchScript differs from the original by at most {difference:.2g}")
    for line in packages:
        print(line.replace(str(folder), str(options.output / name / options.version)))
    print(proof)


def main() -> None:
    options = parse_options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what is half written goes
    try:
        export(options)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
