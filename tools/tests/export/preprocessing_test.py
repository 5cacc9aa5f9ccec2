# SPDX-License-Identifier: Apache-2.0
"""What ziyu-worker makes of an image, compared with what timm, torchvision and transformers make of it."""

import unittest

import timm
import torchvision
import transformers
from support import WithWorker

import export_proof
import model_files
import model_input

CLIP = {"mean": (0.481, 0.458, 0.408), "std": (0.269, 0.261, 0.276)}
# input size, crop_pct, crop_mode, interpolation, more
TIMM = [
    ((224, 224), 0.875, "center", "bilinear", {}),
    ((224, 224), 0.9, "center", "bicubic", {"mean": (0.5,) * 3, "std": (0.5,) * 3}),
    ((224, 224), 0.95, "center", "bicubic", CLIP),
    ((224, 224), 1.0, "center", "bicubic", {}),
    ((160, 160), 0.96, "center", "bilinear", {}),
    ((97, 97), 0.875, "center", "bilinear", {}),
    ((224, 224), 1.0, "squash", "bicubic", CLIP),
    ((224, 224), 0.9, "squash", "bicubic", {}),
    ((128, 128), 0.875, "squash", "bilinear", {}),
    ((96, 128), 1.0, "squash", "bilinear", {}),
    ((128, 96), 0.8, "squash", "bicubic", {}),
    ((224, 224), 1.0, "border", "bicubic", {}),
    ((224, 224), 0.9, "border", "bicubic", CLIP),
    ((128, 128), 0.875, "border", "bilinear", {"mean": (0.5,) * 3, "std": (0.5,) * 3}),
    ((96, 128), 1.0, "border", "bilinear", {}),
    ((128, 96), 0.9, "border", "bicubic", {}),
    ((33, 47), 0.95, "border", "bilinear", {}),
    ((96, 128), 0.875, "center", "bilinear", {}),
    ((128, 96), 0.875, "center", "bicubic", {}),
    ((256, 128), 1.0, "center", "bicubic", {}),
    ((64, 192), 0.9, "center", "bilinear", {}),
    ((47, 33), 0.95, "center", "bicubic", {}),
    ((224, 224), 0.875, "border", "bilinear", {"mean": (0.0,) * 3, "std": (1.0,) * 3}),
    ((192, 192), 0.7, "center", "bicubic", {}),
]


class Timm(WithWorker):
    def test_the_worker_makes_timms_tensor_of_each_configuration(self):
        files = export_proof.make_images(self.folder, 10)
        worst = 0.0
        for size, crop_pct, crop_mode, interpolation, more in TIMM:
            with self.subTest(size=size, crop_pct=crop_pct, crop_mode=crop_mode, interpolation=interpolation):
                config = timm.data.resolve_data_config(
                    {"input_size": (3, *size), "crop_pct": crop_pct, "crop_mode": crop_mode,
                     "interpolation": interpolation, **more})
                transform = timm.data.create_transform(**config, is_training=False)
                preprocessing = model_input.of_steps(transform.transforms)
                wanted = self.expected(transform, files, size)
                difference = (self.seen(preprocessing, files) - wanted).abs().max().item()
                worst = max(worst, difference)
                self.assertLess(difference, 1e-5)
                here = self.expected(model_files.torchvision_transform(preprocessing), files, size)
                self.assertLess((here - wanted).abs().max().item(), 1e-6)
        print(f"\ntimm: {len(TIMM)} configurations x {len(files)} images, largest difference {worst:.2g}")

    def test_one_channel(self):
        files = export_proof.make_images(self.folder, 4)
        config = {"input_size": (1, 96, 96), "crop_pct": 0.9, "interpolation": "bicubic", "mean": (0.4,), "std": (0.2,)}
        transform = timm.data.create_transform(**config, crop_mode="border", is_training=False)
        preprocessing = model_input.of_steps(transform.transforms)
        self.assertEqual((preprocessing["channels"], preprocessing["fill"]), ("grey", [102]))
        wanted = self.expected(lambda image: transform(image.convert("L")), files, (96, 96))
        self.assertLess((self.seen(preprocessing, files) - wanted).abs().max().item(), 1e-5)

    def test_each_published_configuration_is_taken_or_refused_by_name(self):
        taken, refused = 0, {}
        for name in timm.list_pretrained():
            cfg = timm.get_pretrained_cfg(name).to_dict()
            transform = timm.data.create_transform(**timm.data.resolve_data_config({}, pretrained_cfg=cfg),
                                                   is_training=False)
            try:
                model_input.of_steps(transform.transforms)
                taken += 1
            except model_input.unsupported as problem:
                refused.setdefault(str(problem).partition(";")[0], []).append(name)
        print(f"\ntimm: {taken} published configurations taken, refused: "
              f"{ {reason: len(names) for reason, names in refused.items()} }")
        self.assertGreater(taken, 0.98 * (taken + sum(map(len, refused.values()))))


class Torchvision(WithWorker):
    def test_the_worker_makes_torchvisions_tensor(self):
        files = export_proof.make_images(self.folder, 6)
        for name in ("resnet18", "resnet50", "vit_b_16", "swin_v2_t", "efficientnet_b3", "inception_v3"):
            with self.subTest(name):
                preset = torchvision.models.get_model_weights(name).DEFAULT.transforms()
                preprocessing = model_input.of_torchvision(preset)
                size = (preprocessing["height"], preprocessing["width"])
                wanted = self.expected(preset, files, size)
                self.assertLess((self.seen(preprocessing, files) - wanted).abs().max().item(), 1e-5)

    def test_the_weights_of_all_classifiers_are_taken(self):
        for name in torchvision.models.list_models(module=torchvision.models):
            for weights in torchvision.models.get_model_weights(name):
                model_input.of_torchvision(weights.transforms())


class HuggingFace(WithWorker):
    PROCESSORS = [
        ("ViT", {"size": {"height": 96, "width": 96}}),
        ("ViT", {"size": {"height": 64, "width": 96}, "resample": 3, "do_rescale": True, "rescale_factor": 1 / 127.5}),
        ("ViT", {"size": {"height": 64, "width": 64}, "do_normalize": False}),
        ("DeiT", {"size": {"height": 110, "width": 110}, "crop_size": {"height": 96, "width": 96}}),
        ("Beit", {"size": {"height": 80, "width": 80}, "do_center_crop": False}),
        ("ConvNext", {"size": {"shortest_edge": 96}, "crop_pct": 0.875}),
        ("ConvNext", {"size": {"shortest_edge": 384}}),
        ("Levit", {"size": {"shortest_edge": 64}, "crop_size": {"height": 64, "width": 64}}),
        ("MobileNetV2", {"size": {"shortest_edge": 72}, "crop_size": {"height": 64, "width": 64}}),
        ("Bit", {"size": {"shortest_edge": 75}, "crop_size": {"height": 64, "width": 64}}),
        ("CLIP", {"size": {"shortest_edge": 65}, "crop_size": {"height": 64, "width": 64}}),
    ]

    def test_the_worker_makes_the_tensor_of_each_processor(self):
        files = export_proof.make_images(self.folder, 10)
        for name, how in self.PROCESSORS:
            # Equal with Pillow; torchvision's arithmetic on tensors of bytes differs by up to 4 levels of 255.
            for suffix, levels in (("Pil", 1e-3), ("", 4.5)):
                with self.subTest(name + suffix, **how):
                    processor = getattr(transformers, f"{name}ImageProcessor{suffix}")(**how)
                    preprocessing = model_input.of_processor(processor)
                    size = (preprocessing["height"], preprocessing["width"])
                    wanted = self.expected(
                        lambda image, p=processor: p(images=image, return_tensors="pt")["pixel_values"][0], files, size)
                    level = 1 / 255 / min(preprocessing["std"])
                    difference = (self.seen(preprocessing, files) - wanted).abs().max().item()
                    self.assertLess(difference / level, levels)

    def test_what_ziyu_does_not_have_is_refused_by_name(self):
        for name, how, reason in (
                ("ViT", {"resample": 1}, "lanczos"), ("EfficientNet", {}, "include_top"),
                ("PoolFormer", {}, "PoolFormerImageProcessor"),
                ("CLIP", {"do_center_crop": False}, "different sizes")):
            with self.assertRaisesRegex(model_input.unsupported, reason):
                model_input.of_processor(getattr(transformers, f"{name}ImageProcessor")(**how))


if __name__ == "__main__":
    unittest.main()
