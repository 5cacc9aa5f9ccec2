# SPDX-License-Identifier: Apache-2.0
"""Whole exports, of tiny models with random weights."""

import contextlib
import functools
import io
import json
import signal
import subprocess
import sys
import unittest
from pathlib import Path
from unittest import mock

import numpy as np
import timm
import torch
import torchvision
import transformers
from PIL import Image
from support import WithWorker

import export_model
import export_proof
import model_files
import weights_format

transformers.utils.logging.disable_progress_bar()


class Export(WithWorker):
    def export(self, *arguments, code: int = 0) -> str:
        """Runs the exporter into self.folder/models, in this process, as the imports take long; what it printed."""
        said = io.StringIO()
        command = ["export_model.py", "--output", self.folder / "models", *arguments,
                   "--worker", self.worker]
        ended = 0
        handler = signal.getsignal(signal.SIGTERM)
        with mock.patch.object(sys, "argv", [str(x) for x in command]), contextlib.redirect_stdout(said), \
                contextlib.redirect_stderr(said):
            try:
                export_model.main()
            except SystemExit as problem:
                ended = problem.code
            finally:
                signal.signal(signal.SIGTERM, handler)
        if isinstance(ended, str):  # as Python does it
            ended, _ = 1, said.write(ended)
        self.assertEqual(ended, code, said.getvalue())
        return said.getvalue()

    def left(self) -> list[str]:
        """What lies in the folder of models."""
        models = self.folder / "models"
        return sorted(str(x.relative_to(models)) for x in models.rglob("*")) if models.exists() else []

    def description(self, name: str) -> dict:
        return json.loads((self.folder / "models" / name / "1/model.json").read_text(encoding="utf-8"))

    def saved(self, model, processor, **config) -> Path:
        """A local folder of Hugging Face."""
        folder = self.folder / type(model).__name__
        torch.manual_seed(3)
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.3) if parameter.dim() > 1 else None
        for key, value in config.items():
            setattr(model.config, key, value)
        model.save_pretrained(folder)
        processor.save_pretrained(folder)
        return folder

    def vit(self, **config):
        return transformers.ViTForImageClassification(transformers.ViTConfig(
            hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, image_size=64,
            patch_size=16, **({"num_labels": 5} | config)))


class Libraries(Export):
    def test_timm_with_its_own_preprocessing(self):
        for name in ("test_vit", "test_resnet"):
            output = self.export(f"timm:{name}", "--proof", "required")
            self.assertIn("proven with ziyu-worker against the pipeline of timm: top-1 agrees on 20 of 20", output)
            config = timm.data.resolve_data_config({}, pretrained_cfg=timm.get_pretrained_cfg(name).to_dict())
            found = self.description(name)["input"]
            self.assertEqual(found["interpolation"], config["interpolation"])
            self.assertEqual(found["mean"], [float(x) for x in torch.tensor(config["mean"])])
            self.assertEqual(found["resize"], int(config["input_size"][1] / config["crop_pct"]))

    def test_torchvision_with_its_own_preprocessing(self):
        output = self.export("shufflenet_v2_x0_5", "--proof-images", "8", "--proof", "required")
        self.assertIn("against the pipeline of torchvision: top-1 agrees on 8 of 8", output)
        self.assertEqual(self.description("shufflenet_v2_x0_5")["input"]["resize"], 256)

    def test_hugging_face(self):
        t = transformers
        swin = t.SwinForImageClassification(t.SwinConfig(image_size=64, patch_size=4, embed_dim=16, depths=[1, 1],
                                                         num_heads=[2, 4], window_size=4, num_labels=5))
        beit = t.BeitForImageClassification(t.BeitConfig(
            hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, image_size=64,
            patch_size=16, num_labels=5))
        convnext = t.ConvNextForImageClassification(t.ConvNextConfig(hidden_sizes=[8, 16, 16, 32], depths=[1, 1, 1, 1],
                                                                     num_labels=5))
        resnet = t.ResNetForImageClassification(t.ResNetConfig(
            embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic", num_labels=5))
        size = {"height": 64, "width": 64}
        names = {index: name for index, name in enumerate("猫 狗 金毛犬 马 鸟".split())}
        for model, processor in ((self.vit(), t.ViTImageProcessor(size=size)),
                                 (swin, t.ViTImageProcessor(size=size, resample=3)),
                                 (beit, t.BeitImageProcessor(size={"height": 72, "width": 72}, do_center_crop=True,
                                                             crop_size=size)),
                                 (convnext, t.ConvNextImageProcessor(size={"shortest_edge": 64}, crop_pct=0.875)),
                                 (resnet, t.ConvNextImageProcessor(size={"shortest_edge": 64}, crop_pct=0.875))):
            with self.subTest(type(model).__name__):
                folder = self.saved(model, processor, id2label=names)
                output = self.export(f"hf:{folder}", "--proof", "required")
                self.assertIn("proven with ziyu-worker against the pipeline of transformers", output)
                print("\n" + folder.name + ": " + output.strip().splitlines()[-1])
                labels = (self.folder / "models" / folder.name / "1/labels.txt").read_text(encoding="utf-8")
                self.assertEqual(labels.split(), list(names.values()))

    def test_several_labels_an_image(self):
        folder = self.saved(self.vit(), transformers.ViTImageProcessor(size={"height": 64, "width": 64}),
                            problem_type="multi_label_classification")
        self.export(f"hf:{folder}", "--proof", "required")
        found = self.description(folder.name)
        self.assertEqual((found["activation"], found["threshold"]), ("sigmoid", 0.5))

    def test_a_model_that_ends_with_a_softmax_gets_no_second_one(self):
        plain = torchvision.models.get_model
        with mock.patch.object(torchvision.models, "get_model",
                               lambda *a, **k: torch.nn.Sequential(plain(*a, **k), torch.nn.Softmax(1))):
            output = self.export("shufflenet_v2_x0_5", "--proof-images", "4")
        self.assertIn("answers probabilities already: activation none", output)
        self.assertEqual(self.description("shufflenet_v2_x0_5")["activation"], "none")


class Proof(Export):
    def test_a_folder_with_other_preprocessing_is_not_proven(self):
        self.export("timm:test_vit", "--seed", "1")
        folder = self.folder / "models/test_vit/1"
        config = timm.data.resolve_data_config({}, pretrained_cfg=timm.get_pretrained_cfg("test_vit").to_dict())
        transform = timm.data.create_transform(**config, is_training=False)
        files = export_proof.make_images(self.folder, 10)
        model = torch.jit.load(folder / "model.pt").eval()
        with torch.no_grad():
            scores = [model(transform(Image.open(file).convert("RGB"))[None])[0].tolist() for file in files]
        original = (folder / "model.json").read_text(encoding="utf-8")

        def agreement(**changes):
            description = json.loads(original)
            description["input"].update(changes)
            (folder / "model.json").write_text(json.dumps(description), encoding="utf-8")
            answers = export_proof.served(self.worker, folder, files, 1000)
            return export_proof.compare(scores, answers, "softmax", None)

        self.assertTrue(agreement().proves(0.95, 0.02))
        found = json.loads(original)["input"]
        other = "bilinear" if found["interpolation"] == "bicubic" else "bicubic"
        for changes in ({"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}, {"interpolation": other},
                        {"resize": found["resize"] + 8}, {"resize": 0, "squash": True}, {"invert": True}):
            result = agreement(**changes)
            print(f"\n{changes}: {result}")
            self.assertFalse(result.proves(0.95, 0.02), changes)

    def test_rounding_to_float32_is_no_difference(self):
        # Untrained weights: the scores vary by 1e-6 from image to image, the confidences are near 1/1000.
        rng = np.random.default_rng(1)
        scores = [(rng.normal(size=1000) * 1e-6).tolist() for _ in range(8)]
        answers = [{index: float(np.float32(value)) for index, value in
                    enumerate(export_proof.activated(row, "softmax"))} for row in scores]
        self.assertTrue(export_proof.compare(scores, answers, "softmax", None).proves(0.95, 0.02))
        wrong = [dict(enumerate(export_proof.activated((rng.normal(size=1000) * 1e-6).tolist(), "softmax")))
                 for _ in range(8)]
        self.assertGreater(export_proof.compare(scores, wrong, "softmax", None).of_spread, 0.02)

    def test_below_the_bound_the_export_fails_and_leaves_nothing(self):
        self.assertIn("nothing was written", self.export("timm:test_resnet", "--spread", "-1", code=1))
        self.assertEqual(self.left(), [])

    def test_without_a_worker_it_says_not_proven(self):
        with mock.patch.object(export_proof, "find_worker", lambda given: None):
            self.assertIn("NOT PROVEN", self.export("timm:test_resnet"))
            self.assertIn("no ziyu-worker", self.export("timm:test_resnet", "--version", "2", "--proof", "required",
                                                        code=1))
        self.assertFalse((self.folder / "models/test_resnet/2").exists())


class Checkpoints(Export):
    def test_separate_q_k_and_v_become_timms_one(self):
        model = self.vit(num_labels=7, qkv_bias=True)
        folder = self.saved(model, transformers.ViTImageProcessor(size={"height": 64, "width": 64}))
        here = timm.models.VisionTransformer(img_size=64, embed_dim=32, depth=2, num_heads=2, mlp_ratio=2, num_classes=7,
                                             patch_size=16, norm_layer=functools.partial(torch.nn.LayerNorm, eps=1e-12))
        for file, state in ((folder / "model.safetensors", None), (self.folder / "own.pt", model.state_dict())):
            if state:
                torch.save(state, file)
            export_model.load_checkpoint(here, export_model.read_checkpoint(file, ["hf-vit"]))
            x = torch.rand(2, 3, 64, 64)
            with torch.no_grad():
                self.assertLess((here.eval()(x) - model.eval()(x).logits).abs().max().item(), 1e-4)

    def test_what_is_no_state_dict_is_named(self):
        class small(torch.nn.Module):
            def forward(self, x):
                return x.mean((2, 3))

        torch.export.save(torch.export.export(small(), (torch.rand(1, 3, 8, 8),)), self.folder / "a.pt2")
        torch.save(torch.nn.Conv2d(3, 3, 3), self.folder / "whole.pt")
        torch.save({"epoch": 3}, self.folder / "none.pt")
        torch.save({"a": torch.rand(2)}, self.folder / "old.pt", _use_new_zipfile_serialization=False)
        torch.save({"a": torch.rand(2)}, self.folder / "new.pt")
        (self.folder / "m.onnx").write_bytes(b"\x08\x08\x12\x07pytorch")
        kinds = {file.name: weights_format.kind_of(file) for file in self.folder.iterdir() if file.is_file()}
        self.assertEqual(kinds, {"a.pt2": "torch.export", "whole.pt": "state dict", "none.pt": "state dict",
                                 "old.pt": "pickle", "new.pt": "state dict", "m.onnx": "ONNX"})
        for name, part in (("a.pt2", "torch.export.load"), ("m.onnx", "is ONNX"), ("whole.pt", "Python objects"),
                           ("none.pt", "it has epoch"), ("missing.pt", "no checkpoint")):
            with self.assertRaisesRegex(SystemExit, part):
                export_model.read_checkpoint(self.folder / name, [])
        for name in ("old.pt", "new.pt"):
            self.assertEqual(list(export_model.read_checkpoint(self.folder / name, [])), ["a"])
        # The service names them too, also where model.json has their SHA-256.
        model_files.trace_and_save(small(), torch.rand(1, 3, 8, 8), self.folder / "model.pt")
        for name, part in (("a.pt2", "program of torch.export (.pt2)"), ("new.pt", "state dict"), ("old.pt", "pickle"),
                           ("m.onnx", "is ONNX"), ("whole.pt", "state dict or a pickled model"), ("model.pt", None)):
            (self.folder / "model.pt").write_bytes((self.folder / name).read_bytes())
            model_files.write_folder(self.folder, name="n", version="1", labels=["a", "b", "c"], preprocessing={
                "channels": "rgb", "height": 8, "width": 8, "interpolation": "bilinear", "mean": [0] * 3,
                "std": [1] * 3})
            done = subprocess.run([self.worker, "--check-model", self.folder], capture_output=True, text=True)
            if part:
                self.assertEqual(done.returncode, 2)
                self.assertIn(part, done.stderr)
                self.assertNotIn("corrupt", done.stderr)

    def test_an_existing_version_needs_force(self):
        self.export("timm:test_resnet", "--proof", "skip")
        before = self.left()
        self.assertIn("--force", self.export("timm:test_resnet", "--proof", "skip", code=1))
        self.export("timm:test_resnet", "--proof", "skip", "--force", "--seed", "9")
        self.assertEqual(self.left(), before)

    def test_a_failed_export_leaves_nothing(self):
        (self.folder / "labels.txt").write_bytes("金毛犬\n猫\n".encode("gbk"))
        (self.folder / "two.txt").write_text("0,a\n1,b\n")
        self.assertIn("iconv -f GBK", self.export("timm:test_resnet", "--labels", self.folder / "labels.txt", code=1))
        self.assertIn("2 labels, but the model has 5 classes", self.export(
            "timm:test_resnet", "--labels", self.folder / "two.txt", "--classes", "5", code=1))
        self.assertIn("neither a torchvision nor a timm model", self.export("timm:no_such_model", code=1))
        self.assertIn("no state dict", self.export("timm:test_resnet", "--checkpoint", __file__, code=1))
        self.assertEqual(self.left(), [])
        self.assertIn("begins with its number", self.export("timm:test_resnet", "--labels", self.folder / "two.txt",
                                                            "--proof-images", "4"))


if __name__ == "__main__":
    unittest.main()
